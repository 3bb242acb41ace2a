"""Reductions into one or two places, computed as several partial results.

A sum into one place waits for each addition before the next one begins. Four partial results,
combined at the end, hide that latency. Over consecutive elements (`vector_reduction`) the partial
results are also vectors, which are folded at the end. The order of a float sum changes, as with
any blocked sum; its error bound gets smaller. `vectorize` and `tiles` call this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from metasched.ir.expr import Binary, Buffer, Expr, Load, Ramp, Var, binary, const, int_value
from metasched.ir.stmt import Alloc, For, Seq, Stmt, Store, seq
from metasched.ir.walk import expr_loads, substitute
from metasched.lower.affine import int_coefficient, mentions
from metasched.lower.lanes import Lanes
from metasched.lower.scope import Scope

_PARTIAL_RESULTS: Final = 4
_LEAST_LANES: Final = 8
"""Fewer elements are added faster one by one than folded."""

_LEAST_STEPS: Final = 16
"""Shorter chains gain less from partial results than combining them costs."""

_OPERATIONS: Final = frozenset({"add", "mul", "min", "max"})


@dataclass(frozen=True, slots=True)
class _Update:
    """``store`` combines its place with ``term``."""

    store: Store
    term: Expr

    def combine(self, a: Expr, b: Expr) -> Expr:
        assert isinstance(self.store.value, Binary)
        return binary(self.store.value.op, a, b)

    @property
    def place(self) -> Load:
        return Load(self.store.buffer, self.store.indices)


def vector_reduction(loop: For, scope: Scope) -> Stmt | None:
    """A serial loop that reduces consecutive elements on vectors, None for other loops."""
    extent = int_value(loop.extent)
    if not isinstance(loop.body, Store) or extent is None or loop.kind != "serial":
        return None
    update = _update(loop.body, loop.var)
    if update is None or not _is_consecutive(update.term, loop.var):
        return None
    loaded = expr_loads(update.term)
    widest = max(b.dtype.bits for b in (loop.body.buffer, *(x.buffer for x in loaded)))
    lanes = scope.target.vector_bits // widest
    while lanes > extent:
        lanes //= 2
    if lanes < _LEAST_LANES:
        return None
    return _Reduction(loop.var, (update,), lanes, scope).build(extent)


def partial_reduction(loop: For, scope: Scope) -> Stmt | None:
    """A long reduction into one or two places by partial results, None for other loops."""
    extent = int_value(loop.extent)
    body = loop.body.stmts if isinstance(loop.body, Seq) else (loop.body,)
    if extent is None or extent < _LEAST_STEPS or 2 * len(body) > _PARTIAL_RESULTS:
        return None
    found = [_update(s, loop.var) for s in body if isinstance(s, Store)]
    updates = tuple(u for u in found if u is not None)
    written = {u.store.buffer for u in updates}
    if len(updates) != len(body) or any(
        load.buffer in written for u in updates for load in expr_loads(u.term)
    ):
        return None
    return _Reduction(loop.var, updates, 1, scope).build(extent)


def _update(store: Store, var: Var) -> _Update | None:
    """What each step adds (or multiplies, or compares) to a fixed place in memory."""
    value = store.value
    if not isinstance(value, Binary) or value.op not in _OPERATIONS:
        return None
    if store.buffer.scope == "register" or mentions(store.indices[0], var):
        return None
    own = Load(store.buffer, store.indices)
    term = value.b if value.a == own else value.a if value.b == own else None
    if term is None or not mentions(term, var):
        return None
    regular = all(load.buffer != store.buffer for load in expr_loads(term))
    return _Update(store, term) if regular else None


def _is_consecutive(term: Expr, var: Var) -> bool:
    steps = [int_coefficient(load.indices[0], var) for load in expr_loads(term)]
    return 1 in steps and all(step in (0, 1) for step in steps)


@dataclass(frozen=True, slots=True)
class _Reduction:
    """Updates for all steps of ``var``, ``lanes`` steps at a time."""

    var: Var
    updates: tuple[_Update, ...]
    lanes: int
    scope: Scope

    def build(self, extent: int) -> Stmt:
        count = min(_PARTIAL_RESULTS // len(self.updates), extent // self.lanes)
        step = count * self.lanes
        partial = [[self.register(u) for _ in range(count)] for u in self.updates]
        parts: list[Stmt] = [
            Store(p, (), self.terms(u, const(n * self.lanes)))
            for u, row in zip(self.updates, partial, strict=True)
            for n, p in enumerate(row)
        ]
        rounds = extent // step
        if rounds == 2:
            parts.append(self.round(partial, const(step)))
        elif rounds > 2:
            var = self.scope.fresh_var(f"{self.var.name}_v", const(rounds - 1))
            parts.append(For(var, const(rounds - 1), self.round(partial, (var + 1) * step)))
        rest = (extent - rounds * step) // self.lanes
        if rest:
            parts.append(self.round([row[:rest] for row in partial], const(rounds * step)))
        done = rounds * step + rest * self.lanes
        for update, row in zip(self.updates, partial, strict=True):
            parts += self.finish(update, row)
            parts += self.tail(update, done, extent)
        result: Stmt = seq(*parts)
        for p in reversed([p for row in partial for p in row]):
            result = Alloc(p, result)
        return result

    def register(self, update: _Update) -> Buffer:
        dtype = update.place.dtype
        wide = dtype if self.lanes == 1 else dtype.with_lanes(self.lanes)
        return self.scope.fresh_register(f"{update.store.buffer.name}_p", wide)

    def terms(self, update: _Update, base: Expr) -> Expr:
        """The terms of ``lanes`` consecutive steps."""
        start = self.scope.simplify(base)
        if self.lanes == 1:
            return self.scope.simplify(substitute(update.term, {self.var: start}))
        return Lanes(self.scope, self.var, start, self.lanes).wide(update.term)

    def round(self, partial: list[list[Buffer]], base: Expr) -> Stmt:
        """One step more for each partial result."""
        return seq(
            *(
                Store(p, (), u.combine(Load(p, ()), self.terms(u, base + n * self.lanes)))
                for u, row in zip(self.updates, partial, strict=True)
                for n, p in enumerate(row)
            )
        )

    def finish(self, update: _Update, row: list[Buffer]) -> list[Stmt]:
        """Combine the partial results in pairs, then with the place."""
        parts: list[Stmt] = []
        while len(row) > 1:
            half = (len(row) + 1) // 2
            for a, b in zip(row, row[half:], strict=False):
                parts.append(Store(a, (), update.combine(Load(a, ()), Load(b, ()))))
            row = row[:half]
        if self.lanes > 1:
            return [*parts, self.fold(update, row[0])]
        return [*parts, self.into_place(update, Load(row[0], ()))]

    def into_place(self, update: _Update, value: Expr) -> Store:
        return Store(update.store.buffer, update.store.indices, update.combine(update.place, value))

    def fold(self, update: _Update, vector: Buffer) -> Stmt:
        """Fold the lanes in halves through a small array, then into the place."""
        name = self.scope.fresh_name(f"{update.store.buffer.name}_lanes")
        array = Buffer(name, (const(self.lanes),), update.store.buffer.dtype, "local")
        whole = Ramp(const(0), const(1), self.lanes)
        parts: list[Stmt] = [Store(array, (whole,), Load(vector, ()))]
        half = self.lanes // 2
        while half > 1:
            low, high = (Ramp(const(b), const(1), half) for b in (0, half))
            folded = update.combine(Load(array, (low,)), Load(array, (high,)))
            parts.append(Store(array, (low,), folded))
            half //= 2
        pair = update.combine(Load(array, (const(0),)), Load(array, (const(1),)))
        return Alloc(array, seq(*parts, self.into_place(update, pair)))

    def tail(self, update: _Update, start: int, extent: int) -> list[Stmt]:
        """The steps that fill no vector, one by one."""
        if start == extent:
            return []
        count = const(extent - start)
        var = self.scope.fresh_var(f"{self.var.name}_t", count)
        moved = self.scope.simplify(substitute(update.term, {self.var: var + start}))
        return [For(var, count, self.into_place(update, moved))]
