"""Moving a block's computation under a loop: what compute_at and reverse_compute_at share.

The block gets a new loop nest that runs through the part of its domain needed (or made available)
in one iteration of the loop. Everything is decided by structure, so a program whose tile sizes are
symbols is rewritten exactly as a concrete one. Read `metasched.analysis.facts` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from metasched.analysis.dependence import Scope, direct_blocks, domain_guards
from metasched.analysis.facts import Box, Facts, Range
from metasched.analysis.region import fills_box
from metasched.errors import ScheduleError
from metasched.ir.expr import (
    Binary,
    Const,
    Expr,
    Var,
    add,
    all_of,
    const,
    int_value,
    less,
    less_equal,
    minimum,
)
from metasched.ir.stmt import Block, For, IterVar, Region, Seq, Stmt, seq
from metasched.ir.threads import thread_conflicts
from metasched.ir.walk import free_vars, substitute
from metasched.schedule.primitives.primitive import refused
from metasched.schedule.state import State


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a primitive cannot be applied; see `refused`."""

    rule: str
    given: str
    at: str
    hint: str = ""

    def error(self, state: State, primitive: str) -> ScheduleError:
        """The exception that tells the user."""
        return refused(state, primitive, self.rule, self.given, at=self.at, hint=self.hint)

    def __str__(self) -> str:
        return f"expected {self.rule}, got {self.given}"


@dataclass(frozen=True, slots=True)
class Placed:
    """A block at a place: the loops around it and what its iterations are bound to there."""

    block: Block
    bindings: Mapping[Var, Expr]
    loops: tuple[Var, ...]

    @staticmethod
    def of(state: State, block: Block) -> Placed:
        """A block where it stands."""
        loops = tuple(loop.var for loop in state.loops_above(block))
        return Placed(block, {it.var: it.binding for it in block.iters}, loops)

    def inside(self, loops: tuple[Var, ...]) -> tuple[Var, ...]:
        """The loops around the block that are not among its first loops ``loops``."""
        return self.loops[len(loops) :]


@dataclass(frozen=True, slots=True)
class Move:
    """A block, the loop to compute it under, and what is known there."""

    state: State
    block: Block
    loop: For
    scope: Scope
    facts: Facts
    chain: tuple[Var, ...]

    @property
    def children(self) -> tuple[Stmt, ...]:
        """The statements in the loop, among which the block is put."""
        body = self.loop.body
        return body.stmts if isinstance(body, Seq) else (body,)

    def below(self) -> set[str]:
        """Names of the blocks under the loop."""
        return {b.name for b in direct_blocks(self.loop)}


@dataclass(frozen=True, slots=True)
class Nest:
    """The new loops of a moved block: variables with extents, and the block bound to them."""

    loops: tuple[tuple[Var, Expr], ...]
    block: Block

    def stmt(self) -> Stmt:
        """The nest as a statement."""
        body: Stmt = self.block
        for var, extent in reversed(self.loops):
            body = For(var, extent, body)
        return body

    def placed(self, chain: tuple[Var, ...]) -> Placed:
        """The block in its new nest under a chain of loops."""
        bindings = {it.var: it.binding for it in self.block.iters}
        return Placed(self.block, bindings, (*chain, *(var for var, _ in self.loops)))


def begin(state: State, block: str, loop: str, primitive: str) -> Move | Refusal:
    """Look the block and the loop up and check what both primitives require of them."""
    moved, target = state.block(block, primitive), state.loop(loop, primitive)
    root = state.scope(moved)
    if state.scope(target) is not root:
        where = f"'{loop}' inside block '{state.scope(target).name}'"
        return Refusal("a loop in the scope of the block", where, loop)
    if any(node is target for node in state.ancestors(moved)):
        return Refusal("a loop that is not around the block", f"'{loop}'", loop)
    if target.kind == "vectorized":
        return Refusal(
            "a loop that is not vectorized", f"'{loop}'", loop, "move blocks before vectorize"
        )
    scope = Scope.of(root)
    if (reason := scope.why_not_movable(moved)) is not None:
        return Refusal("a complete block or a reduction", reason, block)
    own = {it.binding for it in moved.iters}
    for part in domain_guards(moved)[1]:
        if not free_vars(part) <= own:
            return Refusal("a predicate over the iterations of the block", f"{part}", block)
    chain = (*(outer.var for outer in state.loops_above(target)), target.var)
    return Move(state, moved, target, scope, facts(state), chain)


