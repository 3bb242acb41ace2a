"""fuse_reduction_epilogue: what follows a reduction, applied by the reduction itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from metasched.analysis.access import simplify_indices, single_store, with_regions
from metasched.analysis.dependence import Scope, domain_guards, driven
from metasched.analysis.facts import Facts
from metasched.ir.expr import (
    Binary,
    Buffer,
    Const,
    Expr,
    Load,
    Var,
    add,
    all_of,
    const,
    equal,
    int_value,
    select,
    sub,
)
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, Stmt, Store
from metasched.ir.walk import expr_loads, map_expr, substitute, walk_expr
from metasched.schedule.primitives.placement import Placed, Refusal, facts, unfinished
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State


def fuse_reduction_epilogue(
    state: State, reduction_block: str, epilogue_block: str
) -> tuple[State, tuple[str, ...]]:
    """Let a reduction apply the elementwise formula that follows it, and drop the epilogue.

    A bias added to a sum becomes what the sum starts from, so ``c + bias`` costs nothing. Anything
    else, such as a ReLU or clipping, is applied at the last step of the reduction: always to the
    finished result, never to a partial one. The reduction keeps its name; it reduces into the
    buffer that the epilogue wrote. Where it applies a formula at its last step, its reduce loops
    keep their order from then on.

    Args:
        state: where to apply.
        reduction_block: the reduction.
        epilogue_block: its only consumer.

    Requires:
        - a reduction block
        - a complete block as epilogue
        - a single store in both blocks
        - blocks without conditions
        - an epilogue that reads the result of the reduction
        - a result that only the epilogue reads
        - an epilogue that takes the elements of the result one by one
        - results of one dtype
        - a reduction that runs each iteration once and has finished what the epilogue reads
        - other operands of the epilogue that are finished before the reduction

    ::

        for i, k in grid(64, 32):        ->  for i, k in grid(64, 32):
            with init():                         with init():
                c[i] = 0                             d[i] = bias[i]
            c[i] = c[i] + a[i, k]                s = d[i] + a[i, k]
        for i in serial(64):                     d[i] = if_then_else(k == 31, max(s, 0), s)
            d[i] = max(c[i] + bias[i], 0)
    """
    reduction = state.block(reduction_block, "fuse_reduction_epilogue")
    epilogue = state.block(epilogue_block, "fuse_reduction_epilogue")
    scope = Scope.of(state.scope(reduction))
    fusion = _check(state, scope, reduction, epilogue)
    if isinstance(fusion, Refusal):
        raise fusion.error(state, "fuse_reduction_epilogue")
    merged = fusion.merged

    def change(node: Stmt) -> Stmt | None:
        if not isinstance(node, Block):
            return node
        if node.name == epilogue_block:
            return None
        if node.name == reduction_block:
            return merged
        if node.name == scope.root.name:
            return replace(node, allocs=tuple(b for b in node.allocs if b != fusion.made.buffer))
        return node

    new = state.edit(change)
    gone = state.tree.loops.keys() - new.tree.loops.keys()
    return new.without("fuse_reduction_epilogue", epilogue_block, *gone), ()


@dataclass(frozen=True)
class _Fusion:
    """A reduction, and the store of its epilogue in terms of the reduction's iterations."""

    block: Block
    start: Store
    made: Store
    stored: Store

    @cached_property
    def result(self) -> Load:
        """The result of the reduction, where the epilogue reads it."""
        return Load(self.made.buffer, self.made.indices)

    @cached_property
    def own(self) -> Load:
        """What the merged block reduces into."""
        return Load(self.stored.buffer, self.stored.indices)

    @cached_property
    def merged(self) -> Block:
        """The reduction that applies the epilogue."""
        start, formula = self.start.value, self.stored.value
        update = _exchanged(self.made.value, self.result, self.own)
        if (bias := self._bias()) is not None:
            formula = _exchanged(formula, bias, self.result)
            rest = bias.b if bias.a == self.result else bias.a
            zero = isinstance(start, Const) and start.value == 0
            start = rest if zero else add(start, rest)
        if formula != self.result:
            update = select(self._last(), _exchanged(formula, self.result, update), update)
        known = Simplifier({it.var: it.extent for it in self.block.iters}, keep_units=True)
        at = tuple(known(i) for i in self.stored.indices)
        body = Store(self.stored.buffer, at, simplify_indices(update, known))
        init = Store(self.stored.buffer, at, simplify_indices(start, known))
        return with_regions(replace(self.block, body=body, init=init))

    def _bias(self) -> Binary | None:
        """``result + rest`` where a sum may start from the rest, and nothing else is read of it."""
        value = self.made.value
        if not isinstance(value, Binary) or value.op != "add":
            return None
        accumulated = [e for e in (value.a, value.b) if e == self.result]
        if len(accumulated) != 1 or len(_found(value, self.result)) != 1:
            return None
        sums = {s for s in _sums(self.stored.value) if self.result in (s.a, s.b)}
        if len(sums) != 1:
            return None
        (bias,) = sums
        hidden = _exchanged(self.stored.value, bias, const(0, bias.dtype))
        return None if _found(hidden, self.result) or bias.a == bias.b else bias

    def _last(self) -> Expr:
        """Whether a step is the last one."""
        reduced = [it for it in self.block.iters if it.kind == "reduce"]
        return all_of(
            [equal(it.var, sub(it.extent, 1)) for it in reduced if not _is_one(it.extent)]
        )


