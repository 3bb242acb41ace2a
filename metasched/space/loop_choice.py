"""Which loops of a finished nest to run in parallel, and which to vectorise.

Plain functions on states of concrete programs; `postprocs/rewrite_parallel_vectorize_unroll.py`
carries out what they choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from metasched.ir.expr import TRUE, Load, Var, int_value
from metasched.ir.stmt import Block, For, Stmt, Store
from metasched.ir.walk import blocks, expr_loads, free_vars, substitute
from metasched.schedule.state import State
from metasched.space.patterns import has_condition, single_store, stride

_UNEVEN = 1.1
_MOST_FACTOR = 64
_WHOLE_VECTORS = 16


def nests(state: State) -> tuple[Stmt, ...]:
    """The statements directly under the root block."""
    body = state.program.root.body
    return getattr(body, "stmts", (body,))


def chain(stmt: Stmt) -> list[For]:
    """The loops from a statement inwards that hold nothing but each other."""
    found: list[For] = []
    while isinstance(stmt, For):
        found.append(stmt)
        stmt = stmt.body
    return found


def reducing_vars(stmt: Stmt) -> set[Var]:
    """Loop variables that drive an iteration that is not spatial."""
    return {
        v
        for block in blocks(stmt)
        for it in block.iters
        if it.kind != "spatial"
        for v in free_vars(it.binding)
    }


def iterations(state: State, nest: Stmt) -> int | None:
    """How often blocks run in a nest, all together; None when a size is symbolic."""
    total = 0
    for block in blocks(nest):
        extents = [int_value(loop.extent) for loop in state.loops_above(block)]
        if None in extents:
            return None
        total += prod(e for e in extents if e is not None)
    return total


def parallel_depth(nest: Stmt, *, most: int, cores: int) -> int:
    """How many of the outermost loops of a nest to fuse into one parallel loop.

    Loops are taken while they are spatial for all blocks below and their product stays within
    ``most``; the first may exceed it. More are taken while the cores would get uneven shares.
    """
    reducing = reducing_vars(nest)
    depth, jobs = 0, 1
    for number, loop in enumerate(chain(nest)):
        if loop.var in reducing or loop.kind != "serial" or loop.annotations:
            break
        extent = int_value(loop.extent)
        if extent is None:
            # A symbolic size is taken for enough work, by itself.
            return depth if jobs > 1 else number + 1
        if extent == 1:
            continue
        uneven = ceil(jobs / cores) * cores > _UNEVEN * jobs
        if jobs > 1 and jobs * extent > (most * _MOST_FACTOR if uneven else most):
            break
        depth, jobs = number + 1, jobs * extent
    return depth


@dataclass(frozen=True, slots=True)
class VectorPlan:
    """How to vectorise a block.

    Attributes:
        fuse: number of innermost loops to fuse first.
        split: length to split the innermost loop by before; None to take it whole.
    """

    fuse: int
    split: int | None


def vector_plan(state: State, block: Block, *, most: int, vector_bits: int) -> VectorPlan | None:
    """How to vectorise the innermost loops of a leaf block; None when that is not possible.

    The innermost loop that repeats must be spatial, and the block must store neighbouring elements
    along it. Loops around it join in where all accesses go on without a gap and it is no whole
    number of vectors by itself. A loop of symbolic extent is split by one vector.
    """
    store = single_store(block)
    loops = inner_loops(state, block)
    count = _fusible_units(loops)
    if store is None or count is None:
        return None
    access = bound_store(block, store)
    inner = loops[-count]
    if _step(access, inner.var) != 1:
        return None
    lanes = max(vector_bits // store.buffer.dtype.bits, 1)
    length = int_value(inner.extent)
    if length is None:
        return VectorPlan(count, min(lanes, most))
    plain = block.predicate == TRUE and not has_condition(block)
    while plain and length % lanes and count < len(loops):
        outer = loops[-count - 1]
        extent = int_value(outer.extent)
        if (
            extent is None
            or not _spatial(block, outer)
            or not _goes_on(access, inner, outer, length)
        ):
            break
        count, length = count + 1, length * extent
    return VectorPlan(count, _split_length(length, most, lanes))


def inner_loops(state: State, block: Block) -> list[For]:
    """The serial loops around a block that hold nothing else, outermost first."""
    found: list[For] = []
    child: Stmt = block
    for loop in reversed(state.loops_above(block)):
        if loop.body is not child or loop.kind != "serial" or loop.annotations:
            break
        found.insert(0, loop)
        child = loop
    return found


def _fusible_units(loops: list[For]) -> int | None:
    """The number of innermost loops down from the first that repeats; None when there is none."""
    for count, loop in enumerate(reversed(loops), start=1):
        if int_value(loop.extent) != 1:
            return count
    return None


def _spatial(block: Block, loop: For) -> bool:
    return loop.var not in reducing_vars(block)


def bound_store(block: Block, store: Store) -> Store:
    """A store with loop variables in place of the block's."""
    values = {it.var: it.binding for it in block.iters}
    return Store(
        store.buffer,
        tuple(substitute(i, values) for i in store.indices),
        substitute(store.value, values),
    )


def _goes_on(access: Store, inner: For, outer: For, length: int) -> bool:
    """Whether every access moves on along ``outer`` as ``length`` steps along ``inner`` do."""
    for one in (access, *expr_loads(access.value)):
        near, far = _step(one, inner.var), _step(one, outer.var)
        if near is None or far is None or far != near * length:
            return False
    return True


def _step(access: Load | Store, var: Var) -> int | None:
    """Elements between neighbours along a loop; None when that varies or is symbolic."""
    found = stride(access, var)
    return None if found is None else int_value(found)


def _split_length(length: int, most: int, lanes: int) -> int | None:
    """The inner length with the fewest vector operations; what is left over runs by elements."""
    if length <= most:
        return None
    costs = {d: _operations(d, lanes) * (length // d) for d in _divisors(length) if d <= most}
    costs[most] = _operations(most, lanes) * (length // most) + length % most
    best = min(costs, key=lambda d: (costs[d], -d))
    whole = length <= _WHOLE_VECTORS * lanes and _operations(length, lanes) < costs[best]
    return None if whole else best


def _operations(length: int, lanes: int) -> int:
    return length // lanes + (length % lanes).bit_count()


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, min(n, 4096) + 1) if n % d == 0]
