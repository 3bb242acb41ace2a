"""Index maps: ``i, j -> [i // 4, j, i % 4]``, from the indices of one layout to those of another.

A map is data with a text, so traces store the text. What needs its structure (shapes, inverses) is
read off as sums of digits; see `metasched.analysis.mixed_radix`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from metasched.analysis.mixed_radix import MixedRadix
from metasched.errors import ParseError, UsageError, suggest
from metasched.ir.expr import Binary, Const, Expr, Var, as_index, binary, const, int_value
from metasched.ir.parse_expr import Scope, read_expr
from metasched.ir.printer import print_expr
from metasched.ir.walk import map_expr, substitute, walk_expr

_OPERATIONS: Final = {"add", "sub", "mul", "floordiv", "floormod", "min", "max"}
_LONGEST: Final = 10_000


@dataclass(frozen=True, slots=True)
class IndexMap:
    """A function from indices to indices.

    Args:
        inputs: the indices it takes.
        outputs: the indices it gives, over the inputs.

    >>> tiles = IndexMap.parse("i, j -> [i // 4, j, i % 4]")
    >>> [str(e) for e in tiles.map_shape([10, 3])]
    ['3', '3', '4']
    >>> inverse, padding = tiles.non_surjective_inverse([10, 3])
    >>> print(inverse, "where not", padding)
    ax0, ax1, ax2 -> [ax0 * 4 + ax2, ax1] where not 10 <= ax0 * 4 + ax2
    """

    inputs: tuple[Var, ...]
    outputs: tuple[Expr, ...]

    def __post_init__(self) -> None:
        known = {v.name: v for v in self.inputs}
        if len(known) < len(self.inputs):
            raise UsageError(f"an index map takes distinct indices, got {_listed(self.inputs)}")
        for node in (node for output in self.outputs for node in walk_expr(output)):
            match node:
                case Var(name=name) if name not in known:
                    raise UsageError(f"an index map has no index '{name}'{suggest(name, known)}")
                case Var() | Const():
                    pass
                case Binary(op=op) if op in _OPERATIONS:
                    pass
                case _:
                    raise UsageError(
                        f"an index map computes with +, -, *, //, %, min and max, got {node}"
                    )

    # -- making and printing -------------------------------------------------------------------

    @staticmethod
    def of(given: IndexMapLike, rank: int | None = None) -> IndexMap:
        """The map that a text, a function or a map stands for.

        Args:
            given: what a caller passed.
            rank: the number of indices it will be given, for functions such as ``lambda *i: ...``.

        Raises:
            UsageError: it is none of these, or no index map.
        """
        if isinstance(given, IndexMap):
            return given
        if isinstance(given, str):
            return IndexMap.parse(given)
        if callable(given):
            return IndexMap.from_func(given, rank)
        raise UsageError(
            f"an index map is a text such as 'i, j -> [j, i]' or a function, got {given!r}"
        )

    @staticmethod
    def from_func(function: Callable[..., Any], rank: int | None = None) -> IndexMap:
        """Ask a Python function, whose parameters name the indices.

        >>> print(IndexMap.from_func(lambda i, j: [j // 8, i, j % 8]))
        i, j -> [j // 8, i, j % 8]

        Raises:
            UsageError: it takes other than plain positional parameters, or returns no indices.
        """
        inputs = tuple(Var(name) for name in _parameters(function, rank))
        given: Any = function(*inputs)
        items = cast(Sequence[Any], given if isinstance(given, list | tuple) else [given])
        return IndexMap(inputs, tuple(_output(item) for item in items))

    @staticmethod
    def parse(text: str) -> IndexMap:
        """Read the text that ``str`` gives.

        Raises:
            UsageError: the text is no index map.
        """
        left, arrow, right = text.partition("->")
        example = "write it as 'i, j -> [i // 4, j, i % 4]'"
        if not arrow or len(text) > _LONGEST:
            raise UsageError(f"'{text[:60]}' is no index map; {example}")
        try:
            outputs = ast.parse(right.strip(), mode="eval").body
            names = [name.strip() for name in left.split(",")] if left.strip() else []
            if not isinstance(outputs, ast.List) or not all(n.isidentifier() for n in names):
                raise UsageError(f"'{text}' is no index map; {example}")
            items = [_folded(read_expr(item, Scope())) for item in outputs.elts]
        except (SyntaxError, ValueError, ParseError, RecursionError, MemoryError) as error:
            reason = str(error).removeprefix("line 1: ")
            raise UsageError(f"'{text}' is no index map: {reason}; {example}") from error
        return IndexMap(tuple(Var(n) for n in names), tuple(_output(item) for item in items))

    def __str__(self) -> str:
        left = f"{', '.join(v.name for v in self.inputs)} " if self.inputs else ""
        return f"{left}-> [{', '.join(print_expr(e) for e in self.outputs)}]"

    # -- applying ------------------------------------------------------------------------------

    def map_indices(
        self, indices: Sequence[Expr], simplify: Callable[[Expr], Expr] = lambda e: e
    ) -> tuple[Expr, ...]:
        """The outputs for given indices, simplified as the caller knows how."""
        self._check_rank(len(indices))
        values = dict(zip(self.inputs, indices, strict=True))
        wide = {i.dtype for i in indices} - {const(0).dtype}
        if not wide:
            return tuple(simplify(substitute(e, values)) for e in self.outputs)
        dtype = wide.pop()

        def visit(node: Expr) -> Expr:
            match node:
                case Var():
                    return values[node]
                case Const():
                    return const(node.value, dtype)
                case _:
                    return map_expr(node, visit)

        return tuple(simplify(visit(e)) for e in self.outputs)

    def map_shape(self, shape: Sequence[Expr | int]) -> tuple[Expr, ...]:
        """The shape that holds every mapped index of a shape.

        Raises:
            UsageError: an output may be negative, or has no bound that is known.
        """
        return self._digits(shape).shape(self.outputs)

    def inverse(self, shape: Sequence[Expr | int]) -> IndexMap:
        """The map back, where every index of the new shape belongs to one of the given shape.

        Raises:
            UsageError: the map is not bijective on that shape, as far as can be seen.
        """
        inverse, padding = self.non_surjective_inverse(shape)
        if padding != const(False, "bool"):
            raise UsageError(
                f"'{self}' is not bijective on the shape {_shape_text(shape)}: "
                f"it leaves padding where {padding}"
            )
        return inverse

    def non_surjective_inverse(self, shape: Sequence[Expr | int]) -> tuple[IndexMap, Expr]:
        """The map back, and where, over its inputs, the new shape holds padding only.

        Raises:
            UsageError: two indices have one image, or it cannot be seen that they have not: an
                index with an offset that is then split or fused on, whose carries are not followed.
        """
        names = [f"ax{k}" for k in range(len(self.outputs))]
        inputs = tuple(Var(name) for name in names)
        try:
            found, padding = self._digits(shape).inverse(self.outputs, inputs)
        except UsageError as error:
            raise UsageError(f"'{self}' has no inverse: {error}") from error
        return IndexMap(inputs, found), padding

    def is_equivalent_to(self, other: IndexMap) -> bool:
        """Whether two maps give the same outputs; the names of their indices do not matter."""
        same = len(self.inputs) == len(other.inputs)
        return same and self.outputs == other.map_indices(self.inputs)

    def map_array(self, array: NDArray[Any], pad_value: float = 0) -> NDArray[Any]:
        """An array in the new layout: what a caller passes for a transformed parameter.

        >>> IndexMap.parse("i -> [i // 4, i % 4]").map_array(np.arange(6)).tolist()
        [[0, 1, 2, 3], [4, 5, 0, 0]]
        """
        packed = np.full(self._static_shape(array.shape), pad_value, array.dtype)
        packed[self._places(array.shape)] = array
        return packed

    def unmap_array(self, array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        """An array of a shape back from the new layout; padding is dropped.

        >>> IndexMap.parse("i -> [i // 4, i % 4]").unmap_array(np.arange(8).reshape(2, 4), [6])
        array([0, 1, 2, 3, 4, 5])
        """
        if array.shape != self._static_shape(shape):
            raise UsageError(
                f"'{self}' maps the shape {_shape_text(shape)} to "
                f"{_shape_text(self._static_shape(shape))}, got an array of {array.shape}"
            )
        return array[self._places(shape)]

    def _static_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(int_value(extent) or 0 for extent in self.map_shape(shape))

    def _places(self, shape: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
        grid = np.indices(tuple(shape), dtype=np.int64)
        values = {v.name: grid[k] for k, v in enumerate(self.inputs)}
        return tuple(
            np.broadcast_to(_numeric(output, values), tuple(shape)) for output in self.outputs
        )

    def _check_rank(self, given: int) -> None:
        if given != len(self.inputs):
            raise UsageError(f"'{self}' takes {len(self.inputs)} indices, got {given}")

    def _digits(self, shape: Sequence[Expr | int]) -> MixedRadix:
        self._check_rank(len(shape))
        return MixedRadix({v: as_index(n) for v, n in zip(self.inputs, shape, strict=True)})


IndexMapLike: TypeAlias = "IndexMap | str | Callable[..., Any]"
"""What users pass for an index map."""


def _parameters(function: Callable[..., Any], rank: int | None) -> list[str]:
    names: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            if rank is None:
                raise UsageError("an index map with '*' needs to know its number of indices")
            names.extend(f"i{k}" for k in range(len(names), rank))
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(name)
        else:
            raise UsageError(f"an index map takes plain positional parameters, got '{name}'")
    return names


def _output(item: Any) -> Expr:
    try:
        return as_index(item)
    except UsageError as error:
        raise UsageError(
            f"an index map gives integer indices, got {item!r}; axis separators are refused, "
            "since every buffer is flat in memory"
        ) from error


def _folded(expr: Expr) -> Expr:
    """The expression as the builders make it, so that a text and a function give equal maps."""
    match expr:
        case Binary():
            return binary(expr.op, _folded(expr.a), _folded(expr.b))
        case _:
            return expr


def _numeric(expr: Expr, values: dict[str, NDArray[np.int64]]) -> Any:
    match expr:
        case Var():
            return values[expr.name]
        case Const():
            return int(expr.value)
        case Binary():
            return _NUMERIC[expr.op](_numeric(expr.a, values), _numeric(expr.b, values))
        case _:
            raise TypeError(f"not an index: {expr!r}")


_NUMERIC: Final[dict[str, Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floordiv": np.floor_divide,
    "floormod": np.mod,
    "min": np.minimum,
    "max": np.maximum,
}


def _listed(inputs: Sequence[Var]) -> str:
    return ", ".join(f"'{v.name}'" for v in inputs)


def _shape_text(shape: Sequence[Expr | int]) -> str:
    return f"({', '.join(str(n) for n in shape)})"
