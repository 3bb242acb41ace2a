"""What the kernels of a program take of a GPU: blocks, threads, shared memory, registers.

Everything is an expression over tile sizes, so one analysis serves a concrete program and, with
symbols for tile sizes, a whole population of candidates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from metasched.analysis.facts import Facts
from metasched.ir.expr import Buffer, Expr, Var, add, const, mul
from metasched.ir.procedure import FRAGMENTS
from metasched.ir.simplify import product, simplify
from metasched.ir.stmt import Block, For, Program, Region, Seq, Stmt, annotation
from metasched.ir.threads import SHARED, is_thread
from metasched.ir.walk import child_stmts, free_vars

GROUP_THREADS: Final = "meta_schedule.tensor_core_threads"
"""Note on a block: how many threads along x hold its tile together, though no loop is theirs."""


STAGES: Final = "meta_schedule.pipeline_stages"
"""Note on a block: for how many iterations its operands lie in shared memory at a time."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One nest under the root block that has thread-bound loops.

    Attributes:
        nest: its number among the statements under the root block.
        blocks: how many blocks of threads run.
        threads: threads of a block.
        shared_bytes: shared memory of a block.
        local_words: 32-bit words that each thread keeps in buffers of its own.
    """

    nest: int
    blocks: Expr
    threads: Expr
    shared_bytes: Expr
    local_words: Expr


def kernels(program: Program) -> tuple[Kernel, ...]:
    """The kernels of a program, in order; nests that are not bound are left out."""
    body = program.root.body
    nests = body.stmts if isinstance(body, Seq) else (body,)
    found = (_kernel(number, list(_placed(nest, ()))) for number, nest in enumerate(nests))
    return tuple(kernel for kernel in found if kernel is not None)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A block with the loops around it."""

    block: Block
    loops: tuple[For, ...]


def _placed(stmt: Stmt, loops: tuple[For, ...]) -> Iterator[_Placed]:
    match stmt:
        case For():
            yield from _placed(stmt.body, (*loops, stmt))
        case Block():
            yield _Placed(stmt, loops)
        case _:
            for child in child_stmts(stmt):
                yield from _placed(child, loops)


def _kernel(number: int, placed: list[_Placed]) -> Kernel | None:
    axes = {loop.thread: loop.extent for one in placed for loop in one.loops if loop.thread}
    if not axes:
        return None
    group = _group_threads(placed)
    if group > 1:
        axes.setdefault("threadIdx.x", const(group))
    shared: Expr = const(0)
    local: Expr = const(0)
    for buffer in dict.fromkeys(r.buffer for one in placed for r in one.block.writes):
        if buffer.scope in SHARED:
            size = mul(_shared_elements(buffer, placed), buffer.dtype.bytes)
            shared = add(shared, size)
        elif buffer.scope == "local":
            size = mul(_local_elements(buffer, placed), max(buffer.dtype.bytes // 4, 1))
            local = add(local, size)
        elif buffer.scope in FRAGMENTS:
            size = mul(_local_elements(buffer, placed), buffer.dtype.bytes)
            local = add(local, simplify(size // (4 * group)))
    return Kernel(
        number,
        product(size for axis, size in axes.items() if axis.startswith("blockIdx")),
        product(size for axis, size in axes.items() if axis.startswith("threadIdx")),
        mul(shared, _stages(placed)),
        local,
    )


def _group_threads(placed: list[_Placed]) -> int:
    found = (annotation(one.block.annotations, GROUP_THREADS) for one in placed)
    return next((n for n in found if isinstance(n, int)), 1)


def _stages(placed: list[_Placed]) -> Expr:
    found = (annotation(one.block.annotations, STAGES) for one in placed)
    value = next((n for n in found if isinstance(n, int | Expr)), 1)
    return value if isinstance(value, Expr) else const(value)


def _home(buffer: Buffer, placed: list[_Placed]) -> tuple[For, ...]:
    """The loops around everything that touches a buffer."""
    users = [
        one.loops
        for one in placed
        if any(r.buffer == buffer for r in (*one.block.reads, *one.block.writes))
    ]
    count = 0
    while all(len(loops) > count and loops[count] is users[0][count] for loops in users):
        count += 1
    return users[0][:count]


def _shared_elements(buffer: Buffer, placed: list[_Placed]) -> Expr:
    """Elements that the threads of a block hold together: the box that they write."""
    around = {loop.var for loop in _home(buffer, placed) if not is_thread(loop)}
    largest: Expr | None = None
    for one, region in _writes(buffer, placed):
        ranges = {loop.var: loop.extent for loop in one.loops}
        bindings = {it.var: it.binding for it in one.block.iters}
        inner = [loop.var for loop in one.loops if loop.var not in around]
        box = Facts(ranges).box(region, bindings, inner)
        sizes = [
            size if pair is None else pair[1] for pair, size in zip(box, buffer.shape, strict=True)
        ]
        largest = largest or product(sizes)
    assert largest is not None, "somebody writes it"
    return largest


def _local_elements(buffer: Buffer, placed: list[_Placed]) -> Expr:
    """Elements that one thread holds: those of each of its virtual threads."""
    around = _home(buffer, placed)
    virtual = [loop.extent for loop in around if (loop.thread or "").startswith("vthread")]
    for one, region in _writes(buffer, placed):
        bindings = {it.var: free_vars(it.binding) for it in one.block.iters}
        moving = _moving(region, bindings)
        inside = one.loops[len(around) :]
        sizes = (extent for _, extent in region.ranges)
        own = (loop.extent for loop in inside if loop.var in moving)
        return product([*virtual, *sizes, *own])
    return const(0)


def _moving(region: Region, bindings: Mapping[Var, Collection[Var]]) -> set[Var]:
    used = {v for low, _ in region.ranges for v in free_vars(low)}
    return {loop for v in used for loop in bindings.get(v, ())}


def _writes(buffer: Buffer, placed: list[_Placed]) -> Iterator[tuple[_Placed, Region]]:
    for one in placed:
        for region in one.block.writes:
            if region.buffer == buffer:
                yield one, region
