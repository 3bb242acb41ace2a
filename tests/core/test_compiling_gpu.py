from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metasched as ms
from metasched.errors import CodegenError, DeviceError, ToolchainError, UsageError
from metasched.target.cuda_device import cuda_devices
from metasched.target.cuda_toolchain import find_cuda

pytestmark = pytest.mark.cc

M, N, K = 33, 24, 40


@pytest.fixture(scope="module", autouse=True)
def _folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCL_CACHE_DIR", str(tmp_path_factory.mktemp("pocl")))
        patch.setenv("METASCHED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def operands() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((M, K), np.float32), rng.random((K, N), np.float32)


@pytest.fixture(scope="module")
def kernel() -> ms.Kernel:
    pytest.importorskip("pyopencl")
    return ms.compile(ms.ops.matmul(m=M, n=N, k=K), target="opencl")


@pytest.fixture(scope="module")
def cuda_kernel() -> ms.Kernel:
    try:
        find_cuda()
    except ToolchainError as error:
        pytest.skip(str(error))
    return ms.compile(ms.ops.matmul(m=M, n=N, k=K), target="cuda:sm_90")


def test_arrays_of_the_host(kernel: ms.Kernel, operands: tuple[Any, Any]) -> None:
    a, b = operands
    np.testing.assert_allclose(kernel(a, b), a @ b, rtol=1e-5)
    out = np.full((M, N), np.nan, np.float32)
    assert kernel(a, b, out=out) is out
    assert kernel(a, b, out=[out]) is out
    np.testing.assert_allclose(out, a @ b, rtol=1e-5)
    assert kernel.time(a, b) > 0
    assert "__kernel" in kernel.source
    (launch,) = kernel.launches
    assert launch.arguments == (0, 1, 2)
    assert kernel.record is None


def test_float16_is_stored_where_the_device_does_not_compute_in_it() -> None:
    pytest.importorskip("pyopencl")
    narrow = ms.ops.matmul(m=M, n=N, k=K, dtype="float16", acc_dtype="float32")
    kernel = ms.compile(narrow, target="opencl")
    assert "cl_khr_fp16" not in kernel.source
    rng = np.random.default_rng(1)
    a, b = (rng.random(shape).astype(np.float16) for shape in ((M, K), (K, N)))
    want = a.astype(np.float32) @ b.astype(np.float32)
    np.testing.assert_allclose(kernel(a, b), want, rtol=1e-5)
    x = ms.te.placeholder((50,), "float32", name="x")
    y = ms.te.compute((50,), lambda i: ms.te.cast(x[i] * 2.0, "float16"), name="y")
    values = rng.normal(size=50).astype(np.float32)
    halved = ms.compile(ms.te.program([x, y], name="halve"), target="opencl")(values)
    np.testing.assert_array_equal(halved, (values * 2).astype(np.float16))
    with pytest.raises(CodegenError, match="OpenCL C has no 'add' for float16; cast to float32"):
        ms.compile(ms.ops.matmul(m=M, n=N, k=K, dtype="float16"), target="opencl")


def test_calls_from_threads(kernel: ms.Kernel, operands: tuple[Any, Any]) -> None:
    a, b = operands
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda s=scale: results.append((s, kernel(s * a, b))))
        for scale in np.arange(1, 9, dtype=np.float32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(threads)
    for scale, result in results:
        np.testing.assert_allclose(result, scale * (a @ b), rtol=1e-5)


def test_arrays_of_the_device_are_not_copied(kernel: ms.Kernel, operands: tuple[Any, Any]) -> None:
    cl, cl_array = pytest.importorskip("pyopencl"), pytest.importorskip("pyopencl.array")
    context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
    queue = cl.CommandQueue(context)
    a, b = (cl_array.to_device(queue, operand) for operand in operands)
    made = kernel(a, b)
    assert isinstance(made, cl_array.Array)
    np.testing.assert_allclose(made.get(), operands[0] @ operands[1], rtol=1e-5)
    out = cl_array.zeros(queue, (M, N), np.float32)
    assert kernel(a, operands[1], out=out) is out
    np.testing.assert_allclose(out.get(), operands[0] @ operands[1], rtol=1e-5)
    assert kernel.time(a, b) > 0
    with pytest.raises(UsageError, match=r"'a' is float32 \(40, 24\), expected float32 \(33, 40\)"):
        kernel(b, b)
    square = cl_array.zeros(queue, (M + K, K), np.float32)
    with pytest.raises(UsageError, match="'c' is not contiguous"):
        kernel(a, b, out=square[:M, :N])


class _Foreign:
    """An array of another library: an address that the interface claims to be on a device."""

    def __init__(self, **changes: Any) -> None:
        shape = changes.pop("of", (M, K))
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "<f4",
            "data": (4096, False),
            "strides": None,
            "version": 3,
        } | changes


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((_Foreign(typestr="<f2"), _Foreign(of=(K, N))), r"'a' is float16 \(33, 40\), expected fl"),
        ((_Foreign(strides=(4, 132)), _Foreign(of=(K, N))), "'a' is not contiguous"),
        (
            (_Foreign(of=(K, M)), _Foreign(of=(K, N))),
            r"'a' is float32 \(40, 33\), expected float32",
        ),
    ],
)
def test_foreign_arrays_are_checked(
    cuda_kernel: ms.Kernel, arrays: tuple[Any, Any], message: str
) -> None:
    out = np.zeros((M, N), np.float32)
    with pytest.raises(UsageError, match=message):
        cuda_kernel(*arrays, out=out)