def _is_one(extent: Expr) -> bool:
    return int_value(extent) == 1


def _found(expr: Expr, wanted: Load) -> list[Load]:
    return [load for load in expr_loads(expr) if load == wanted]


def _sums(expr: Expr) -> list[Binary]:
    return [e for e in walk_expr(expr) if isinstance(e, Binary) and e.op == "add"]


def _exchanged(expr: Expr, old: Expr, new: Expr) -> Expr:
    """An expression with a part exchanged."""

    def visit(node: Expr) -> Expr:
        if node == old:
            return new
        return node if type(node) is Var else map_expr(node, visit)

    return visit(expr)


def _check(state: State, scope: Scope, reduction: Block, epilogue: Block) -> _Fusion | Refusal:
    if (reason := scope.why_not_reduction(reduction)) is not None:
        return Refusal("a reduction block", reason, reduction.name)
    if state.scope(epilogue) is not scope.root:
        given = f"'{epilogue.name}' in block '{state.scope(epilogue).name}'"
        return Refusal("a complete block as epilogue", given, epilogue.name)
    reason = scope.why_not_complete(epilogue) or scope.why_not_steady(epilogue)
    if reason is not None:
        return Refusal("a complete block as epilogue", reason, epilogue.name)
    made, stored = single_store(reduction), single_store(epilogue)
    start = reduction.init
    if made is None or stored is None or not isinstance(start, Store):
        return Refusal("a single store in both blocks", "several statements", reduction.name)
    for block in (reduction, epilogue):
        if conditions := domain_guards(block)[1]:
            return Refusal("blocks without conditions", f"{conditions[0]}", block.name)
    if (wrong := _why_not_result(scope, epilogue, made)) is not None:
        return wrong
    values = _one_by_one(reduction, made, start, epilogue, stored)
    if isinstance(values, Refusal):
        return values
    if made.buffer.dtype != stored.buffer.dtype:
        given = f"{made.buffer.dtype} and {stored.buffer.dtype}"
        return Refusal("results of one dtype", given, epilogue.name)
    at = tuple(substitute(i, values) for i in stored.indices)
    fusion = _Fusion(
        reduction, start, made, Store(stored.buffer, at, substitute(stored.value, values))
    )
    return _why_not_now(state, scope, reduction, epilogue, fusion) or fusion


