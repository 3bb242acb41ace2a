"""Machines that programs are compiled for, their compilers and their measured peaks."""

from __future__ import annotations

from metasched.target.gpu import GpuLimits
from metasched.target.target import Target

__all__ = ["GpuLimits", "Target"]
