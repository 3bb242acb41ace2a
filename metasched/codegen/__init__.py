"""Printers of lowered programs as source text. Read `c_family`, then `c` and `gpu`."""

from __future__ import annotations

from typing import overload

from metasched.codegen.c import emit_c as emit_c
from metasched.codegen.gpu import emit_gpu as emit_gpu
from metasched.codegen.gpu_source import GpuSource as GpuSource
from metasched.codegen.gpu_source import KernelLaunch as KernelLaunch
from metasched.codegen.source import CSource as CSource
from metasched.lower.gpu.kernel import GpuLowered
from metasched.lower.pipeline import Lowered
from metasched.lower.scope import Machine


@overload
def emit(lowered: Lowered, target: Machine) -> CSource: ...
@overload
def emit(lowered: GpuLowered, target: Machine) -> GpuSource: ...
def emit(lowered: Lowered | GpuLowered, target: Machine) -> CSource | GpuSource:
    """Print a lowered program in the language of its target.

    Raises:
        CodegenError: the program uses a type or an operation that the language lacks.
    """
    if isinstance(lowered, GpuLowered):
        return emit_gpu(lowered, target)
    return emit_c(lowered, target)
