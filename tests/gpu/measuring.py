"""Arrays, references and cold interleaved times of the device script, on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import metasched as ms
from metasched.measure.records import ArgSpec

TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 4e-2}
_FLUSH_BYTES = 512 << 20


def inputs(torch: Any, kernel: ms.Kernel, seed: int) -> list[Any]:
    """Fresh random inputs on the device."""
    made = torch.Generator(device="cuda").manual_seed(seed)
    return [
        (torch.rand(arg.shape, generator=made, device="cuda") * 2 - 1).to(dtype(torch, arg))
        for arg in kernel.artefact.args
        if not arg.is_output
    ]


def poisoned(torch: Any, kernel: ms.Kernel) -> list[Any]:
    """Outputs full of NaN."""
    return [
        torch.full(arg.shape, float("nan"), device="cuda", dtype=dtype(torch, arg))
        for arg in kernel.artefact.args
        if arg.is_output
    ]


def dtype(torch: Any, arg: ArgSpec) -> Any:
    return getattr(torch, arg.dtype)


def error(got: Any, want: Any) -> float:
    """The largest error relative to the element and the mean, as records hold it."""
    got, want = got.double(), want.double()
    return float(((got - want).abs() / (want.abs() + want.abs().mean())).max())


def interleaved(
    torch: Any, calls: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Median seconds of each call with cold caches, taken in turns.

    The flush takes longer than the host needs to enqueue a call, so no gap is timed.
    """
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device="cuda")
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    for _ in range(rounds):
        for name, call in calls.items():
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            start.record()
            call()
            stop.record()
            stop.synchronize()
            samples[name].append(1e-3 * start.elapsed_time(stop))
    return {name: median(found) for name, found in samples.items()}


def copy_bandwidth(torch: Any) -> float:
    """Bytes a second, read and written, of a large copy on the device."""
    source = torch.rand(1 << 28, device="cuda")
    target = torch.empty_like(source)
    time_s = interleaved(torch, {"copy": lambda: target.copy_(source)}, 11)["copy"]
    return 2 * source.nbytes / time_s
