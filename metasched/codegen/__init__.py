"""Printers of lowered programs as source text. Read `c_family`, then `c`."""

from __future__ import annotations

from metasched.codegen.c import emit as emit
from metasched.codegen.gpu_source import GpuSource as GpuSource
from metasched.codegen.gpu_source import KernelLaunch as KernelLaunch
from metasched.codegen.source import CSource as CSource