def _why_not_result(scope: Scope, epilogue: Block, made: Store) -> Refusal | None:
    readers = [b.name for b in scope.readers(made.buffer)]
    if epilogue.name not in readers:
        given = f"'{epilogue.name}', which does not read '{made.buffer.name}'"
        rule = "an epilogue that reads the result of the reduction"
        return Refusal(rule, given, epilogue.name)
    others = [name for name in readers if name != epilogue.name]
    if others or made.buffer not in scope.root.allocs:
        given = (
            f"'{others[0]}', which reads it too" if others else f"the output '{made.buffer.name}'"
        )
        return Refusal("a result that only the epilogue reads", given, epilogue.name)
    return None


def _one_by_one(
    reduction: Block, made: Store, start: Store, epilogue: Block, stored: Store
) -> Mapping[Var, Expr] | Refusal:
    """The iterations of the epilogue in those of the reduction."""
    rule = "an epilogue that takes the elements of the result one by one"
    places = {i.indices for i in expr_loads(stored.value) if i.buffer == made.buffer}
    extents = {it.var: it.extent for it in epilogue.iters}
    spatial = {it.var: it.extent for it in reduction.iters if it.kind == "spatial"}
    read = next(iter(places))
    pairs = list(zip(read, made.indices, strict=True))
    plain = (
        len(places) == 1
        and start.indices == made.indices
        and all(isinstance(i, Var) and i in extents for i in read)
        and all(isinstance(i, Var) and i in spatial for i in made.indices)
        and len(set(read)) == len(set(made.indices)) == len(read)
        and all(extents[a] == spatial[b] for a, b in pairs)  # type: ignore[index]
        and all(_is_one(extents[v]) for v in extents.keys() - set(read))
        and all(_is_one(spatial[v]) for v in spatial.keys() - set(made.indices))
        and Facts(extents).is_one_to_one(stored.indices, [v for v in extents if v in set(read)])
    )
    if not plain:
        given = f"{made.buffer.name}[{', '.join(map(str, read))}] read for '{stored.buffer.name}'"
        return Refusal(rule, given, epilogue.name)
    values: dict[Var, Expr] = {v: const(0, v.dtype) for v in extents}
    values.update((a, b) for a, b in pairs if isinstance(a, Var))
    return values


def _why_not_now(
    state: State, scope: Scope, reduction: Block, epilogue: Block, fusion: _Fusion
) -> Refusal | None:
    """Why the epilogue cannot be applied where the reduction stands, or None."""
    rule = "a reduction that runs each iteration once and has finished what the epilogue reads"
    known, there = facts(state), Placed.of(state, reduction)
    if reason := unfinished(known, there, Placed.of(state, epilogue)):
        return Refusal(rule, reason, epilogue.name)
    if not known.is_one_to_one(there.bindings.values(), there.loops):
        given = f"'{reduction.name}', which is computed again and again"
        return Refusal(rule, given, reduction.name)
    merged = replace(there, block=fusion.merged)
    order = [b.name for b in scope.blocks]
    reducing = driven(reduction.iters, "reduce")
    rule = "other operands of the epilogue that are finished before the reduction"
    for buffer in _operands(epilogue, fusion.made.buffer):
        for writer in scope.writers(buffer):
            place = Placed.of(state, writer)
            late = order.index(writer.name) > order.index(reduction.name)
            inside = set(place.loops) & set(there.loops) & reducing
            reason = f"'{writer.name}' behind it" if late else None
            if inside:
                reason = f"'{writer.name}' inside its reduce loops"
            if reason := reason or unfinished(known, place, merged):
                return Refusal(rule, reason, writer.name)
    return None


def _operands(epilogue: Block, result: Buffer) -> list[Buffer]:
    return [r.buffer for r in epilogue.reads if r.buffer != result]


PRIMITIVES.register(
    "fuse_reduction_epilogue", Primitive("fuse_reduction_epilogue", fuse_reduction_epilogue)
)