def test_outputs_on_the_device_must_be_writeable_and_apart(cuda_kernel: ms.Kernel) -> None:
    far = _Foreign(of=(K, N), data=(1 << 20, False))
    with pytest.raises(UsageError, match="'c' is an output but the array is read-only"):
        cuda_kernel(_Foreign(), far, out=_Foreign(of=(M, N), data=(1 << 30, True)))
    with pytest.raises(UsageError, match="'c' and 'a' share memory"):
        cuda_kernel(_Foreign(), far, out=_Foreign(of=(M, N), data=(4096 + 16, False)))


def test_arrays_of_another_interface_are_refused(kernel: ms.Kernel) -> None:
    out = np.zeros((M, N), np.float32)
    with pytest.raises(UsageError, match="a kernel for opencl takes no arrays of cuda"):
        kernel(_Foreign(), _Foreign(of=(K, N)), out=out)


def test_cuda_is_compiled_without_a_device(cuda_kernel: ms.Kernel, tmp_path: Path) -> None:
    assert cuda_kernel.cubin[:4] == b"\x7fELF"
    assert 'extern "C" __global__' in cuda_kernel.source
    (launch,) = cuda_kernel.launches
    assert cuda_kernel.resources[launch.kernel]["spill_store_bytes"] == 0
    code, described = cuda_kernel.export(tmp_path / "made")
    data = json.loads(described.read_text())
    assert code.read_bytes() == cuda_kernel.cubin
    assert data["code"] == "matmul.cubin"
    assert [p["name"] for p in data["parameters"]] == ["a", "b", "c"]
    assert data["launches"][0]["kernel"] == launch.kernel


@pytest.mark.skipif(bool(cuda_devices()), reason="there is a device")
def test_a_call_without_a_device_says_what_is_missing(
    cuda_kernel: ms.Kernel, operands: tuple[Any, Any]
) -> None:
    with pytest.raises(DeviceError, match="kernels for sm_90 can be built but not run here: no CU"):
        cuda_kernel(*operands)


def test_a_cpu_kernel_has_none_of_it() -> None:
    kernel = ms.compile(ms.ops.matmul(m=4, n=4, k=4))
    with pytest.raises(UsageError, match="a kernel for a CPU has no launches; compile for a GPU"):
        _ = kernel.launches
    with pytest.raises(UsageError, match="'cpu' has no cubin; compile for 'cuda'"):
        _ = kernel.cubin
