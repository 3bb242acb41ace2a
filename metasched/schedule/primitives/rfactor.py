"""rfactor: partial results of a reduction, one per iteration of a reduce loop.

The method is that of Suriana, Adams and Kamil, "Parallel associative reductions in Halide" (CGO
2017), with the meaning that TensorIR gives it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from metasched.analysis.access import with_regions
from metasched.analysis.dependence import Scope, conjuncts, direct_blocks, driven
from metasched.ir.expr import (
    Binary,
    BinaryOp,
    Buffer,
    Const,
    Expr,
    Load,
    Var,
    all_of,
    binary,
    const,
    select,
)
from metasched.ir.stmt import Block, For, IterKind, IterVar, Stmt, Store, seq
from metasched.ir.walk import free_vars, map_region, substitute
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.state import State

_IDENTITIES: Final[dict[BinaryOp, int | None]] = {"add": 0, "mul": 1, "max": None, "min": None}
"""What an init must be; repeating the init of a maximum or minimum changes nothing."""


def rfactor(state: State, loop: str, factor_axis: int) -> tuple[State, tuple[str, ...]]:
    """Reduce each iteration of a reduce loop on its own, then reduce the partial results.

    The partial results have the shape of the result with one more dimension for the loop. The
    block that makes them takes over the loops; the original block keeps its name and reduces them.

    Args:
        state: where to apply.
        loop: the reduce loop, which becomes spatial.
        factor_axis: position of the new dimension; negative ones count from the end.

    Returns:
        The block of the partial results, ``<block>_rf``.

    Requires:
        - a nest of loops around one block
        - a reduction block
        - a loop that drives only reduce iterations
        - reduce loops that drive no spatial iteration
        - a predicate over loops that drive iterations
        - a single sum, product, maximum or minimum that starts from its identity
        - a factor_axis among the dimensions of the partial results

    ::

        for i in serial(64):             ->  for i in serial(64):
            for k_0 in serial(4):                for k_0 in serial(4):
                for k_1 in serial(8):                for k_1 in serial(8):
                    c[i] += a[i, k_0 * 8 + k_1]          c_rf[k_0, i] += a[i, k_0 * 8 + k_1]
                                             for i_1 in serial(64):
                                                 for k_0_1 in serial(4):
                                                     c[i_1] += c_rf[k_0_1, i_1]
    """
    outer = state.loop(loop, "rfactor")
    factoring = _check(state, outer, factor_axis)
    if isinstance(factoring, Refusal):
        raise factoring.error(state, "rfactor")
    block, nest = factoring.block, factoring.chain[0]
    (name,) = state.fresh(f"{block.name}_rf")
    shape = factoring.inserted(factoring.store.buffer.shape, outer.extent)
    buffer = Buffer(name, shape, factoring.store.buffer.dtype)
    first = _nest(factoring.chain, factoring.partial_block(state, name, buffer))
    # The second nest must not take names of the first, so it is named beside it.
    second = factoring.final_nest(state.replace(nest, seq(first, nest)), buffer)
    scope = state.scope(nest)
    new = state.replace(nest, seq(first, second))
    changed = new.block(scope.name)
    return new.replace(changed, replace(changed, allocs=(*changed.allocs, buffer))), (name,)


@dataclass(frozen=True, slots=True)
class _Factoring:
    """A reduction block alone in its loops, and the loop to factor."""

    block: Block
    chain: tuple[For, ...]
    loop: For
    axis: int
    store: Store
    op: BinaryOp
    start: Const
    value: Expr

    def inserted(self, items: tuple[Expr, ...], item: Expr) -> tuple[Expr, ...]:
        """Indices or a shape with one more entry at the factored dimension."""
        return (*items[: self.axis], item, *items[self.axis :])

    def partial_block(self, state: State, name: str, buffer: Buffer) -> Block:
        """The block that reduces into ``buffer``; the loops stay as they are."""
        iters, values, factored = self._partial_iters(state)
        at = self.inserted(tuple(substitute(i, values) for i in self.store.indices), factored)
        value = substitute(self.value, values)
        predicate = self.block.predicate
        if self._guards_values(state):
            loops = {it.binding: it.var for it in iters if isinstance(it.binding, Var)}
            inside = [p for p in conjuncts(predicate) if self._reducing(p)]
            outside = [p for p in conjuncts(predicate) if not self._reducing(p)]
            guard = substitute(all_of(inside), loops)
            value, predicate = select(guard, value, self.start), all_of(outside)
        body, init = Store(buffer, at, value), None
        if any(it.kind == "reduce" for it in iters):
            body = Store(buffer, at, binary(self.op, Load(buffer, at), value))
            init = Store(buffer, at, self.start)
        # What was promised of its reads holds in terms of the new iterations, too.
        reads = tuple(map_region(r, lambda e: substitute(e, values)) for r in self.block.reads)
        made = replace(
            self.block, name=name, iters=iters, reads=reads, body=body, init=init,
            predicate=predicate,
        )  # fmt: skip
        return with_regions(made)

    def _partial_iters(self, state: State) -> tuple[tuple[IterVar, ...], dict[Var, Expr], Var]:
        """Iterations of the partial block, the old ones in terms of them, and the factored one.

        Where the factored loop drives a reduce iteration together with other loops, each of those
        loops becomes an iteration of its own.
        """
        apart = self._taken_apart(state)
        loops = [x for x in self.chain if x.var in apart]
        kept = [it for it in self.block.iters if not free_vars(it.binding) & apart]
        bases = [it.var.name for it in kept] + [f"v_{x.var.name}" for x in loops]
        fresh = [Var(name) for name in state.fresh(*bases)]
        values: dict[Var, Expr] = {it.var: var for it, var in zip(kept, fresh, strict=False)}
        own = {x.var: var for x, var in zip(loops, fresh[len(kept) :], strict=True)}
        for it in self.block.iters:
            if it.var not in values:
                values[it.var] = substitute(it.binding, own)
        iters = [
            IterVar(var, it.extent, it.kind, it.binding)
            for it, var in zip(kept, fresh, strict=False)
        ]
        for loop in loops:
            kind: IterKind = "spatial" if loop is self.loop else "reduce"
            iters.append(IterVar(own[loop.var], loop.extent, kind, loop.var))
        return tuple(iters), values, own[self.loop.var]

    def _taken_apart(self, state: State) -> set[Var]:
        """The loops in the reduce bindings that the factored loop or a guard takes part in."""
        apart = {self.loop.var}
        if self._guards_values(state):
            parts = [p for p in conjuncts(self.block.predicate) if self._reducing(p)]
            apart |= free_vars(all_of(parts)) & driven(self.block.iters, "reduce")
        bindings = [free_vars(it.binding) for it in self.block.iters if it.kind == "reduce"]
        while any(b & apart and not b <= apart for b in bindings):
            apart = apart.union(*(b for b in bindings if b & apart))
        return apart

    def _reducing(self, part: Expr) -> bool:
        return bool(free_vars(part) & driven(self.block.iters, "reduce"))

    def _guards_values(self, state: State) -> bool:
        """Whether the predicate fails for a first step, so that it has to guard values instead."""
        reducing = driven(self.block.iters, "reduce") - {self.loop.var}
        known = state.simplifier(self.block)
        start: dict[Var, Expr] = {var: const(0, var.dtype) for var in reducing}
        parts = [p for p in conjuncts(self.block.predicate) if self._reducing(p)]
        return not all(known.can_prove(substitute(p, start)) for p in parts)

    def final_nest(self, state: State, buffer: Buffer) -> Stmt:
        """The nest in which the original block reduces the partial results."""
        spatial = driven(self.block.iters, "spatial")
        kept = [x for x in self.chain if x.var in spatial or x is self.loop]
        names = state.fresh(*(x.var.name for x in kept), f"v_{self.loop.var.name}")
        fresh: dict[Var, Expr] = {
            x.var: Var(name, x.var.dtype) for x, name in zip(kept, names, strict=False)
        }
        loops = [
            replace(x, var=Var(name, x.var.dtype)) for x, name in zip(kept, names, strict=False)
        ]
        factored = Var(names[-1])
        at = self.inserted(self.store.indices, factored)
        iters = [
            replace(it, binding=substitute(it.binding, fresh))
            for it in self.block.iters
            if it.kind == "spatial"
        ]
        iters.append(IterVar(factored, self.loop.extent, "reduce", fresh[self.loop.var]))
        own = Load(self.store.buffer, self.store.indices)
        body = Store(own.buffer, own.indices, binary(self.op, own, Load(buffer, at)))
        parts = [p for p in conjuncts(self.block.predicate) if not self._reducing(p)]
        predicate = all_of([substitute(p, fresh) for p in parts])
        final = replace(self.block, iters=tuple(iters), body=body, predicate=predicate)
        return _nest(loops, with_regions(final))


def _nest(loops: tuple[For, ...] | list[For], body: Stmt) -> Stmt:
    for loop in reversed(loops):
        body = replace(loop, body=body)
    return body


def _check(state: State, loop: For, factor_axis: int) -> _Factoring | Refusal:
    name = loop.var.name
    chain = _chain(state, loop)
    if isinstance(chain, Refusal):
        return chain
    (block,) = direct_blocks(loop)
    reason = Scope.of(state.scope(block)).why_not_reduction(block)
    if reason is not None:
        return Refusal("a reduction block", reason, block.name)
    reducing, spatial = driven(block.iters, "reduce"), driven(block.iters, "spatial")
    if loop.var not in reducing or loop.var in spatial:
        drives = "spatial iterations" if loop.var in spatial else "no iteration"
        rule = "a loop that drives only reduce iterations"
        return Refusal(rule, f"'{name}', which drives {drives}", name)
    if mixed := [v.name for v in sorted(reducing & spatial, key=lambda v: v.name)]:
        rule = "reduce loops that drive no spatial iteration"
        return Refusal(rule, f"'{mixed[0]}', which drives both", mixed[0])
    around = {x.var for x in chain} - reducing - spatial
    if repeating := sorted(free_vars(block.predicate) & around, key=lambda v: v.name):
        given = f"'{repeating[0].name}' in {block.predicate}"
        return Refusal("a predicate over loops that drive iterations", given, block.name)
    combiner = _combiner(block)
    if combiner is None:
        rule = "a single sum, product, maximum or minimum that starts from its identity"
        return Refusal(rule, f"{block.body}", block.name)
    store, op, start, value = combiner
    count = len(store.indices) + 1
    if not -count <= factor_axis < count:
        rule = "a factor_axis among the dimensions of the partial results"
        return Refusal(rule, f"{factor_axis} of {count}", block.name)
    return _Factoring(block, chain, loop, factor_axis % count, store, op, start, value)


def _chain(state: State, loop: For) -> tuple[For, ...] | Refusal:
    """The loops from the outermost around a loop down to the one block in them."""
    node: Stmt = next(iter(state.loops_above(loop)), loop)
    chain: list[For] = []
    while isinstance(node, For):
        chain.append(node)
        node = node.body
    if isinstance(node, Block) and any(x is loop for x in chain):
        return tuple(chain)
    inside = " and ".join(f"'{b.name}'" for b in direct_blocks(chain[0]))
    hint = "use rfactor before moving blocks"
    return Refusal("a nest of loops around one block", f"{inside}", loop.var.name, hint)


def _combiner(block: Block) -> tuple[Store, BinaryOp, Const, Expr] | None:
    """The store, the operation, its start and the further value of a block that reduces."""
    store, init = block.body, block.init
    if not isinstance(store, Store) or not isinstance(init, Store):
        return None
    value, start = store.value, init.value
    if not isinstance(value, Binary) or not isinstance(start, Const):
        return None
    own = Load(store.buffer, store.indices)
    other = value.b if value.a == own else value.a if value.b == own else None
    if other is None or value.op not in _IDENTITIES or not _is_identity(value.op, start):
        return None
    if any(own.buffer == r.buffer for r in block.reads) or init.indices != store.indices:
        return None
    return store, value.op, start, other


def _is_identity(op: BinaryOp, start: Const) -> bool:
    identity = _IDENTITIES[op]
    return identity is None or start.value == identity


PRIMITIVES.register("rfactor", Primitive("rfactor", rfactor, output="block"))
