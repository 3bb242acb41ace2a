"""Blocks and their iterations divided between a new block and themselves: the work of blockize.

Read `subspace` first, then `blockize`, which picks the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from metasched.analysis.access import simplify_indices
from metasched.analysis.dependence import conjuncts, driven, reads, writes
from metasched.analysis.facts import Facts
from metasched.ir.expr import Buffer, Const, Expr, Var, add, all_of, const, mul
from metasched.ir.regions import full, hull
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, IterVar, Region, Stmt, seq
from metasched.ir.walk import bound_inside, free_vars, map_exprs, map_region, substitute
from metasched.schedule.primitives.primitive import refused
from metasched.schedule.primitives.reduction_init import InitNest
from metasched.schedule.primitives.subspace import Halves, divide
from metasched.schedule.state import State, edit_stmt

_NAME = "blockize"


@dataclass(frozen=True, slots=True)
class Span:
    """Statements that follow each other, their blocks, and the loops around them."""

    name: str
    stmts: tuple[Stmt, ...]
    blocks: tuple[Block, ...]
    outer: tuple[For, ...]

    @property
    def mark(self) -> str:
        """What an error marks."""
        first = self.stmts[0]
        return first.var.name if isinstance(first, For) else self.blocks[0].name


@dataclass(frozen=True, slots=True)
class Part:
    """A block that goes inside, with its iterations and its predicate divided."""

    block: Block
    loops: tuple[For, ...]
    halves: tuple[Halves, ...]
    outer_guards: tuple[Expr, ...]
    inner_guards: tuple[Expr, ...]

    @staticmethod
    def of(state: State, span: Span, block: Block, known: Facts) -> Part:
        """Divide a block, knowing the ranges of all loops.

        Raises:
            ScheduleError: it cannot be divided at the loops of the span.
        """
        loops = state.loops_above(block)[len(span.outer) :]
        inner = {loop.var for loop in loops}
        simplify = state.simplifier(block, keep_units=True)
        halves: list[Halves] = []
        for axis in block.iters:
            found = divide(axis, inner, known, simplify)
            if found is None:
                given = f"'{axis.var.name}' of extent {axis.extent} bound to {axis.binding}"
                raise refused(
                    state, _NAME,
                    "iterations that loops inside run through in parts of one size",
                    given, at=block.name, hint="split the loop by a divisor, or pad_einsum before",
                )  # fmt: skip
            halves.append(found)
        guards = _guards(state, span, block, inner)
        return Part(block, loops, tuple(halves), *guards)

    @property
    def reduced_outside(self) -> frozenset[Expr]:
        """What counts the parts of reduce iterations, where loops outside do."""
        return frozenset(
            half.outside
            for half in self.halves
            if half.axis.kind == "reduce" and free_vars(half.outside)
        )


def _guards(
    state: State, span: Span, block: Block, inner: set[Var]
) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    outside: list[Expr] = []
    inside: list[Expr] = []
    hidden = {loop.var for loop in span.outer}
    for part in conjuncts(block.predicate):
        used = free_vars(part)
        if used & hidden and used & inner:
            raise refused(
                state, _NAME, "predicates over loops outside or over loops inside", str(part),
                at=block.name, hint="split the loop by a divisor, or pad_einsum before",
            )  # fmt: skip
        (outside if used & hidden else inside).append(part)
    return tuple(outside), tuple(inside)


def check_predicates(state: State, parts: Sequence[Part]) -> None:
    """Refuse blocks that different conditions outside decide about."""
    for part in parts[1:]:
        if part.outer_guards != parts[0].outer_guards:
            given = f"different ones of '{parts[0].block.name}' and '{part.block.name}'"
            rule = "predicates over loops outside that all blocks share"
            raise refused(state, _NAME, rule, given, at=part.block.name)


def check_inits(state: State, parts: Sequence[Part]) -> None:
    """Refuse inits that cannot run before all that the new block holds, once per reduction."""
    reducing = frozenset[Expr]().union(*(part.reduced_outside for part in parts))
    for number, part in enumerate(parts):
        if part.block.init is None:
            continue
        name = part.block.name
        if part.reduced_outside != reducing:
            rule = "reduce loops outside that all blocks with an init share"
            raise refused(state, _NAME, rule, f"others of '{name}'", at=name)
        for before in parts[:number]:
            for region in part.block.writes:
                if reads(before.block, region.buffer) or writes(before.block, region.buffer):
                    rule = "results of reductions that no block before them touches"
                    given = f"'{region.buffer.name}' in '{before.block.name}'"
                    raise refused(state, _NAME, rule, given, at=before.block.name)


# -- the new block -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """The parts with the iterations that both sides get.

    Attributes:
        parts: the blocks that go inside.
        outer: the iterations of the new block.
        inner: those that the blocks keep, by block.
        values: what replaces each old iteration variable.
    """

    parts: Sequence[Part]
    outer: tuple[IterVar, ...]
    inner: Mapping[str, tuple[IterVar, ...]]
    values: Mapping[Var, Expr]

    @staticmethod
    def of(state: State, parts: Sequence[Part], preserve_unit_iters: bool) -> Group:
        """Name and share the iterations."""
        halves = [half for part in parts for half in part.halves]
        reduced = {
            half.axis.var for part in parts if part.block.init is not None
            for half in part.halves if half.axis.kind == "reduce"
        }  # fmt: skip
        bases = [f"{half.axis.var.name}{side}" for side in ("_o", "_i") for half in halves]
        names = state.fresh(*bases)
        outer: dict[tuple[Expr, Expr, str], IterVar] = {}
        inner: dict[Var, IterVar] = {}
        values: dict[Var, Expr] = {}
        for half, first, second in zip(halves, names, names[len(halves) :], strict=False):
            axis = half.axis
            value: Expr = const(0, axis.var.dtype)
            kept = preserve_unit_iters or axis.var in reduced
            if not half.is_one_part or (kept if half.inside is None else preserve_unit_iters):
                key = (half.outside, half.count, axis.kind)
                made = IterVar(Var(first, axis.var.dtype), half.count, axis.kind, half.outside)
                value = mul(outer.setdefault(key, made).var, half.size)
            if half.inside is not None and (kept or not half.has_unit_parts):
                var = Var(second, axis.var.dtype)
                inner[axis.var] = IterVar(var, half.size, axis.kind, half.inside)
                value = add(value, var)
            values[axis.var] = value
        inside = {
            part.block.name: tuple(
                inner[half.axis.var] for half in part.halves if half.axis.var in inner
            )
            for part in parts
        }
        return Group(parts, tuple(outer.values()), inside, values)

    def build(self, state: State, span: Span, known: Facts) -> tuple[str, Block]:
        """The new block, and its name."""
        around = state.simplifier(span.stmts[0], keep_units=True)
        for axis in self.outer:
            around.bind(axis.var, axis.extent)
        inits: list[Stmt] = []
        made: dict[int, Block] = {}
        reduces = any(axis.kind == "reduce" for axis in self.outer)
        for part in self.parts:
            block = self.inside(part, around)
            if block.init is not None and reduces:
                inits.append(_init(state, part, block, around))
                own = (w for w in block.writes if not reads(block, w.buffer))
                block = replace(block, init=None, reads=(*block.reads, *own))
            made[id(part.block)] = block
        body = [edit_stmt(s, lambda x: made.get(id(x), x)) or s for s in span.stmts]
        (name,) = state.fresh(span.name)
        known = self.facts(state, known)
        block = Block(
            name,
            self.outer,
            self.regions(known, (p.block.reads for p in self.parts)),
            self.regions(known, (p.block.writes for p in self.parts)),
            seq(*body),
            seq(*inits) if inits else None,
            all_of(self.parts[0].outer_guards),
        )
        return name, block

    def inside(self, part: Part, around: Simplifier) -> Block:
        """A block on its part of the iterations."""
        iters, block = self.inner[part.block.name], part.block
        for axis in iters:
            around.bind(axis.var, axis.extent)
        # What is deeper inside indexes, too, and a variable without a range is taken for a size.
        for body in (block.body, block.init):
            for var, extent in bound_inside(body) if body is not None else ():
                around.bind(var, extent)

        done: dict[Expr, Expr] = {}

        def change(expr: Expr) -> Expr:
            if type(expr) is Const:
                return expr
            # Regions and accesses repeat each other.
            found = done.get(expr)
            if found is None:
                found = done[expr] = exchange(expr)
            return found

        def exchange(expr: Expr) -> Expr:
            changed = substitute(expr, self.values)
            if changed is expr:
                return expr
            return around(changed) if changed.dtype.is_int else simplify_indices(changed, around)

        init = None if block.init is None else map_exprs(block.init, change)
        return replace(
            block,
            iters=iters,
            reads=tuple(map_region(r, change) for r in block.reads),
            writes=tuple(map_region(r, change) for r in block.writes),
            body=map_exprs(block.body, change),
            init=init,
            predicate=all_of(part.inner_guards),
        )

    def facts(self, state: State, known: Facts) -> Facts:
        """What is known about the new iterations, too."""
        ranges = {axis.var: axis.extent for axis in self.outer}
        for iters in self.inner.values():
            ranges.update((axis.var, axis.extent) for axis in iters)
        return Facts({**known.ranges, **ranges}, state.tiles)

    def regions(self, known: Facts, given: Iterable[tuple[Region, ...]]) -> tuple[Region, ...]:
        """What all blocks inside touch, each buffer once."""
        inner = {axis.var for iters in self.inner.values() for axis in iters}
        boxes: dict[Buffer, Region] = {}
        for region in (r for regions in given for r in regions):
            found = known.box(region, self.values, inner)
            whole = full(region.buffer).ranges
            ranges = (w if f is None else f for f, w in zip(found, whole, strict=True))
            box = Region(region.buffer, tuple(ranges))
            seen = boxes.get(region.buffer)
            boxes[region.buffer] = box if seen is None else hull(seen, box, known.simplify)
        return tuple(boxes.values())


def _init(state: State, part: Part, block: Block, around: Simplifier) -> Stmt:
    """The init of a block as a nest for the new block."""
    reducing = driven(block.iters, "reduce")
    both = [loop for loop in part.loops if loop.var in reducing & driven(block.iters, "spatial")]
    if both:
        given = f"'{both[0].var.name}', which drives both"
        rule = "loops inside a reduction that drive either spatial or reduce iterations"
        raise refused(state, _NAME, rule, given, at=both[0].var.name)
    guarded = free_vars(block.predicate) - reducing
    used = (driven(block.iters, "spatial") | guarded) - reducing
    loops = tuple(loop for loop in part.loops if loop.var in used)
    start = {loop.var: const(0, loop.var.dtype) for loop in part.loops if loop.var in reducing}
    assert block.init is not None
    return InitNest(block, block.init, loops, start).build(state, around)[0]
