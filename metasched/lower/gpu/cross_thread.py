"""Reductions that the threads of a block share: each thread its part, then all parts together.

Before blocks are lowered, a reduction with a reduce loop on ``threadIdx`` is rewritten: each
thread reduces what falls to it into a place of its own; behind the outermost reduce loop the parts
are combined, and every thread has the result. `combine_threads`, later, says how: by exchanging
registers within warps where the target can, else by a tree in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from metasched.errors import CodegenError
from metasched.ir.expr import (
    Binary,
    Buffer,
    Const,
    Expr,
    Load,
    Select,
    Var,
    all_of,
    binary,
    int_value,
)
from metasched.ir.stmt import Block, For, Seq, Stmt, Store, seq
from metasched.ir.threads import is_thread
from metasched.ir.walk import (
    expr_loads,
    free_vars,
    map_expr,
    map_stmts,
    replace_buffers,
    substitute,
)
from metasched.lower.guards import conjuncts
from metasched.lower.scope import Scope

Values: TypeAlias = Sequence[Expr]
Combine: TypeAlias = Callable[[Values, Values], list[Expr]]

_IDENTITIES: Final[Mapping[str, int | None]] = {"add": 0, "mul": 1, "max": None, "min": None}
"""What a reduction has to start from; a repeated start changes no maximum or minimum."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A reduction that threads share.

    Args:
        axes: the thread axes of its bound reduce loops.
        parts: names of the places of one thread, one for each value that is reduced.
        combine: the values of two parts together.
    """

    axes: frozenset[str]
    parts: tuple[str, ...]
    combine: Combine


def share_reductions(nest: Stmt, scope: Scope) -> tuple[Stmt, list[Shared]]:
    """Rewrite the reductions of a nest that are bound to threads.

    Raises:
        CodegenError: it is not known how to combine the parts.
    """
    sharing = _Sharing(scope, [], {}, [])
    return sharing.visit(nest), sharing.found


@dataclass(frozen=True, slots=True)
class _Sharing:
    scope: Scope
    loops: list[For]
    around: dict[Var, tuple[Stmt, Stmt]]
    """By a reduction's outermost reduce loop: what goes before it and what behind."""
    found: list[Shared]

    def visit(self, stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                self.loops.append(stmt)
                body = self.visit(stmt.body)
                self.loops.pop()
                loop = stmt if body is stmt.body else replace(stmt, body=body)
                if (beside := self.around.pop(stmt.var, None)) is not None:
                    return seq(beside[0], loop, beside[1])
                return loop
            case Block() if axes := self.bound(stmt):
                return self.shared(stmt, axes)
            case Block():
                # Inner blocks see the iterations of this one, not its loops.
                inside = _Sharing(self.scope, [], {}, self.found)
                return map_stmts(stmt, inside.visit)
            case _:
                return map_stmts(stmt, self.visit)

    def reducing(self, block: Block) -> list[For]:
        used = {v for it in block.iters if it.kind == "reduce" for v in free_vars(it.binding)}
        return [loop for loop in self.loops if loop.var in used]

    def bound(self, block: Block) -> frozenset[str]:
        """The axes of the reduce loops that are threads."""
        return frozenset(
            loop.thread or ""
            for loop in self.reducing(block)
            if is_thread(loop) and int_value(loop.extent) != 1
        )

    def shared(self, block: Block, axes: frozenset[str]) -> Stmt:
        reduction = _reduction(block)
        if isinstance(reduction, str):
            raise CodegenError(
                f"block '{block.name}' reduces over {', '.join(sorted(axes))}, {reduction}; use "
                "rfactor, and bind the loop of the partial results"
            )
        stores, combine = reduction
        parts: dict[Buffer, Buffer] = {}
        for store in stores:
            name = self.scope.fresh_name(f"{store.buffer.name}_part")
            parts[store.buffer] = Buffer(name, store.buffer.shape, store.buffer.dtype, "local")
        outer = self.reducing(block)[0]
        inner = self.loops[self.loops.index(outer) :]
        spatial = [loop for loop in inner if loop not in self.reducing(block)]
        names = tuple(parts[s.buffer].name for s in stores)
        self.found.append(Shared(axes, names, combine))
        before, behind = self.around.get(outer.var, (Seq(()), Seq(())))
        self.around[outer.var] = (
            seq(before, self.start(block, parts, spatial)),
            seq(behind, self.finish(block, stores, parts, spatial)),
        )
        return replace(block, init=None, body=replace_buffers(block.body, parts))

    def start(self, block: Block, parts: Mapping[Buffer, Buffer], spatial: list[For]) -> Stmt:
        """Each thread's places at the start."""
        assert block.init is not None
        return self.beside(block, "start", replace_buffers(block.init, parts), spatial)

    def finish(
        self,
        block: Block,
        stores: Sequence[Store],
        parts: Mapping[Buffer, Buffer],
        spatial: list[For],
    ) -> Stmt:
        """The results from the parts; `combine_threads` fills in how."""
        results = [Store(s.buffer, s.indices, Load(parts[s.buffer], s.indices)) for s in stores]
        return self.beside(block, "all", seq(*results), spatial)

    def beside(self, block: Block, what: str, body: Stmt, spatial: list[For]) -> Stmt:
        """A block over copies of spatial loops, where the reduction's elements exist."""
        reducing = {loop.var for loop in self.reducing(block)}
        terms = [c for c in conjuncts(block.predicate) if not free_vars(c) & reducing]
        values: dict[Var, Expr] = {}
        loops: list[For] = []
        for loop in spatial:
            var = Var(self.scope.fresh_name(f"{loop.var.name}_{what}"), loop.var.dtype)
            values[loop.var] = var
            loops.append(replace(loop, var=var))
        iters = tuple(
            replace(it, binding=substitute(it.binding, values))
            for it in block.iters
            if it.kind != "reduce"
        )
        predicate = substitute(all_of(terms), values)
        changed: Stmt = Block(f"{block.name}_{what}", iters, (), (), body, predicate=predicate)
        for loop in reversed(loops):
            changed = replace(loop, body=changed)
        return changed


def _reduction(block: Block) -> tuple[tuple[Store, ...], Combine] | str:
    """The stores of a reduction and how to combine parts, or why that is not known."""
    if block.init is None:
        return "but its init is a block of its own"
    body = block.body.stmts if isinstance(block.body, Seq) else (block.body,)
    stores = tuple(s for s in body if isinstance(s, Store))
    if len(stores) == len(body) == 1:
        single = _single(stores[0], block.init)
        return (stores, single) if single else "which is no sum, product, maximum or minimum of it"
    if len(stores) == len(body) == 2:
        for order in (stores, stores[::-1]):
            if (pair := _argument(*order)) is not None:
                return order, pair
    return "but stores more than one value"


def _single(store: Store, init: Stmt) -> Combine | None:
    value, own = store.value, Load(store.buffer, store.indices)
    if not isinstance(value, Binary) or value.op not in _IDENTITIES or not isinstance(init, Store):
        return None
    term = value.b if value.a == own else value.a if value.b == own else None
    identity = _IDENTITIES[value.op]
    starts = isinstance(init.value, Const) and identity in (None, init.value.value)
    if term is None or not starts or any(x.buffer == store.buffer for x in expr_loads(term)):
        return None
    op = value.op
    return lambda a, b: [binary(op, a[0], b[0])]


def _argument(index: Store, best: Store) -> Combine | None:
    """The combination of (position, value) pairs, read off the step that adds one value."""
    own_index, own_best = Load(index.buffer, index.indices), Load(best.buffer, best.indices)
    value, choice = best.value, index.value
    if not isinstance(value, Binary) or value.op not in ("min", "max"):
        return None
    term = value.b if value.a == own_best else value.a if value.b == own_best else None
    if term is None or not isinstance(choice, Select) or choice.other != own_index:
        return None
    position, op = choice.then, value.op

    def combine(a: Values, b: Values) -> list[Expr]:
        values = {term: b[1], position: b[0], own_index: a[0], own_best: a[1]}
        return [_replaced(choice, values), binary(op, a[1], b[1])]

    return combine


def _replaced(expr: Expr, values: Mapping[Expr, Expr]) -> Expr:
    found = values.get(expr)
    return map_expr(expr, lambda e: _replaced(e, values)) if found is None else found
