"""Sums and extrema over consecutive elements, computed in several vectors at once.

The innermost loop of a row-wise reduction fills up to four vectors of partial results, which hides
the latency of the operation; they are combined at the end. The order of a float sum changes, as
with any blocked sum; its error bound gets smaller. `vectorize` calls this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from metasched.ir.expr import Binary, Buffer, Expr, Load, Ramp, Var, binary, const, int_value
from metasched.ir.stmt import Alloc, For, Stmt, Store, seq
from metasched.ir.walk import expr_loads, substitute
from metasched.lower.affine import int_coefficient, mentions
from metasched.lower.lanes import Lanes
from metasched.lower.scope import Scope

_PARTIAL_VECTORS: Final = 4
_OPERATIONS: Final = frozenset({"add", "mul", "min", "max"})


def vector_reduction(loop: For, scope: Scope) -> Stmt | None:
    """The reduction loop on vectors, or None where the loop is none or too short."""
    store, extent = loop.body, int_value(loop.extent)
    if not isinstance(store, Store) or extent is None or loop.kind != "serial":
        return None
    term = _term(store, loop.var)
    if term is None:
        return None
    widest = max(b.dtype.bits for b in (store.buffer, *(x.buffer for x in expr_loads(term))))
    lanes = scope.target.vector_bits // widest
    if lanes < 2 or extent < 2 * lanes:
        return None
    return _Reduction(loop, store, term, lanes, scope).build(extent)


def _term(store: Store, var: Var) -> Expr | None:
    """What each step adds (or multiplies, or compares) to a fixed place."""
    value = store.value
    if not isinstance(value, Binary) or value.op not in _OPERATIONS:
        return None
    if store.buffer.scope == "register" or mentions(store.indices[0], var):
        return None
    own = Load(store.buffer, store.indices)
    term = value.b if value.a == own else value.a if value.b == own else None
    if term is None or not mentions(term, var):
        return None
    loaded = expr_loads(term)
    regular = all(
        x.buffer != store.buffer and int_coefficient(x.indices[0], var) in (0, 1) for x in loaded
    )
    consecutive = any(int_coefficient(x.indices[0], var) == 1 for x in loaded)
    return term if regular and consecutive else None


@dataclass(frozen=True, slots=True)
class _Reduction:
    loop: For
    store: Store
    term: Expr
    lanes: int
    scope: Scope

    def combine(self, a: Expr, b: Expr) -> Expr:
        assert isinstance(self.store.value, Binary)
        return binary(self.store.value.op, a, b)

    def at(self, base: Expr) -> Expr:
        """The terms of ``lanes`` consecutive steps."""
        lanes = Lanes(self.scope, self.loop.var, self.scope.simplify(base), self.lanes)
        return lanes.wide(self.term)

    def build(self, extent: int) -> Stmt:
        vectors = min(_PARTIAL_VECTORS, extent // self.lanes)
        step = vectors * self.lanes
        dtype = self.store.buffer.dtype.with_lanes(self.lanes)
        partial = [
            self.scope.fresh_register(f"{self.store.buffer.name}_p", dtype) for _ in range(vectors)
        ]
        parts: list[Stmt] = [
            Store(p, (), self.at(const(n * self.lanes))) for n, p in enumerate(partial)
        ]
        rounds = extent // step
        if rounds == 2:
            parts.append(self.updates(partial, const(step)))
        elif rounds > 2:
            var = self.scope.fresh_var(f"{self.loop.var.name}_v", const(rounds - 1))
            parts.append(For(var, const(rounds - 1), self.updates(partial, (var + 1) * step)))
        rest = (extent - rounds * step) // self.lanes
        if rest:
            parts.append(self.updates(partial[:rest], const(rounds * step)))
        parts += [Store(partial[0], (), self.both(partial[0], p)) for p in partial[1:]]
        done = rounds * step + rest * self.lanes
        result: Stmt = seq(*parts, self.collect(partial[0]), *self.tail(done, extent))
        for p in reversed(partial):
            result = Alloc(p, result)
        return result

    def both(self, a: Buffer, b: Buffer) -> Expr:
        return self.combine(Load(a, ()), Load(b, ()))

    def updates(self, partial: list[Buffer], base: Expr) -> Stmt:
        """One vector more for each partial result."""
        return seq(
            *(
                Store(p, (), self.combine(Load(p, ()), self.at(base + n * self.lanes)))
                for n, p in enumerate(partial)
            )
        )

    def collect(self, vector: Buffer) -> Stmt:
        """Fold the lanes in halves through a small array, then into the place."""
        scalar = self.store.buffer.dtype
        name = self.scope.fresh_name(f"{self.store.buffer.name}_lanes")
        array = Buffer(name, (const(self.lanes),), scalar, "local")
        whole = Ramp(const(0), const(1), self.lanes)
        parts: list[Stmt] = [Store(array, (whole,), Load(vector, ()))]
        half = self.lanes // 2
        while half > 1:
            low, high = (Ramp(const(b), const(1), half) for b in (0, half))
            folded = self.combine(Load(array, (low,)), Load(array, (high,)))
            parts.append(Store(array, (low,), folded))
            half //= 2
        pair = self.combine(Load(array, (const(0),)), Load(array, (const(1),)))
        own = Load(self.store.buffer, self.store.indices)
        parts.append(Store(self.store.buffer, self.store.indices, self.combine(own, pair)))
        return Alloc(array, seq(*parts))

    def tail(self, start: int, extent: int) -> list[Stmt]:
        """The steps that fill no vector, one by one."""
        if start == extent:
            return []
        count = const(extent - start)
        var = self.scope.fresh_var(f"{self.loop.var.name}_t", count)
        value = self.scope.simplify(substitute(self.store.value, {self.loop.var: var + start}))
        return [For(var, count, Store(self.store.buffer, self.store.indices, value))]
