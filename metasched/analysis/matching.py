"""Whether a store computes what a pattern describes: buffers and iterations by unification.

Operands of sums and products may be exchanged. The tile of a buffer that a parameter of the pattern
stands for is given by the dimensions that move with it and the index where it begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from metasched.analysis.facts import terms
from metasched.ir.expr import Binary, Buffer, Const, Expr, Load, Var, add, const, int_value
from metasched.ir.simplify import Simplifier, product
from metasched.ir.stmt import Block, IterVar, Store
from metasched.ir.walk import expr_children, free_vars, substitute

_COMMUTATIVE = frozenset({"add", "mul", "min", "max"})


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of a buffer that a parameter stands for.

    Attributes:
        buffer: the buffer.
        start: the index of its first element.
        dims: the dimension that each one of the parameter moves along.
    """

    buffer: Buffer
    start: tuple[Expr, ...]
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What parameters and iterations of a pattern stand for.

    Attributes:
        tiles: by parameter.
        iters: by iteration variable of the pattern, the one that it stands for.
        todo: indices of the pattern that must equal what moves in those of the program.
    """

    tiles: Mapping[Buffer, Tile] = field(default_factory=dict[Buffer, Tile])
    iters: Mapping[Var, Var] = field(default_factory=dict[Var, Var])
    todo: tuple[tuple[Expr, Expr], ...] = ()


def find_match(pattern: Block, block: Block, simplify: Simplifier) -> Match | None:
    """How a block that stores once computes what a pattern does, if it does.

    Args:
        pattern: a block that stores once, over its iterations only.
        block: the block, which may index by iterations of blocks around it.
        simplify: the ranges of everything in sight.
    """
    if not isinstance(pattern.body, Store) or not isinstance(block.body, Store):
        return None
    return _Matcher(pattern, block, simplify).run(pattern.body, block.body)


class _Matcher:
    def __init__(self, pattern: Block, block: Block, simplify: Simplifier) -> None:
        self._axes = {it.var: it for it in pattern.iters}
        units = {it.var: const(0, it.var.dtype) for it in block.iters if _is_unit(it)}
        self._own = {it.var: it for it in block.iters if it.var not in units}
        self._units = units
        self._simplify = simplify

    def run(self, pattern: Store, store: Store) -> Match | None:
        target = Load(store.buffer, store.indices)
        for first in self.match(Load(pattern.buffer, pattern.indices), target, Match()):
            for part in self.match(pattern.value, store.value, first):
                found = self.with_last(part)
                if self.is_complete(found):
                    return found
        return None

    def with_last(self, found: Match) -> Match:
        """Bind the last iteration that never indexes alone, if just one is left on each side."""
        left = [it for var, it in self._axes.items() if not _is_unit(it) and var not in found.iters]
        own = [it for var, it in self._own.items() if var not in found.iters.values()]
        if len(left) != 1 or len(own) != 1:
            return found
        (axis,), (last,) = left, own
        if (axis.kind, int_value(axis.extent)) != (last.kind, int_value(last.extent)):
            return found
        return replace(found, iters={**found.iters, axis.var: last.var})

    def is_complete(self, found: Match) -> bool:
        """Whether every iteration has its partner and all indices agree."""
        bound = {var for var, it in self._axes.items() if not _is_unit(it)}
        if bound - found.iters.keys() or self._own.keys() - set(found.iters.values()):
            return False
        values: dict[Var, Expr] = {
            var: found.iters.get(var, const(0, var.dtype)) for var in self._axes
        }
        return all(
            self._simplify(substitute(a, values) - b) == const(0, b.dtype) for a, b in found.todo
        )

    def match(self, pattern: Expr, expr: Expr, found: Match) -> Iterator[Match]:
        """Every way in which an expression has the form of a pattern."""
        match pattern, expr:
            case Load(), Load():
                result = self.load(pattern, expr, found)
                if result is not None:
                    yield result
            case Binary(), Binary() if pattern.op == expr.op and pattern.dtype == expr.dtype:
                yield from self.both(pattern, (expr.a, expr.b), found)
                if pattern.op in _COMMUTATIVE:
                    yield from self.both(pattern, (expr.b, expr.a), found)
            case Const(), Const():
                if pattern == expr:
                    yield found
            case Var(), _:
                yield replace(found, todo=(*found.todo, (pattern, expr)))
            case _:
                if _same_head(pattern, expr):
                    yield from self.all(expr_children(pattern), expr_children(expr), found)

    def both(self, pattern: Binary, operands: tuple[Expr, Expr], found: Match) -> Iterator[Match]:
        yield from self.all((pattern.a, pattern.b), operands, found)

    def all(
        self, patterns: tuple[Expr, ...], exprs: tuple[Expr, ...], found: Match
    ) -> Iterator[Match]:
        if not patterns:
            yield found
            return
        for first in self.match(patterns[0], exprs[0], found):
            yield from self.all(patterns[1:], exprs[1:], first)

    def load(self, pattern: Load, load: Load, found: Match) -> Match | None:
        """The access of a parameter and that of a buffer."""
        if pattern.buffer.dtype != load.buffer.dtype:
            return None
        parts = [self.divided(index) for index in load.indices]
        moving = [dim for dim, (_, inner) in enumerate(parts) if int_value(inner) != 0]
        rank = len(pattern.indices)
        dims = tuple(moving if len(moving) == rank else range(len(parts))[len(parts) - rank :])
        if len(dims) != rank or not set(moving) <= set(dims):
            return None
        tile = Tile(load.buffer, tuple(start for start, _ in parts), dims)
        if found.tiles.get(pattern.buffer, tile) != tile:
            return None
        result = replace(found, tiles={**found.tiles, pattern.buffer: tile})
        for index, dim in zip(pattern.indices, dims, strict=True):
            bound = self.index(index, parts[dim][1], result)
            if bound is None:
                return None
            result = bound
        return result

    def divided(self, index: Expr) -> tuple[Expr, Expr]:
        """An index as what stands still in a tile and what moves."""
        zero = const(0, index.dtype)
        still, moving = zero, zero
        for coefficient, atoms in terms(self._simplify(substitute(index, self._units))):
            term = product([const(coefficient, index.dtype), *atoms])
            if any(free_vars(atom) & self._own.keys() for atom in atoms):
                moving = add(moving, term)
            else:
                still = add(still, term)
        return still, moving

    def index(self, pattern: Expr, moving: Expr, found: Match) -> Match | None:
        """Bind an iteration that indexes alone; other indices are compared at the end."""
        if not isinstance(pattern, Var) or not isinstance(moving, Var):
            return replace(found, todo=(*found.todo, (pattern, moving)))
        known = found.iters.get(pattern)
        if known is not None:
            return found if known == moving else None
        axis, own = self._axes.get(pattern), self._own[moving]
        if axis is None or moving in found.iters.values():
            return None
        if axis.kind != own.kind or int_value(axis.extent) != int_value(own.extent):
            return None
        return replace(found, iters={**found.iters, pattern: moving})


def _is_unit(axis: IterVar) -> bool:
    return int_value(axis.extent) == 1


def _same_head(pattern: Expr, expr: Expr) -> bool:
    """Whether two expressions are alike but for their operands."""
    if type(pattern) is not type(expr) or pattern.dtype != expr.dtype:
        return False
    own, other = expr_children(pattern), expr_children(expr)
    if len(own) != len(other) or not own:
        return False
    rest = (
        (getattr(pattern, name), getattr(expr, name))
        for name in pattern.__match_args__
        if name in ("fn", "op", "dtype")
    )
    return all(a == b for a, b in rest)
