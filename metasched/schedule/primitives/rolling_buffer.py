"""rolling_buffer: a window that moves over a producer's result, computed and stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metasched.analysis.dependence import Scope, domain_guards
from metasched.ir.expr import (
    Buffer,
    Expr,
    Load,
    Var,
    all_of,
    const,
    floormod,
    int_value,
    logical_and,
)
from metasched.ir.stmt import Block, IterVar, Region, Stmt, Store
from metasched.ir.walk import blocks, map_expr, map_exprs, map_stmts
from metasched.schedule.primitives.placement import Placed, Refusal, facts, unfinished
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.windows import Overlap, overlaps_of, windows_of
from metasched.schedule.primitives.written import written_intermediate
from metasched.schedule.state import State


def rolling_buffer(
    state: State, block: str, write_buffer_index: int | str
) -> tuple[State, tuple[str, ...]]:
    """Keep what one iteration of a loop made for the next one, in a buffer that goes round.

    A producer that was computed at a loop of a stencil makes the rows where two tiles overlap
    twice. The outermost loop whose steps are shorter than the window that each of its iterations
    makes becomes the rolling loop. The buffer keeps one window along the axis that moves, at
    indices modulo its size, and each iteration but the first makes only the rows that are fresh.
    Where loops further inside move the window along other axes, what they made is kept as well.

    The block gets an opaque iteration for each of those loops, so that they stay in order; the
    block, and those that read the buffer, are not moved or inlined any more.

    Args:
        state: where to apply.
        block: the producer.
        write_buffer_index: which of the buffers it writes, or its name.

    Requires:
        - an index or the name of a buffer that the block writes
        - an intermediate buffer
        - a complete block or a reduction
        - a block that writes this buffer only
        - a block without conditions
        - blocks without blocks inside
        - a buffer that some block behind the producer reads
        - a loop around the producer and all blocks that read the buffer
        - readers that need no more than the same iteration makes
        - windows of a fixed size that are made completely
        - a loop whose windows overlap along one axis
        - serial or unrolled loops from the rolling one on

    ::

        b = alloc((66, 8), "float32")    ->  b = alloc((3, 8), "float32")
        for i in serial(64):                 for i in serial(64):
            for y, x in grid(3, 8):              for y, x in grid(3, 8):
                b[i + y, x] = f(...)                 where(i < 1 or 2 <= y)
            for x in serial(8):                      b[(i + y) % 3, x] = f(...)
                c[i, x] = b[i, x] + b[i + 2, x]  for x in serial(8):
                                                     c[i, x] = b[i % 3, x] + b[(i + 2) % 3, x]
    """
    buffer = written_intermediate(state, block, write_buffer_index, "rolling_buffer")
    plan = _plan(state, state.block(block), buffer)
    if isinstance(plan, Refusal):
        raise plan.error(state, "rolling_buffer")
    return plan.applied(state), ()


@dataclass(frozen=True, slots=True)
class _Rolling:
    """A producer, its readers, and the overlaps from the rolling loop inwards."""

    block: Block
    readers: tuple[Block, ...]
    buffer: Buffer
    size: Expr
    overlaps: tuple[Overlap, ...]

    @property
    def axis(self) -> int:
        """The axis that is folded."""
        return self.overlaps[0].axis

    def applied(self, state: State) -> State:
        """The state with the folded buffer and the guarded producer."""
        shape = list(self.buffer.shape)
        shape[self.axis] = self.size
        folded = replace(self.buffer, shape=tuple(shape))
        names = {b.name for b in (self.block, *self.readers)}
        loops = [overlap.loop for overlap in self.overlaps]
        fresh = state.fresh(*(f"v_{loop.var.name}" for loop in loops))
        ordered = tuple(
            IterVar(Var(name, loop.var.dtype), loop.extent, "opaque", loop.var)
            for name, loop in zip(fresh, loops, strict=True)
        )
        guard = all_of([overlap.fresh for overlap in self.overlaps])

        def change(node: Stmt) -> Stmt:
            if not isinstance(node, Block):
                return node
            if node.name in names:
                node = self._redirected(node, folded)
            if node.name == self.block.name:
                predicate = logical_and(node.predicate, guard)
                node = replace(node, iters=(*node.iters, *ordered), predicate=predicate)
            if self.buffer in node.allocs:
                allocs = tuple(folded if b == self.buffer else b for b in node.allocs)
                node = replace(node, allocs=allocs)
            return node

        return state.edit(change)

    def _redirected(self, block: Block, folded: Buffer) -> Block:
        def at(indices: Sequence[Expr]) -> tuple[Expr, ...]:
            found = list(indices)
            found[self.axis] = floormod(found[self.axis], self.size)
            return tuple(found)

        def in_expr(expr: Expr) -> Expr:
            mapped = map_expr(expr, in_expr)
            if type(mapped) is Load and mapped.buffer == self.buffer:
                return Load(folded, at(mapped.indices))
            return mapped

        def in_stmt(node: Stmt) -> Stmt:
            node = map_stmts(node, in_stmt)
            if isinstance(node, Store) and node.buffer == self.buffer:
                return Store(folded, at(node.indices), node.value)
            return node

        def in_region(region: Region) -> Region:
            if region.buffer != self.buffer:
                return region
            ranges = list(region.ranges)
            low, extent = ranges[self.axis]
            whole = (const(0, self.size.dtype), self.size)
            one = int_value(extent) == 1
            ranges[self.axis] = (floormod(low, self.size), extent) if one else whole
            return Region(folded, tuple(ranges))

        return replace(
            block,
            body=in_stmt(map_exprs(block.body, in_expr)),
            init=None if block.init is None else in_stmt(map_exprs(block.init, in_expr)),
            reads=tuple(in_region(r) for r in block.reads),
            writes=tuple(in_region(r) for r in block.writes),
        )


def _plan(state: State, block: Block, buffer: Buffer) -> _Rolling | Refusal:
    scope = Scope.of(state.scope(block))
    readers = scope.readers(buffer)
    wrong = _why_not_producer(scope, block) or _why_not_readers(scope, block, readers, buffer)
    if wrong is not None:
        return wrong
    known, placed = facts(state), Placed.of(state, block)
    around = [state.loops_above(b) for b in (block, *readers)]
    shared = [loops[0] for loops in zip(*around, strict=False) if all(x is loops[0] for x in loops)]
    if not shared:
        given = f"'{readers[0].name}' outside of the loops around '{block.name}'"
        rule = "a loop around the producer and all blocks that read the buffer"
        return Refusal(rule, given, readers[0].name, "use compute_at first")
    for reader in readers:
        reason = unfinished(known, placed, Placed.of(state, reader))
        if reason is not None:
            rule = "readers that need no more than the same iteration makes"
            return Refusal(rule, reason, reader.name)
    windows = windows_of(known, placed, shared)
    if isinstance(windows, Refusal):
        return windows
    overlaps = overlaps_of(known, shared, windows)
    if isinstance(overlaps, Refusal):
        return overlaps
    size = windows[overlaps[0].axis].size
    return _Rolling(block, readers, buffer, size, overlaps)


def _why_not_producer(scope: Scope, block: Block) -> Refusal | None:
    name = block.name
    if (reason := scope.why_not_computed(block)) is not None:
        return Refusal("a complete block or a reduction", reason, name)
    if len(block.writes) > 1:
        given = " and ".join(f"'{r.buffer.name}'" for r in block.writes)
        return Refusal("a block that writes this buffer only", given, name)
    if conditions := domain_guards(block)[1]:
        hint = "split loops by divisors of their extents, and compute_at after that"
        return Refusal("a block without conditions", f"{conditions[0]}", name, hint)
    return None


def _why_not_readers(
    scope: Scope, block: Block, readers: tuple[Block, ...], buffer: Buffer
) -> Refusal | None:
    for leaf in (block, *readers):
        if inside := [b.name for b in blocks(leaf.body)]:
            given = f"'{leaf.name}' around '{inside[0]}'"
            return Refusal("blocks without blocks inside", given, leaf.name)
    rule = "a buffer that some block behind the producer reads"
    if not readers:
        return Refusal(rule, f"'{buffer.name}', which nobody reads", block.name)
    order = [b.name for b in scope.blocks]
    early = [b.name for b in readers if order.index(b.name) < order.index(block.name)]
    return Refusal(rule, f"'{early[0]}' in front of it", early[0]) if early else None


PRIMITIVES.register("rolling_buffer", Primitive("rolling_buffer", rolling_buffer))
