"""Intrinsics against the default schedule: ``python -m tests.bench.bench_intrinsics``.

The same program is compiled twice, once tensorized by hand and once as it comes without a record.
Both are checked against NumPy and timed in turns; figures are the best of the turns.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import metasched as ms
from metasched import te
from metasched.errors import UsageError
from metasched.ir.expr import int_value
from metasched.target.intrinsics import (
    DOT_BFLOAT16,
    DOT_INT8,
    FMA_FLOAT32,
    TENSOR_INTRINS,
    pick_intrin,
)

Array = npt.NDArray[np.generic]
ROWS = 8
"""Rows of a register tile of the dot products, which have none of their own."""
STEPS = 4
"""Steps of the reduction that are written out."""


@dataclass(frozen=True)
class Case:
    """A product ``c[size, size]`` of packed operands.

    Args:
        name: how the table calls it.
        a: type of the first operand.
        b: type of the second one, which is packed as ``[n / columns, k / depth, columns, depth]``.
        names: the intrinsics to pick from.
        depth: products of one sum in a tile.
    """

    name: str
    a: str
    b: str
    names: tuple[str, ...]
    depth: int


CASES = (
    Case("u8 x s8", "uint8", "int8", DOT_INT8["u8s8"], 4),
    Case("s8 x s8", "int8", "int8", DOT_INT8["s8s8"], 4),
    Case("float32", "float32", "float32", FMA_FLOAT32, 1),
    Case("bfloat16", "bfloat16", "bfloat16", DOT_BFLOAT16, 2),
)


def tile_of(intrin: str) -> tuple[int, int]:
    """Rows and columns of an intrinsic's result."""
    (result,) = TENSOR_INTRINS[intrin].description.outputs
    shape = [int_value(extent) or 0 for extent in result.shape]
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])


def program_of(case: Case, size: int, columns: int) -> ms.Program:
    """The product as a program."""
    result = "int32" if case.a in ("int8", "uint8") else "float32"
    a = te.placeholder((size, size), case.a, name="a")
    shape = (size // columns, size // case.depth, columns, case.depth)
    b = te.placeholder(shape, case.b, name="b")
    r = te.reduce_axis(size, name="r")

    def value(i: te.Expr, j: te.Expr) -> te.Expr:
        packed = b[j // columns, r // case.depth, j % columns, r % case.depth]
        return te.sum(te.cast(a[i, r], result) * te.cast(packed, result), axis=r)

    return te.program([a, b, te.compute((size, size), value, name="c")], name="product")


def tensorized(program: ms.Program, case: Case, intrin: str) -> ms.Schedule:
    """Register tiles of the intrinsic, columns outside, cores over columns."""
    rows, columns = tile_of(intrin)
    schedule = ms.Schedule(program)
    i, j, r = schedule.get_loops(schedule.get_block("c"))
    vectors = max(1, 48 // columns) if rows == 1 else 1
    i_0, i_1, i_2 = schedule.split(i, [None, ROWS if rows == 1 else 1, rows])
    j_0, j_1, j_2 = schedule.split(j, [None, vectors, columns])
    r_0, r_1, r_2 = schedule.split(r, [None, STEPS, case.depth])
    schedule.reorder(j_0, i_0, r_0, r_1, i_1, j_1, i_2, j_2, r_2)
    schedule.parallel(j_0)
    schedule.unroll(r_1)
    schedule.tensorize(i_2, intrin)
    return schedule


def operands(case: Case, size: int, columns: int) -> tuple[Array, Array, npt.NDArray[np.float64]]:
    """Random operands, the second one packed, and their product."""
    rng = np.random.default_rng(0)
    made: list[Array] = []
    wide: list[npt.NDArray[np.float64]] = []
    for dtype in (case.a, case.b):
        if dtype in ("int8", "uint8"):
            info = np.iinfo(dtype)
            array = rng.integers(info.min, info.max + 1, (size, size)).astype(dtype)
            wide.append(array.astype(np.float64))
        else:
            real = rng.uniform(-1, 1, (size, size)).astype(np.float32)
            if dtype == "bfloat16":
                array = (real.view(np.uint32) >> 16).astype(np.uint16)
                real = (array.astype(np.uint32) << 16).view(np.float32)
            else:
                array = real
            wide.append(real.astype(np.float64))
        made.append(array)
    tiles = made[1].reshape(size // case.depth, case.depth, size // columns, columns)
    packed = np.ascontiguousarray(tiles.transpose(2, 0, 3, 1))
    return made[0], packed, wide[0] @ wide[1]


def measure(case: Case, size: int, turns: int = 5) -> str:
    """One line of the table."""
    target = ms.Target("cpu")
    try:
        intrin = pick_intrin(case.names, target.features)
    except UsageError as error:
        return f"{case.name:10} {error}"
    columns = tile_of(intrin)[1]
    program = program_of(case, size, columns)
    a, b, want = operands(case, size, columns)
    kernels = (ms.compile(tensorized(program, case, intrin), target), ms.compile(program, target))
    best = [float("inf"), float("inf")]
    for kernel in kernels:
        tolerance = 0.0 if case.a in ("int8", "uint8") else 1e-5 * size
        np.testing.assert_allclose(kernel(a, b), want, rtol=tolerance, atol=tolerance)
    for _ in range(turns):
        for number, kernel in enumerate(kernels):
            best[number] = min(best[number], kernel.time(a, b))
    gops = [2 * size**3 / seconds / 1e9 for seconds in best]
    return (
        f"{case.name:10} {intrin:24} {best[0] * 1e3:8.3f} ms {gops[0]:8.0f} GOP/s   default "
        f"{best[1] * 1e3:8.3f} ms {gops[1]:8.0f} GOP/s   {best[1] / best[0]:6.2f} times"
    )


def main() -> None:
    """Print the table for the sizes that are given, 768 if none is."""
    sizes = [int(text) for text in sys.argv[1:]] or [768]
    print(ms.Target("cpu"))
    for size in sizes:
        print(f"{size} x {size} x {size}")
        for case in CASES:
            print(measure(case, size))


if __name__ == "__main__":
    main()
