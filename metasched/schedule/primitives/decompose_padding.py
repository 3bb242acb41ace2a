"""decompose_padding: the padding of a padded copy as a block of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from metasched.analysis.access import with_regions
from metasched.analysis.dependence import Scope, conjuncts
from metasched.ir.expr import (
    Binary,
    Expr,
    Select,
    Var,
    all_of,
    const,
    less_equal,
    maximum,
    minimum,
)
from metasched.ir.regions import element_regions, write_accesses
from metasched.ir.simplify import Simplifier, simplify
from metasched.ir.stmt import Block, For, IterVar, Stmt, Store, seq
from metasched.ir.walk import expr_loads, free_vars, substitute
from metasched.schedule.primitives.placement import Refusal, facts
from metasched.schedule.primitives.plain_nest import simplified, within
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State, edit_stmt


def decompose_padding(state: State, block: str, loop: str) -> tuple[State, tuple[str, ...]]:
    """Store the padding in front of a loop, and let the block store the rest only.

    The block loses its condition. Loops at or inside the given one that run through an iteration
    shrink to the part that is no padding; what cannot be had so becomes the block's predicate.

    Args:
        state: where to apply.
        block: a block that stores ``if_then_else(condition, value, padding)``.
        loop: the loop in front of which the padding is stored.

    Returns:
        The block that stores the padding, ``<block>_pad_const``.

    Requires:
        - a complete block
        - a loop around the block
        - a block that stores if_then_else(condition, value, padding)
        - a condition and a padding that load nothing
        - loops that run each iteration of the block once

    ::

        for i in serial(140):            ->  for i_pad in serial(140):
            b[i] = if_then_else(                 b[i_pad] = 0
                6 <= i and i < 134,          for i in serial(128):
                a[i - 6], 0)                     b[i + 6] = a[i]
    """
    parts = find_padding(state, block, loop, "decompose_padding")
    if isinstance(parts, Refusal):
        raise parts.error(state, "decompose_padding")
    fill, name = parts.fill(state)
    return state.replace(parts.below[0], seq(fill, parts.rest())), (name,)


@dataclass(frozen=True, slots=True)
class PaddedCopy:
    """A block that stores padding where a condition does not hold.

    Args:
        block: the block.
        store: what it stores.
        chosen: the value of the store.
        below: the loops around the block from the given one on.
        known: the ranges of the iterations of the block and of the loops around it.
        moving: all loops and iterations of the program.
    """

    block: Block
    store: Store
    chosen: Select
    below: tuple[For, ...]
    known: Simplifier
    moving: frozenset[Var]

    def fill(self, state: State) -> tuple[Stmt, str]:
        """The nest that stores the padding everywhere, and the name of its block."""
        block = self.block
        variables = [loop.var for loop in self.below] + [it.var for it in block.iters]
        bases = (f"{block.name}_pad_const", *(f"{v.name}_pad" for v in variables))
        name, *names = state.fresh(*bases)
        new = {v: Var(n, v.dtype) for v, n in zip(variables, names, strict=True)}
        body = Store(
            self.store.buffer,
            tuple(substitute(i, new) for i in self.store.indices),
            substitute(self.chosen.other, new),
        )
        nest: Stmt = Block(
            name,
            tuple(
                IterVar(new[it.var], it.extent, it.kind, substitute(it.binding, new))
                for it in block.iters
            ),
            (),
            element_regions(write_accesses(body)),
            body,
            predicate=substitute(block.predicate, new),
        )
        for loop in reversed(self.below):
            nest = replace(loop, var=new[loop.var], body=nest)
        return nest, name

    def rest(self) -> Stmt:
        """The nest of what is no padding."""
        block, spans = self.block, self._spans()
        moved = {
            it.binding: it.binding + spans[it.var][0]
            for it in block.iters
            if it.var in spans and isinstance(it.binding, Var)
        }
        bound = {it.var: substitute(it.binding, moved) for it in block.iters}
        kept = [part for part in conjuncts(self.chosen.cond) if not self._covered(part, spans)]
        guards = [self.known(substitute(part, bound)) for part in kept]
        iters = tuple(
            IterVar(it.var, spans[it.var][1], it.kind, it.binding) if it.var in spans else it
            for it in block.iters
        )
        nest: Stmt = with_regions(
            replace(
                block,
                iters=iters,
                predicate=all_of([*conjuncts(substitute(block.predicate, moved)), *guards]),
                body=self._body({var: var + low for var, (low, _) in spans.items()}),
            )
        )
        extents = {it.binding: it.extent for it in iters if it.var in spans}
        old: Stmt = block
        for loop in reversed(self.below):
            body = _exchanged(loop.body, old, nest)
            nest, old = replace(loop, extent=extents.get(loop.var, loop.extent), body=body), loop
        return nest

    def _body(self, values: Mapping[Var, Expr]) -> Store:
        indices = tuple(self.known(substitute(i, values)) for i in self.store.indices)
        value = simplified(substitute(self.chosen.then, values), self.known)
        return Store(self.store.buffer, indices, value)

    def _spans(self) -> dict[Var, tuple[Expr, Expr]]:
        """First value and extent of the iterations whose loops can shrink to the condition."""
        alone: dict[Expr, For] = {}
        inner: Stmt = self.block
        for loop in reversed(self.below):
            if loop.body is not inner:
                break
            if loop.kind in ("serial", "parallel"):
                alone[loop.var] = loop
            inner = loop
        found: dict[Var, tuple[Expr, Expr]] = {}
        for it in self.block.iters:
            drives = [x for x in self.block.iters if it.binding in free_vars(x.binding)]
            loop = alone.get(it.binding)
            if loop is None or loop.extent != it.extent or drives != [it]:
                continue
            span = self._span(it)
            if span is not None:
                found[it.var] = span
        return found

    def _span(self, it: IterVar) -> tuple[Expr, Expr] | None:
        low: Expr = const(0, it.var.dtype)
        high: Expr = it.extent
        some = False
        for part in conjuncts(self.chosen.cond):
            bound = self._bound(part)
            if bound is None or bound[0] != it.var:
                continue
            some = True
            if bound[1] is not None:
                low = simplify(maximum(low, bound[1]))
            if bound[2] is not None:
                high = simplify(minimum(high, bound[2]))
        extent = simplify(high - low)
        # What may be empty is left to a predicate, as no loop may be.
        if not some or not Simplifier().can_prove(less_equal(const(1, extent.dtype), extent)):
            return None
        return low, extent

    def _covered(self, part: Expr, spans: Mapping[Var, object]) -> bool:
        bound = self._bound(part)
        return bound is not None and bound[0] in spans

    def _bound(self, part: Expr) -> tuple[Var, Expr | None, Expr | None] | None:
        """The iteration that a comparison bounds, its least value or the first one beyond."""
        if not isinstance(part, Binary) or part.op not in ("lt", "le") or not part.a.dtype.is_int:
            return None
        left = self.known(part.b - part.a)
        strict = 1 if part.op == "lt" else 0
        moving = [v for v in free_vars(left) if v in self.moving]
        if len(moving) != 1:
            return None
        (var,) = moving
        below, above = self.known(left - var), self.known(left + var)
        if var not in free_vars(below):
            return var, simplify(strict - below), None
        return (var, None, simplify(above + 1 - strict)) if var not in free_vars(above) else None


def find_padding(state: State, block: str, loop: str, primitive: str) -> PaddedCopy | Refusal:
    """The padded copy that a block is, with the loops from one on."""
    target, outer = state.block(block, primitive), state.loop(loop, primitive)
    reason = Scope.of(state.scope(target)).why_not_complete(target)
    if reason is not None:
        return Refusal("a complete block", reason, block)
    around = state.loops_above(target)
    position = next((k for k, x in enumerate(around) if x is outer), None)
    if position is None:
        return Refusal("a loop around the block", f"'{loop}'", loop)
    store = target.body
    if not isinstance(store, Store) or not isinstance(store.value, Select):
        rule = "a block that stores if_then_else(condition, value, padding)"
        return Refusal(rule, f"'{block}'", block)
    chosen = store.value
    if loaded := [*expr_loads(chosen.cond), *expr_loads(chosen.other)]:
        given = f"'{loaded[0].buffer.name}', which it loads"
        return Refusal("a condition and a padding that load nothing", given, block)
    bindings = [it.binding for it in target.iters]
    if not facts(state).is_one_to_one(bindings, [x.var for x in around]):
        given = f"'{block}', which is computed again and again"
        return Refusal("loops that run each iteration of the block once", given, block)
    known = within(state, target)
    for it in target.iters:
        known.bind(it.var, it.extent)
    moving = frozenset(facts(state).ranges)
    return PaddedCopy(target, store, chosen, around[position:], known, moving)


def _exchanged(stmt: Stmt, old: Stmt, new: Stmt) -> Stmt:
    return edit_stmt(stmt, lambda s: new if s is old else s) or new


PRIMITIVES.register(
    "decompose_padding", Primitive("decompose_padding", decompose_padding, output="block")
)
