"""What a GPU printer returns."""

from __future__ import annotations

from dataclasses import replace

from metasched.codegen.gpu_source import GpuSource, KernelLaunch

LAUNCH = KernelLaunch("k", (4, 2, 1), (32, 4, 1), 0, (0, 1))
SOURCE = GpuSource("text", "cuda", (LAUNCH,))


def test_counts_threads_and_blocks():
    assert (LAUNCH.threads, LAUNCH.blocks) == (128, 8)


def test_the_digest_follows_all_that_a_run_depends_on():
    others = (
        replace(SOURCE, text="other"),
        replace(SOURCE, language="opencl"),
        replace(SOURCE, launches=(replace(LAUNCH, grid=(8, 1, 1)),)),
        replace(SOURCE, buffers=(64,)),
    )
    assert len({SOURCE.digest, *(s.digest for s in others)}) == 5
    assert SOURCE.digest == GpuSource("text", "cuda", (LAUNCH,)).digest
