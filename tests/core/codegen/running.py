"""Compile and run C kernels in the tests, without the measuring machinery."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metasched.codegen import CSource, emit
from metasched.ir.expr import int_value
from metasched.ir.stmt import Program
from metasched.lower import Lowered, lower
from tests.core.lower.programs import Machine

Array = npt.NDArray[np.generic]
FLAGS = (
    "-O3 -march=native -std=gnu17 -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp "
    "-shared -fPIC -w"
).split()


def compile_c(source: CSource, folder: Path, flags: Sequence[str] = FLAGS) -> ctypes._CFuncPtr:
    """The kernel as a foreign function."""
    path = folder / f"{source.digest[:16]}.so"
    if not path.exists():
        text = path.with_suffix(".c")
        text.write_text(source.text)
        subprocess.run(["gcc", *flags, "-o", str(path), str(text), "-lm"], check=True)
    return ctypes.CDLL(str(path))[source.entry]


class Kernel:
    """A compiled program that runs on NumPy arrays."""

    def __init__(self, source: CSource, folder: Path, flags: Sequence[str] = FLAGS) -> None:
        self.source = source
        self.function = compile_c(source, folder, flags)
        self._space = np.full(source.workspace_bytes + 64, 0xFF, np.uint8)

    def __call__(self, arrays: list[Array], sizes: tuple[int, ...] = ()) -> None:
        numbers = [ctypes.c_int64(s) for s in sizes]
        pointers = [a.ctypes.data for a in arrays] + [ctypes.addressof(n) for n in numbers]
        address = self._space.ctypes.data
        self.function(
            (ctypes.c_void_p * len(pointers))(*pointers),
            ctypes.c_void_p(address + -address % 64),
        )


def run(
    program: Program,
    inputs: dict[str, Array],
    folder: Path,
    *,
    lowered: Lowered | None = None,
    machine: Machine | None = None,
    flags: Sequence[str] = FLAGS,
) -> dict[str, Array]:
    """Lower, compile and run a program; outputs are poisoned first."""
    target = machine or Machine()
    source = emit(lowered or lower(program, target), target)
    arrays: list[Array] = []
    outputs = program.outputs
    for p in program.params:
        if p in outputs:
            shape = tuple(int_value(s) or 0 for s in p.shape)
            poison = np.nan if p.dtype.code == "float" else 77
            arrays.append(np.full(shape, poison, p.dtype.numpy()))
        else:
            arrays.append(np.ascontiguousarray(inputs[p.name]))
    Kernel(source, folder, flags)(arrays)
    return {p.name: a for p, a in zip(program.params, arrays, strict=True) if p in outputs}


def random_inputs(program: Program, seed: int = 0) -> dict[str, Array]:
    """Values in [-1, 1), or small integers, for every input."""
    rng = np.random.default_rng(seed)
    result: dict[str, Array] = {}
    for p in program.inputs:
        shape = tuple(int_value(s) or 0 for s in p.shape)
        if p.dtype.is_float:
            result[p.name] = rng.uniform(-1, 1, shape).astype(p.dtype.numpy())
        else:
            result[p.name] = rng.integers(-8, 8, shape).astype(p.dtype.numpy())
    return result
