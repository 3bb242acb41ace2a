"""Which thread touches which element: the exact test that decides where barriers are needed.

Sizes are numbers and a block has at most some thousand threads, so the elements that each thread
touches between two points are simply counted out (`touched`). What all threads have in common, such
as the block's position, is taken off first; what cannot be counted out is taken for a conflict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from math import lcm, prod
from operator import mul
from typing import Final, TypeAlias

from metasched.analysis.facts import terms
from metasched.ir.expr import Binary, Buffer, Expr, Var, const, int_value
from metasched.ir.walk import free_vars, substitute, walk_expr
from metasched.lower.affine import has_load, mentions
from metasched.lower.gpu.kernel import Axis
from metasched.lower.gpu.touched import Touched, Uncountable, Values, count_out, value_of
from metasched.lower.scope import Scope

_Extents: TypeAlias = tuple[tuple[Var, int], ...]
_Counted: TypeAlias = tuple[Expr, tuple[Expr, ...], _Extents, _Extents]

MOST_ELEMENTS: Final = 1 << 22
"""Elements counted out for one access at most."""

_MOST_CASES: Final = 64
"""Values of common variables that are tried at most."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a statement touches a buffer.

    Args:
        buffer: a flat buffer.
        index: the element.
        writes: whether it is stored.
        inner: loops around the access that run between the points in question, with extents.
        conditions: what holds where the access happens.
    """

    buffer: Buffer
    index: Expr
    writes: bool
    inner: tuple[tuple[Var, int], ...] = ()
    conditions: tuple[Expr, ...] = ()

    def under(self, var: Var, extent: int) -> Access:
        """The access in all iterations of one more loop."""
        return Access(
            self.buffer, self.index, self.writes, (*self.inner, (var, extent)), self.conditions
        )

    def where(self, values: Mapping[Var, Expr], scope: Scope) -> Access:
        """The access with variables replaced."""
        index = scope.simplify(substitute(self.index, values))
        conditions = tuple(scope.simplify(substitute(c, values)) for c in self.conditions)
        return Access(self.buffer, index, self.writes, self.inner, conditions)


@dataclass(slots=True)
class Footprints:
    """The conflicts between accesses of the threads of one block.

    Args:
        axes: the thread axes of the block.
        scope: the scope of the lowering.
    """

    axes: Sequence[Axis]
    scope: Scope
    _seen: dict[tuple[Access, Access], bool] = field(
        default_factory=dict[tuple[Access, Access], bool]
    )
    _counted: dict[_Counted, Touched] = field(default_factory=dict[_Counted, Touched])

    def conflict(self, a: Access, b: Access) -> bool:
        """Whether two threads may touch one element, one of them storing."""
        if a.buffer != b.buffer or not (a.writes or b.writes):
            return False
        found = self._seen.get((a, b))
        if found is None:
            found = self._seen[a, b] = self._conflict(a, b)
        return found

    def _conflict(self, a: Access, b: Access) -> bool:
        if has_load(a.index) or has_load(b.index):
            return True
        own_a, own_b = self._own(a), self._own(b)
        common_a, moving_a, mixed_a = _parted(a.index, own_a)
        common_b, moving_b, mixed_b = _parted(b.index, own_b)
        distance = self.scope.simplify(common_b - common_a)
        tried = (mixed_a - own_a) | (mixed_b - own_b) | free_vars(distance)
        cases = self._cases(tried, (a.index, b.index, distance))
        if cases is None:
            return True
        try:
            return any(
                self._touched(a, moving_a, case).meets(
                    self._touched(b, moving_b, case), int(value_of(distance, case))
                )
                for case in cases
            )
        except Uncountable:
            return True

    def _own(self, access: Access) -> set[Var]:
        """The variables that tell the threads' and iterations' elements apart."""
        return {axis.var for axis in self.axes} | {var for var, _ in access.inner}

    def _cases(self, tried: set[Var], exprs: Sequence[Expr]) -> list[Values] | None:
        """The values of common variables to try, None where they are too many."""
        extents: list[tuple[Var, int]] = []
        count = 1
        for var in sorted(tried, key=lambda v: v.name):
            extent = int_value(self.scope.ranges.get(var, var))
            period = _period(var, exprs)
            if extent is None and period is None:
                return None
            known = [e for e in (extent, period) if e is not None]
            extents.append((var, min(known)))
            count *= min(known)
        if count > _MOST_CASES:
            return None
        names = [var for var, _ in extents]
        ranges = (range(extent) for _, extent in extents)
        return [dict(zip(names, values, strict=True)) for values in product(*ranges)]

    def _touched(self, access: Access, index: Expr, case: Values) -> Touched:
        """The elements that the threads touch."""
        conditions = tuple(c for c in access.conditions if self._countable(c, access, case))
        used = free_vars(index).union(*(free_vars(c) for c in conditions))
        extents = {axis.var: axis.extent for axis in self.axes}
        extents |= {var: extent for var, extent in access.inner if var in used}
        if prod(extents.values()) > MOST_ELEMENTS:
            raise Uncountable
        known = {var: value for var, value in case.items() if var in used}
        key = (index, conditions, tuple(extents.items()), tuple(known.items()))
        found = self._counted.get(key)
        if found is None:
            found = count_out(index, conditions, extents, self._strides(), known)
            self._counted[key] = found
        return found

    def _strides(self) -> Values:
        """What a step of each axis adds to the number of a thread in its block."""
        sizes = accumulate((axis.extent for axis in self.axes), mul, initial=1)
        return {axis.var: size for axis, size in zip(self.axes, sizes, strict=False)}

    def _countable(self, condition: Expr, access: Access, case: Values) -> bool:
        known = self._own(access) | case.keys()
        return not has_load(condition) and free_vars(condition) <= known


def _parted(index: Expr, own: set[Var]) -> tuple[Expr, Expr, set[Var]]:
    """The terms that are the same for all, the others, and the variables that occur in both."""
    common: Expr = const(0)
    moving: Expr = const(0)
    mixed: set[Var] = set()
    for coefficient, atoms in terms(index):
        term: Expr = const(coefficient)
        for atom in atoms:
            term = term * atom
        used = free_vars(term)
        if used & own:
            moving = moving + term
            mixed |= used - own
        else:
            common = common + term
    return common, moving, mixed


def _period(var: Var, exprs: Sequence[Expr]) -> int | None:
    """After how many steps of a variable the expressions repeat, if it occurs in remainders."""
    found = 1
    for expr in exprs:
        inside: set[Expr] = set()
        for node in walk_expr(expr):
            if isinstance(node, Binary) and node.op == "floormod":
                size = int_value(node.b)
                if size is not None and mentions(node.a, var) and _is_shifted(node.a, var):
                    found = lcm(found, size)
                    inside.add(node)
        if var in free_vars(_without(expr, inside)):
            return None
    return found


def _is_shifted(expr: Expr, var: Var) -> bool:
    return all(
        atoms == (var,) or not any(var in free_vars(a) for a in atoms) for _, atoms in terms(expr)
    )


def _without(expr: Expr, parts: set[Expr]) -> Expr:
    from metasched.ir.walk import map_expr

    return const(0, expr.dtype) if expr in parts else map_expr(expr, lambda e: _without(e, parts))


def accesses_of(exprs: Sequence[Expr], conditions: tuple[Expr, ...]) -> Iterator[Access]:
    """The loads in some expressions."""
    from metasched.ir.walk import expr_loads

    for expr in exprs:
        for load in expr_loads(expr):
            if load.indices:
                yield Access(load.buffer, load.indices[0], False, (), conditions)