def facts(state: State) -> Facts:
    """What is known about the loops and tiles of a program."""
    ranges = {loop.var: loop.extent for loop in state.tree.loops.values()}
    for block in state.tree.blocks.values():
        ranges.update((it.var, it.extent) for it in block.iters)
    return Facts(ranges, state.tiles)


def check_threads(state: State, new: State, primitive: str) -> None:
    """Refuse a new state in which thread-bound loops of a kernel do not go together.

    Raises:
        ScheduleError: they do not.
    """
    if any(loop.kind == "thread" for loop in new.tree.loops.values()):
        for conflict in thread_conflicts(new.program.root):
            raise refused(state, primitive, conflict.rule, conflict.given, at=conflict.at)


def insertion(
    move: Move, producers: Iterable[Block], consumers: Iterable[Block], index: int
) -> int | Refusal:
    """Where among the loop's statements the block goes.

    Args:
        move: the block and the loop.
        producers: blocks that must come first.
        consumers: blocks that must come later.
        index: position asked for; -1 is the last possible one, -2 the first.
    """
    made, used = {b.name for b in producers}, {b.name for b in consumers}
    first, last = 0, len(move.children)
    for position, child in enumerate(move.children):
        names = {b.name for b in direct_blocks(child)}
        if names & made:
            first = position + 1
        if names & used:
            last = min(last, position)
    rule = "an index between the last producer and the first consumer"
    if first > last or not (index in (-1, -2) or first <= index <= last):
        given = f"index {index}, where {first} to {last} would do" if first <= last else "none"
        return Refusal(rule, given, move.loop.var.name)
    return {-1: last, -2: first}.get(index, index)


def cut(move: Move, position: int) -> int:
    """How many blocks of the scope run before the insertion point, in execution order."""
    behind = [b for child in move.children[position:] for b in direct_blocks(child)]
    order = {b.name: k for k, b in enumerate(move.scope.blocks)}
    if behind:
        return order[behind[0].name]
    return max(order[name] for name in move.below()) + 1


def domain_of(move: Move, region: Region, box: Box) -> dict[Var, Range]:
    """The values of spatial iterations with which a region of the block meets a box.

    Iterations that the box does not determine are left out: they keep their whole domain.
    """
    spatial = {it.var for it in move.block.iters if it.kind == "spatial"}
    found: dict[Var, Range] = {}
    for (index, extent), wanted in zip(region.ranges, box, strict=True):
        drivers = free_vars(index) & spatial
        if wanted is None or len(drivers) != 1 or int_value(extent) != 1:
            continue
        (var,) = drivers
        values = _solve(move.facts, index, var, wanted)
        if values is not None:
            found.setdefault(var, values)
    return found


def _solve(known: Facts, index: Expr, var: Var, wanted: Range) -> Range | None:
    """The values of a variable for which ``var + c`` or ``var // c`` lies in a range."""
    match index:
        case Binary(op="floordiv", a=Var(), b=Const() as size):
            return known.simplify(wanted[0] * size), known.simplify(wanted[1] * size)
        case _:
            offset = known.simplify(index - var)
            if free_vars(offset) & known.ranges.keys():
                return None
            return known.simplify(wanted[0] - offset), wanted[1]


