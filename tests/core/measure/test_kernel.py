from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metasched.errors import MeasureError, UsageError
from metasched.measure.kernel import LoadedKernel
from metasched.measure.records import ArgSpec, Artefact, MeasureConfig
from tests.core.measure import kernels

pytestmark = pytest.mark.cc

N = kernels.N


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="module")
def double(folder: Path) -> LoadedKernel:
    return LoadedKernel(kernels.compile_kernel(folder, kernels.DOUBLE))


def make_arrays() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.arange(N, dtype=np.float32), np.empty(N, np.float32)


def test_a_kernel_is_called_with_arrays(double: LoadedKernel) -> None:
    a, b = make_arrays()
    double.call([a, b])
    np.testing.assert_array_equal(b, 2 * a)


def test_arrays_need_no_alignment_beyond_their_elements(double: LoadedKernel) -> None:
    a, b = np.arange(N + 1, dtype=np.float32)[1:], np.empty(N + 3, np.float32)[3:]
    double.call([a, b])
    np.testing.assert_array_equal(b, 2 * a)


def test_sizes_arrive_after_the_arrays(folder: Path) -> None:
    body = "*(int64_t *)args[0] = *(int64_t *)args[1] * 1000 + *(int64_t *)args[2];"
    arg = ArgSpec("out", (), "int64", True)
    out = np.zeros((), np.int64)
    LoadedKernel(kernels.compile_kernel(folder, body, (arg,))).call([out], sizes=(7, 2**40))
    assert out == 7000 + 2**40


def test_kernels_with_sizes_are_timed_too(folder: Path) -> None:
    body = "for (volatile int64_t i = 0; i < *(int64_t *)args[1]; ++i) {} *(int64_t *)args[0] = 1;"
    kernel = LoadedKernel(
        kernels.compile_kernel(folder, body, (ArgSpec("out", (), "int64", True),))
    )
    short, long = (min(kernel.time([np.zeros((), np.int64)], sizes=(n,))) for n in (10, 10**6))
    assert long > 100 * short


def test_times_are_seconds_of_one_call(double: LoadedKernel) -> None:
    config = MeasureConfig(sample_s=1e-3, max_samples=4)
    samples = double.time(make_arrays(), config)
    assert 1 <= len(samples) <= 2 * config.max_samples
    assert all(1e-9 < sample < 1e-2 for sample in samples)


def test_flushed_calls_are_timed_one_by_one(double: LoadedKernel) -> None:
    config = MeasureConfig(flush=True, max_samples=3, min_samples=3)
    with double.timer(make_arrays(), flush=True) as time_calls:
        assert time_calls(1) > 0
    assert len(double.time(make_arrays(), config)) >= 2


def test_concurrent_calls_do_not_share_a_workspace(folder: Path) -> None:
    body = """
        double *w = workspace;
        for (int i = 0; i < 4096; ++i) w[i] = a[0];
        for (volatile int s = 0; s < 20000; ++s) {}
        for (int i = 0; i < N; ++i) b[i] = w[i] == a[0];
    """
    artefact = kernels.compile_kernel(folder, body, workspace_bytes=8 * 4096)
    kernel = LoadedKernel(artefact)
    wrong: list[float] = []

    def work(value: float) -> None:
        a, b = make_arrays()
        a[:] = value
        for _ in range(100):
            kernel.call([a, b])
            if not b.all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(value),)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= len(kernel._workspaces) <= 4


def test_the_workspace_is_aligned(folder: Path) -> None:
    body = "*(int64_t *)args[0] = (int64_t)(uintptr_t)workspace % 64;"
    artefact = kernels.compile_kernel(
        folder, body, (ArgSpec("out", (), "int64", True),), workspace_bytes=100
    )
    out = np.full((), -1, np.int64)
    LoadedKernel(artefact).call([out])
    assert out == 0


def read_only(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> list[Any]:
    b.flags.writeable = False
    return [a, b]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a, b: [a], "got 1 arrays, expected 2: a, b"),
        (lambda a, b: [a, b, b], "got 3 arrays, expected 2"),
        (lambda a, b: [a.tolist(), b], "'a' is a list, expected a NumPy array"),
        (lambda a, b: [a[:-1], b], r"'a' is float32 \(999,\), expected float32 \(1000,\)"),
        (lambda a, b: [a.astype(np.float64), b], r"'a' is float64 \(1000,\), expected float32"),
        (lambda a, b: [np.zeros(2 * N, np.float32)[::2], b], "'a' is not contiguous"),
        (lambda a, b: [a, a], "'b' and 'a' share memory"),
        (read_only, "'b' is an output but the array is read-only"),
    ],
)
def test_bad_arguments_are_refused(
    double: LoadedKernel, make: Callable[[Any, Any], list[Any]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        double.call(make(*make_arrays()))


def test_a_library_that_cannot_be_used_is_an_error(folder: Path, tmp_path: Path) -> None:
    artefact = kernels.compile_kernel(folder, kernels.DOUBLE)
    nameless = Artefact(artefact.path, "other", "x", artefact.args, 0, 0.0)
    with pytest.raises(MeasureError, match=r"has no entry 'other'"):
        LoadedKernel(nameless)
    (tmp_path / "bad.so").write_text("no library")
    with pytest.raises(MeasureError, match=r"cannot load '.*bad.so'"):
        LoadedKernel(Artefact(str(tmp_path / "bad.so"), "kernel", "x", artefact.args, 0, 0.0))
