from __future__ import annotations

from pathlib import Path

import pytest

from metasched.errors import ToolchainError
from metasched.target.cuda_compile import compile_cubin, parse_resources
from metasched.target.cuda_toolchain import CudaToolchain, describe_cuda, find_cuda

_LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for first
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 8192 bytes smem, 352 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""

_KERNEL = """
extern "C" __global__ void __launch_bounds__(256) scale(const float *a, float *b) {
  __shared__ float tile[256];
  tile[threadIdx.x] = a[blockIdx.x * 256 + threadIdx.x];
  __syncthreads();
  b[blockIdx.x * 256 + threadIdx.x] = tile[255 - threadIdx.x];
}
"""


def toolchain() -> CudaToolchain:
    try:
        return find_cuda()
    except ToolchainError as error:
        pytest.skip(str(error))


def test_the_report_of_ptxas_is_read() -> None:
    assert parse_resources(_LOG) == {
        "first": {
            "stack_bytes": 16,
            "spill_store_bytes": 12,
            "spill_load_bytes": 8,
            "registers": 255,
            "shared_bytes": 8192,
        },
        "second": {
            "stack_bytes": 0,
            "spill_store_bytes": 0,
            "spill_load_bytes": 0,
            "registers": 8,
            "shared_bytes": 0,
        },
    }


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_90a"])
def test_a_kernel_compiles_without_a_device(arch: str) -> None:
    cubin = compile_cubin(_KERNEL, toolchain=toolchain(), arch=arch)
    assert cubin.code[:4] == b"\x7fELF"
    assert cubin.warnings == ()
    assert cubin.resources["scale"]["shared_bytes"] == 1024
    assert 0 < cubin.resources["scale"]["registers"] < 64


def test_headers_of_the_toolkit_are_found() -> None:
    text = '#include <cuda_fp16.h>\nextern "C" __global__ void f(__half *a) { a[0] = a[1]; }'
    assert compile_cubin(text, toolchain=toolchain(), arch="sm_90").resources.keys() == {"f"}


def test_a_refused_source_says_why() -> None:
    with pytest.raises(ToolchainError, match=r"refused the source: .*\"nothing\" is undefined"):
        compile_cubin("__device__ int f() { return nothing; }", toolchain=toolchain(), arch="sm_90")


def test_a_warning_is_kept() -> None:
    text = 'extern "C" __global__ void f(int *a) { int unused = 1; a[0] = 1; }'
    warnings = compile_cubin(text, toolchain=toolchain(), arch="sm_80").warnings
    assert any("unused" in warning for warning in warnings)


def test_without_a_compiler_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("METASCHED_NVCC", str(tmp_path / "nvcc"))
    with pytest.raises(ToolchainError, match=r"which is no executable; pip install nvidia-cuda-nv"):
        find_cuda()
    assert describe_cuda() == "none"
