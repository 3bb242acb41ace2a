"""Copies between a buffer and a cache of it: what the cache primitives share.

A copy is a loop nest of its own around one block; the caches keep the shape of what they stand for
and lowering shrinks them to what is alive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from metasched.analysis.access import with_regions
from metasched.analysis.dependence import direct_blocks, domain_guards
from metasched.analysis.facts import Facts, Range
from metasched.analysis.region import whole_box, whole_buffer
from metasched.ir.expr import (
    Buffer,
    Expr,
    Load,
    Var,
    add,
    all_of,
    const,
    int_value,
    less,
    less_equal,
    select,
)
from metasched.ir.scopes import STORAGE
from metasched.ir.simplify import Interval, Simplifier
from metasched.ir.stmt import Block, For, If, IterVar, Region, Seq, Stmt, Store, seq
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.state import State, edit_stmt


@dataclass(frozen=True, slots=True)
class Copy:
    """``target[target_at] = source[source_at]`` over a domain; 0 where the source has no element.

    Args:
        name: name of the block.
        extents: the domain; one loop and one spatial iteration per extent.
        target: the buffer to write.
        target_at: its indices, given the iterations.
        source: the buffer to read.
        source_at: its indices, given the iterations.
        limits: how much of each dimension of the source counts; its shape where empty.
    """

    name: str
    extents: tuple[Expr, ...]
    target: Buffer
    target_at: Callable[[Sequence[Var]], Sequence[Expr]]
    source: Buffer
    source_at: Callable[[Sequence[Var]], Sequence[Expr]]
    limits: tuple[Expr, ...] = ()

    def nest(self, state: State, beside: Block) -> Stmt:
        """The copy as a loop nest with fresh names, to stand in the scope of a block."""
        around = state.iters_around(beside)

        def store(own: Sequence[Var]) -> Store:
            at = tuple(self.source_at(own))
            domain = {**around, **dict(zip(own, self.extents, strict=True))}
            return Store(self.target, tuple(self.target_at(own)), self._value(at, domain))

        return spatial_nest(state, self.name, self.extents, store)

    def _value(self, at: tuple[Expr, ...], domain: Mapping[Var, Expr]) -> Expr:
        """The source, guarded where the domain reaches over its edges as padding does."""
        known = Simplifier(domain)
        guards: list[Expr] = []
        for index, size in zip(at, self.limits or self.source.shape, strict=True):
            if _within(known.bounds(index), int_value(size)):
                continue
            inside = (less_equal(const(0, index.dtype), index), less(index, size))
            guards.extend(g for g in inside if not known.can_prove(g))
        value = Load(self.source, at)
        return select(all_of(guards), value, const(0, value.dtype)) if guards else value


def _within(bounds: Interval, size: int | None) -> bool:
    low, high = bounds
    return low is not None and low >= 0 and high is not None and high < (size or 0)


def spatial_nest(
    state: State, name: str, extents: Sequence[Expr], store: Callable[[Sequence[Var]], Store]
) -> Stmt:
    """A block of one store in loops of its own, with fresh names, over spatial iterations."""
    count = len(extents)
    bases = [f"{kind}{k}" for kind in ("ax", "v_ax") for k in range(count)]
    fresh = [Var(name) for name in state.fresh(*bases)]
    loops, own = fresh[:count], fresh[count:]
    iters = tuple(
        IterVar(var, extent, "spatial", loop)
        for var, extent, loop in zip(own, extents, loops, strict=True)
    )
    body: Stmt = with_regions(Block(name, iters, (), (), store(own)))
    for loop, extent in zip(reversed(loops), reversed(extents), strict=True):
        body = For(loop, extent, body)
    return body


def box_copy(name: str, target: Buffer, source: Buffer, box: Sequence[Range]) -> Copy:
    """A copy of a box at the same indices of both buffers."""

    def at(own: Sequence[Var]) -> list[Expr]:
        return [add(var, low) for (low, _), var in zip(box, own, strict=True)]

    return Copy(name, tuple(extent for _, extent in box), target, at, source, at)


def cache_of(state: State, buffer: Buffer, storage_scope: str) -> Buffer:
    """A buffer for a cache, with a fresh name that also serves its copy block."""
    (name,) = state.fresh(f"{buffer.name}_{storage_scope.replace('.', '_')}")
    return Buffer(name, buffer.shape, buffer.dtype, storage_scope)


def check_scope(storage_scope: str, at: str) -> Refusal | None:
    """Refuse an unknown storage scope."""
    if storage_scope in STORAGE:
        return None
    given = f"'{storage_scope}', none of {', '.join(STORAGE)}"
    return Refusal("a known storage scope", given, at)


def accessed(block: Block, which: int | str, *, writing: bool = False) -> Region | Refusal:
    """The region of a buffer that a block reads (or writes), named or by its position."""
    regions = block.writes if writing else block.reads
    if isinstance(which, int) and 0 <= which < len(regions):
        return regions[which]
    named = [r for r in regions if r.buffer.name == which]
    if named:
        return named[0]
    known = ", ".join(r.buffer.name for r in regions) or "none"
    given = f"'{which}' of {known}" if isinstance(which, str) else f"{which} of {len(regions)}"
    verb = "writes" if writing else "reads"
    return Refusal(f"an index or the name of a buffer that the block {verb}", given, block.name)


def conditional(state: State, block: Block) -> bool:
    """Whether a block runs for a part of its iterations only."""
    return bool(domain_guards(block)[1]) or any(isinstance(s, If) for s in state.ancestors(block))


def touched_box(state: State, blocks: Sequence[Block], buffer: Buffer) -> tuple[Range, ...]:
    """The box of a buffer that some blocks of one scope read or write."""
    around = state.iters_around(blocks[0])
    regions = [(b, r) for b in blocks for r in (*b.reads, *b.writes) if r.buffer == buffer]
    boxes = [whole_box(block, region, around) for block, region in regions]
    known, whole = Facts(around), whole_buffer(buffer)
    total = boxes[0]
    for box in boxes[1:]:
        joined = known.hull(total, box)
        total = tuple(pair or full for pair, full in zip(joined, whole, strict=True))
    return total


def access_of(block: Block, buffer: str | tuple[str | int, ...]) -> tuple[Region, bool] | Refusal:
    """The region that is meant, and whether it is one that the block writes."""
    match buffer:
        case str():
            writing = any(r.buffer.name == buffer for r in block.writes)
            region = accessed(block, buffer, writing=writing)
        case ("read" | "write" as verb, int() as index):
            writing = verb == "write"
            region = accessed(block, index, writing=writing)
        case _:
            rule = '"read" or "write" with an index, or a name'
            hint = 'give ("read", 0) for the first buffer that the block reads'
            return Refusal(rule, f"{buffer}", block.name, hint)
    return region if isinstance(region, Refusal) else (region, writing)


def top_statements(scope: Block) -> tuple[Stmt, ...]:
    """The statements of a scope's body."""
    return scope.body.stmts if isinstance(scope.body, Seq) else (scope.body,)


def rebuilt(state: State, scope: Block, stmts: Sequence[Stmt], cache: Buffer) -> State:
    """The state with other statements in a scope, which also holds a cache."""
    changed = replace(scope, body=seq(*stmts), allocs=(*scope.allocs, cache))
    return state.replace(scope, changed)


@dataclass(frozen=True, slots=True)
class Staging:
    """A block that works on a cache, and the copies around its nest.

    Args:
        block: the block as it is.
        changed: the block on the cache.
        cache: the buffer that is new in the scope.
        before: a copy in front of the nest.
        behind: a copy behind it.
    """

    block: Block
    changed: Block
    cache: Buffer
    before: Stmt | None = None
    behind: Stmt | None = None

    def applied(self, state: State, scope: Block) -> State:
        """The state with the block exchanged and the copies around its nest."""
        stmts: list[Stmt] = []
        for stmt in top_statements(scope):
            if any(b is self.block for b in direct_blocks(stmt)):
                nest = edit_stmt(stmt, lambda s: self.changed if s is self.block else s) or stmt
                stmts.extend(s for s in (self.before, nest, self.behind) if s is not None)
            else:
                stmts.append(stmt)
        return rebuilt(state, scope, stmts, self.cache)
