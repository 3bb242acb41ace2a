"""Products on tensor cores, scheduled by hand with a group of intrinsics."""

from __future__ import annotations

from metasched import te
from metasched.ir.expr import int_value
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.target.intrinsics import GROUPS, TENSOR_INTRINS, TensorCoreGroup
from metasched.trace.instruction import Ref


def product(group: TensorCoreGroup, m: int, n: int, k: int) -> Program:
    """A product of the types and the order of operands that a group takes."""
    dtype, sums = group.dtypes
    a = te.placeholder((m, k), dtype, name="a")
    b = te.placeholder((k, n) if group.order == "kn" else (n, k), dtype, name="b")
    r = te.reduce_axis(k, name="r")

    def wide(value: te.Expr) -> te.Expr:
        return value if dtype == sums else te.cast(value, sums)

    def element(i: te.Expr, j: te.Expr) -> te.Expr:
        other = b[r, j] if group.order == "kn" else b[j, r]
        return te.sum(wide(a[i, r]) * wide(other), axis=r)

    return te.program([a, b, te.compute((m, n), element, name="c")], name="matmul")


def tensorized(
    name: str, *, warps: tuple[int, int] = (2, 2), tiles: tuple[int, int] = (1, 1), steps: int = 1
) -> tuple[Program, Schedule]:
    """A product of two blocks each way, and it on tensor cores."""
    group = GROUPS[name]
    m, n, k = group.shape
    across = (2 * warps[0] * tiles[0] * m, 2 * warps[1] * tiles[1] * n, 2 * steps * k)
    program = product(group, *across)
    sch = Schedule(program)
    block = sch.get_block("c")
    result = sch.cache_write(block, 0, "wmma.accumulator")
    i, j, r = sch.get_loops(block)
    i0, i1, i2, i3 = sch.split(i, (None, warps[0], tiles[0], m))
    j0, j1, j2, j3 = sch.split(j, (None, warps[1], tiles[1], n))
    r0, r1, r2 = sch.split(r, (None, steps, k))
    sch.reorder(i0, j0, i1, j1, r0, r1, i2, j2, i3, j3, r2)
    sch.bind(sch.fuse(i0, j0), "blockIdx.x")
    warp = sch.fuse(i1, j1)
    sch.bind(warp, "threadIdx.y")
    sch.reverse_compute_at(result, warp, preserve_unit_loops=True)
    for number in (0, 1):
        fetch(sch, block, group, number, (r0, r1), warps[0] * warps[1])
    tile(sch, result, (m, n), group.store)
    start = sch.decompose_reduction(block, r0)
    sch.tensorize(sch.get_loops(start)[-2], group.zero)
    sch.tensorize(i3, group.product)
    return program, sch


def fetch(
    sch: Schedule, block: Ref, group: TensorCoreGroup, number: int, at: tuple[Ref, Ref], warps: int
) -> None:
    """An operand in shared memory, and in registers where the product reads it there."""
    operand = (group.a, group.b)[number]
    copy = sch.cache_read(block, number, "shared")
    if operand.load is not None:
        fragment = sch.cache_read(block, number, operand.scope)
        sch.compute_at(fragment, at[1], preserve_unit_loops=True)
        shape = TENSOR_INTRINS[operand.load].description.params[1].shape
        tile(sch, fragment, (int_value(shape[0]) or 1, int_value(shape[1]) or 1), operand.load)
    for layout in operand.layouts[:1]:
        sch.transform_layout(block, ("read", number), layout)
        sch.transform_block_layout(copy, layout)
    sch.compute_at(copy, at[0], preserve_unit_loops=True)
    for layout in operand.layouts[1:]:
        sch.transform_layout(block, ("read", number), layout)
    if operand.pad:
        sch.storage_align(copy, 0, -2, 2 * operand.pad, operand.pad)
    own = sch.get_loops(copy)[-(4 if operand.layouts else 2) :]
    length = 16 // sch.state.block(str(sch.value(copy))).writes[0].buffer.dtype.bytes
    _, y, x, lanes = sch.split(sch.fuse(*own), (None, warps, group.threads, length))
    sch.bind(y, "threadIdx.y")
    sch.bind(x, "threadIdx.x")
    sch.vectorize(lanes)


def tile(sch: Schedule, block: Ref, shape: tuple[int, int], intrin: str) -> None:
    """The two innermost loops of a copy by tiles of an intrinsic."""
    rows, columns = sch.get_loops(block)[-2:]
    row, within = sch.split(rows, (None, shape[0]))
    column, inside = sch.split(columns, (None, shape[1]))
    sch.reorder(row, column, within, inside)
    sch.tensorize(within, intrin)
