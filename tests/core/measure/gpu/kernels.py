"""Hand-written OpenCL and CUDA kernels as printers return them, and their build task."""

from __future__ import annotations

from typing import Any

from metasched.codegen.gpu_source import GpuSource, KernelLaunch
from metasched.gpu_build import compile_gpu, total_resources
from metasched.measure.records import ArgSpec, Artefact, BuildOutput
from metasched.target import Target

N = 1000
ARGS = (ArgSpec("a", (N,), "float32", False), ArgSpec("b", (N,), "float32", True))

DOUBLE = "if (i < N) b[i] = 2.0f * a[i];"
PARTIAL = "if (i < N - 1) b[i] = 2.0f * a[i];"
STRAY = "if (i <= N) b[i] = 2.0f * a[i < N ? i : 0];"
INPUT = DOUBLE + " if (i == 3) ((GLOBAL float *)a)[3] = 7.0f;"
HANG = "while (((GLOBAL const volatile float *)a)[0] < 2.0f) {} " + DOUBLE
BAD = "b[i] = nothing[i];"
SHARED = """
SHARED float tile[64];
tile[local_id] = i < N ? a[i] : 0.0f;
BARRIER;
if (i < N) b[i] = tile[63 - local_id] - tile[63 - local_id] + 2.0f * tile[local_id];
"""

_OPENCL = """
#define N {n}
#define GLOBAL __global
#define SHARED __local
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void double_it(__global const float *restrict a, __global float *restrict b) {{
  const int i = get_global_id(0), local_id = get_local_id(0);
  {body}
}}
"""
_CUDA = """
#define N {n}
#define GLOBAL
#define SHARED __shared__
#define BARRIER __syncthreads()
extern "C" __global__ void __launch_bounds__(64)
double_it(const float *__restrict__ a, float *__restrict__ b) {{
  const int i = blockIdx.x * 64 + threadIdx.x, local_id = threadIdx.x;
  {body}
}}
"""
_TWO = """
__kernel void first(__global const float *a, __global float *t) {{
  const int i = get_global_id(0);
  if (i < {n}) t[i] = a[i] + 1.0f;
}}
__kernel void second(__global const float *t, __global float *b) {{
  const int i = get_global_id(0);
  if (i < {n}) b[i] = 2.0f * (t[i] - 1.0f);
}}
"""

_GRID, _BLOCK = ((N + 63) // 64, 1, 1), (64, 1, 1)


def source(language: Any, body: str = DOUBLE) -> GpuSource:
    """A kernel of that body, one thread for each of the N elements."""
    text = (_CUDA if language == "cuda" else _OPENCL).format(n=N, body=body)
    return GpuSource(text, language, (KernelLaunch("double_it", _GRID, _BLOCK, 0, (0, 1)),))


def two_kernels() -> GpuSource:
    """The same through an intermediate buffer."""
    launches = (
        KernelLaunch("first", _GRID, _BLOCK, 0, (0, 2)),
        KernelLaunch("second", _GRID, _BLOCK, 0, (2, 1)),
    )
    return GpuSource(_TWO.format(n=N), "opencl", launches, (4 * N,))


def artefact(made: GpuSource, target: Target, folder: str) -> Artefact:
    """Compile a source."""
    path, plan = compile_gpu(made, ARGS, target, folder)
    scratch = sum(made.buffers)
    return Artefact(str(path), "double_it", path.stem, plan.parameters, scratch, float(N))


def build(payload: tuple[GpuSource, Target], out_dir: str) -> BuildOutput:
    """The build task of the tests."""
    made = artefact(*payload, out_dir)
    _, plan = compile_gpu(payload[0], ARGS, payload[1], out_dir)
    return BuildOutput(made, made.source_hash, "{}", {}, total_resources(plan))
