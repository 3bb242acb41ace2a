"""Lowering: scheduled programs to explicit vectors, registers and allocations. Read `pipeline`."""

from __future__ import annotations

from metasched.lower.gpu.kernel import GpuLowered as GpuLowered
from metasched.lower.gpu.pipeline import lower_gpu as lower_gpu
from metasched.lower.pipeline import Lowered as Lowered
from metasched.lower.pipeline import lower as lower
from metasched.lower.pipeline import lower_cpu as lower_cpu
from metasched.lower.plain import plain as plain
