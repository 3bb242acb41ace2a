"""Fused loops by their digits: ``f // 4`` and ``f % 4`` seen as two loops that determine ``f``.

`metasched.analysis.facts` asks with it whether indices meet each value once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from metasched.ir.expr import Binary, Expr, Var, const
from metasched.ir.simplify import Simplifier, product
from metasched.ir.walk import free_vars, map_expr


class FusedDigits:
    """Quotients and remainders of fused loops, taken for digits: loops of their own.

    Args:
        simplify: the ranges of the loops.
        inner: the loops that run; what does not depend on them stays.
    """

    def __init__(self, simplify: Simplifier, inner: Collection[Var]) -> None:
        self._simplify = simplify
        self._inner = set(inner)
        self._digits: dict[Expr, Var] = {}
        self._spans: dict[Expr, list[tuple[Expr, Expr | None]]] = {}
        self.extents: dict[Var, Expr] = {}

    @property
    def bases(self) -> tuple[Expr, ...]:
        """The expressions that the digits belong to."""
        return tuple(self._spans)

    def visit(self, expr: Expr) -> Expr:
        """``expr`` with digits exchanged for variables."""
        if not isinstance(expr, Binary) or not free_vars(expr) & self._inner:
            return expr
        match expr:
            case Binary(op="floormod", a=Binary(op="floordiv", a=base, b=low), b=size):
                return self._digit(expr, base, low, size)
            case Binary(op="floormod", a=base, b=size):
                return self._digit(expr, base, const(1, base.dtype), size)
            case Binary(op="floordiv", a=base, b=low):
                return self._digit(expr, base, low, None)
            case _:
                return map_expr(expr, self.visit)

    def _digit(self, expr: Expr, base: Expr, low: Expr, size: Expr | None) -> Expr:
        found = self._digits.get(expr)
        if found is None:
            found = self._digits[expr] = Var(f"digit {len(self._digits)}", expr.dtype)
            top = self._simplify.upper(base) // low + 1 if size is None else size
            self.extents[found] = self._simplify(top)
            high = None if size is None else product([low, size])
            self._spans.setdefault(base, []).append((low, high))
        return found

    def are_complete(self, nonneg: Callable[[Expr], bool]) -> bool:
        """Whether the digits of each base determine it; ``nonneg`` proves ``expr >= 0``."""
        return all(_determine(base, spans, nonneg) for base, spans in self._spans.items())


def _determine(
    base: Expr, spans: list[tuple[Expr, Expr | None]], nonneg: Callable[[Expr], bool]
) -> bool:
    above = dict(spans)
    reached: Expr = const(1, base.dtype)
    while reached in above:
        following = above.pop(reached)
        if following is None:
            return not above
        reached = following
    # Digits without a top one do when the base never gets that far.
    return not above and nonneg(reached - 1 - base)
