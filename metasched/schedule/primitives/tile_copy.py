"""Copies of the tile that a loop works on in each iteration: what read_at and write_at share.

The copy is one block with loops inside. Its iterations are the loops that the tile moves with, its
regions are boxes, and it carries the note ``auto_copy``, by which a target may choose how to copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metasched.analysis.dependence import direct_blocks, reads, writes
from metasched.analysis.facts import Box, Facts, Range
from metasched.ir.expr import (
    Buffer,
    Expr,
    Load,
    Var,
    add,
    all_of,
    less,
    less_equal,
    maximum,
    minimum,
)
from metasched.ir.stmt import Block, For, If, IterVar, Region, Seq, Stmt, Store, seq
from metasched.ir.walk import expr_loads, free_vars, replace_buffers, substitute
from metasched.schedule.primitives.placement import Placed, Refusal, facts
from metasched.schedule.primitives.staging import accessed, cache_of, check_scope, touched_box
from metasched.schedule.state import State, edit_stmt


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of a buffer that some blocks under a loop use in one iteration.

    Args:
        state: where the loop stands.
        loop: the loop.
        chain: the loops around what is under the loop, itself included.
        buffer: the buffer.
        users: the blocks under the loop that are to use a cache, in execution order.
        known: what is known about the loops.
    """

    state: State
    loop: For
    chain: tuple[For, ...]
    buffer: Buffer
    users: tuple[Block, ...]
    known: Facts

    @property
    def children(self) -> tuple[Stmt, ...]:
        """The statements in the loop."""
        body = self.loop.body
        return body.stmts if isinstance(body, Seq) else (body,)

    def using(self, stmt: Stmt) -> list[Block]:
        """The users under one of the statements."""
        return [b for b in direct_blocks(stmt) if b in self.users]

    def copy(self, target: Buffer, source: Buffer) -> Block:
        """A block that copies the tile; it bears the name of the one that is no parameter."""
        cache = target if source == self.buffer else source
        drivers = self._drivers()
        moving = set[Var]().union(*drivers)
        box = self._box(drivers)
        around = [x for x in self.chain if x.var in moving]
        bases = (*(f"v_{x.var.name}" for x in around), *(f"ax{k}" for k in range(len(box))))
        own = [Var(name) for name in self.state.fresh(*bases)]
        iters = tuple(
            IterVar(var, x.extent, "spatial", x.var) for var, x in zip(own, around, strict=False)
        )
        values = {it.binding: it.var for it in iters if isinstance(it.binding, Var)}
        ranges = tuple((substitute(low, values), extent) for low, extent in box)
        inner = own[len(around) :]
        at = tuple(add(low, var) for (low, _), var in zip(ranges, inner, strict=True))
        guards = self._guards(box, at)
        body: Stmt = Store(target, at, Load(source, at))
        body = If(all_of(guards), body) if guards else body
        for var, (_, extent) in zip(reversed(inner), reversed(ranges), strict=True):
            body = For(var, extent, body)
        regions = (Region(source, ranges),), (Region(target, ranges),)
        return Block(cache.name, iters, *regions, body, annotations=(("auto_copy", 1),))

    def applied(self, cache: Buffer, stmts: Sequence[Stmt], copied: Block) -> State:
        """The state with other statements in the loop, whose users use the cache."""

        def change(node: Stmt) -> Stmt:
            using = isinstance(node, Block) and node in self.users
            return replace_buffers(node, {self.buffer: cache}) if using else node

        changed = [s if s is copied else edit_stmt(s, change) or s for s in stmts]
        scope = self.state.scope(self.loop)
        state = self.state.replace(scope, replace(scope, allocs=(*scope.allocs, cache)))
        return state.replace(self.loop, replace(self.loop, body=seq(*changed)))

    def _drivers(self) -> list[set[Var]]:
        """The loops of the chain that each dimension of the tile moves with, even if of extent 1.

        So the copy has the same iterations whatever the sizes of tiles are.
        """
        found = [set[Var]() for _ in self.buffer.shape]
        for block in self.users:
            bindings = {it.var: it.binding for it in block.iters}
            for region in _regions(block, self.buffer):
                for drivers, (low, _) in zip(found, region.ranges, strict=True):
                    drivers |= free_vars(substitute(low, bindings))
        return found

    def _box(self, drivers: Sequence[set[Var]]) -> tuple[Range, ...]:
        """The tile, over the loops of the chain; cut to what is used where it stays in place."""
        boxes = [self._box_of(b, r) for b in self.users for r in _regions(b, self.buffer)]
        total = boxes[0]
        for box in boxes[1:]:
            total = self.known.hull(total, box)
        loops = {x.var for x in self.chain}
        whole = touched_box(self.state, self.users, self.buffer)
        return tuple(
            full if pair is None else pair if by & loops else self._cut(pair, full)
            for pair, full, by in zip(total, whole, drivers, strict=True)
        )

    def _box_of(self, block: Block, region: Region) -> Box:
        placed = Placed.of(self.state, block)
        inner = placed.inside(tuple(x.var for x in self.chain))
        box = self.known.box(region, placed.bindings, inner)
        # Where an index depends on data, the copy cannot tell its tile from the whole.
        return tuple(None if pair is None or expr_loads(pair[0]) else pair for pair in box)

    def _cut(self, pair: Range, full: Range) -> Range:
        low = self.known.simplify(maximum(pair[0], full[0]))
        high = minimum(pair[0] + pair[1], full[0] + full[1])
        return low, self.known.simplify(high - low)

    def _guards(self, box: Sequence[Range], at: Sequence[Expr]) -> list[Expr]:
        """Conditions that keep the copy inside of what is used anywhere."""
        guards: list[Expr] = []
        whole = touched_box(self.state, self.users, self.buffer)
        for (low, extent), (first, size), index in zip(box, whole, at, strict=True):
            if not self.known.nonneg(low - first):
                guards.append(less_equal(first, index))
            if not self.known.nonneg(first + size - low - extent):
                guards.append(less(index, self.known.simplify(first + size)))
        return guards


def tile_at(
    state: State, loop: str, block: str, which: int | str, storage_scope: str, primitive: str
) -> tuple[Tile, Buffer] | Refusal:
    """The tile of a buffer under a loop and a cache for it, if they may be asked for."""
    target, around = state.block(block, primitive), state.loop(loop, primitive)
    writing = primitive == "write_at"
    region = check_scope(storage_scope, block) or accessed(target, which, writing=writing)
    if isinstance(region, Refusal):
        return region
    chain = state.loops_above(target)
    if around not in chain:
        return Refusal("a loop around the block in its scope", f"'{loop}'", loop)
    if around.kind == "vectorized":
        hint = "stage buffers before vectorize"
        return Refusal("a loop that is not vectorized", f"'{loop}'", loop, hint)
    buffer = region.buffer
    inside = direct_blocks(around)
    users = (b for b in inside if reads(b, buffer) or (writing and writes(b, buffer)))
    chain = chain[: chain.index(around) + 1]
    tile = Tile(state, around, chain, buffer, tuple(users), facts(state))
    return tile, cache_of(state, buffer, storage_scope)


def _regions(block: Block, buffer: Buffer) -> list[Region]:
    return [r for r in (*block.reads, *block.writes) if r.buffer == buffer]