def new_nest(move: Move, domains: Mapping[Var, Range], *, preserve_unit_loops: bool) -> Nest:
    """Loops over the domains around the block, with guards where they may leave its domain."""
    block, known = move.block, move.facts
    names = iter(move.state.fresh(*(f"ax{k}" for k in range(len(block.iters)))))
    loops: list[tuple[Var, Expr]] = []
    iters: list[IterVar] = []
    guards: list[Expr] = []
    for it in block.iters:
        low: Expr = const(0, it.var.dtype)
        extent = it.extent
        if it.kind == "spatial" and it.var in domains:
            low, extent = _clipped(known, domains[it.var], it.extent)
            guards.extend(_guards(known, it, low, extent))
        binding: Expr = low
        if preserve_unit_loops or int_value(extent) != 1:
            var = Var(next(names), it.var.dtype)
            known.ranges[var] = extent
            known.simplify.bind(var, extent)
            loops.append((var, extent))
            binding = add(low, var)
        iters.append(IterVar(it.var, it.extent, it.kind, binding))
    values = {it.var: new.binding for it, new in zip(block.iters, iters, strict=True)}
    own = {it.binding: it.var for it in block.iters if isinstance(it.binding, Var)}
    kept = [substitute(substitute(p, own), values) for p in domain_guards(block)[1]]
    guards = [substitute(g, values) for g in guards]
    moved = replace(block, iters=tuple(iters), predicate=all_of([*guards, *kept]))
    return Nest(tuple(loops), moved)


def _clipped(known: Facts, wanted: Range, extent: Expr) -> Range:
    """A range cut to the size of the domain where neither start nor size depend on run time.

    A negative start is left to the guards, and so is a constant tile of a size known at run time,
    since loops of constant extent are worth more.
    """
    if int_value(wanted[1]) is not None and int_value(extent) is None:
        return wanted
    if known.nonneg(extent - wanted[1]) or not known.nonneg(wanted[0]):
        return wanted
    return wanted[0], known.simplify(minimum(wanted[1], extent))


def _guards(known: Facts, it: IterVar, low: Expr, extent: Expr) -> list[Expr]:
    """Conditions, over the iteration variable, that keep a range inside its domain."""
    guards: list[Expr] = []
    if not known.nonneg(low):
        guards.append(less_equal(const(0, it.var.dtype), it.var))
    if not known.nonneg(it.extent - low - extent):
        guards.append(less(it.var, it.extent))
    return guards


def unfinished(known: Facts, producer: Placed, reader: Placed) -> str | None:
    """Why a reader may see values that a producer has not made yet, or None.

    The producer comes first in execution order. Loops around both make it an issue: in each of
    their iterations the producer must finish all that the reader reads in it.
    """
    count = 0
    for a, b in zip(producer.loops, reader.loops, strict=False):
        if a != b:
            break
        count += 1
    if not count:
        return None
    shared = producer.loops[:count]
    name = producer.block.name
    for it in producer.block.iters:
        if it.kind != "spatial" and free_vars(producer.bindings[it.var]) & set(shared):
            return f"'{name}', which is still reducing over '{it.var.name}' there"
    if domain_guards(producer.block)[1]:
        return f"'{name}', which runs only under a condition"
    for made in producer.block.writes:
        for used in reader.block.reads:
            if made.buffer == used.buffer and not _covers(
                known, (made, producer), (used, reader), shared
            ):
                return f"'{name}', which makes only a part of '{made.buffer.name}' there"
    return None


def _covers(
    known: Facts,
    made: tuple[Region, Placed],
    used: tuple[Region, Placed],
    shared: tuple[Var, ...],
) -> bool:
    region, producer = made
    inner = producer.inside(shared)
    if not fills_box(known, producer.block, region, inner, producer.bindings):
        return False
    outer = known.box(region, producer.bindings, inner)
    wanted = known.box(used[0], used[1].bindings, used[1].inside(shared))
    sizes = region.buffer.shape
    for have, need, size in zip(outer, wanted, sizes, strict=True):
        if have is None or not known.within(need or (const(0, size.dtype), size), have):
            return False
    return True


def relocate(move: Move, nest: Nest, position: int, primitive: str) -> State:
    """The state with the block gone from its old place and its new nest in the loop."""
    state = move.state.replace(move.block, None)
    loop = state.loop(move.loop.var.name)
    children = loop.body.stmts if isinstance(loop.body, Seq) else (loop.body,)
    body = seq(*children[:position], nest.stmt(), *children[position:])
    new = state.replace(loop, replace(loop, body=body))
    check_threads(move.state, new, primitive)
    gone = move.state.tree.loops.keys() - new.tree.loops.keys()
    return new.without(primitive, *gone) if gone else new
