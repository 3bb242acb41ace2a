"""Lowering: scheduled programs to explicit vectors, registers and allocations. Read `pipeline`."""

from __future__ import annotations

from metasched.lower.pipeline import Lowered as Lowered
from metasched.lower.pipeline import lower as lower
from metasched.lower.plain import plain as plain
