"""Tensors and the axes their definitions run over.

A `Tensor` is a buffer compared by identity that remembers how it is computed; indexing one gives
an ordinary expression. `metasched.te.build` turns tensors into a program.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from metasched.errors import UsageError
from metasched.ir.dtype import DType
from metasched.ir.expr import Buffer, Expr, ExprLike, Load, Var, as_expr, as_index, const, int_value
from metasched.te.reduction import Axis, Reduction

Value: TypeAlias = ExprLike | Reduction
Definition: TypeAlias = (
    Callable[[], Value]
    | Callable[[Expr], Value]
    | Callable[[Expr, Expr], Value]
    | Callable[[Expr, Expr, Expr], Value]
    | Callable[[Expr, Expr, Expr, Expr], Value]
    | Callable[[Expr, Expr, Expr, Expr, Expr], Value]
    | Callable[[Expr, Expr, Expr, Expr, Expr, Expr], Value]
    | Callable[[Expr, Expr, Expr, Expr, Expr, Expr, Expr], Value]
)
"""A function of one variable per dimension, or of ``*indices``; spelt out to type lambdas."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Stage:
    """The definition of a tensor: its axes, in order of its shape, and the value of an element."""

    axes: tuple[Axis, ...]
    body: Expr | Reduction


@dataclass(frozen=True, slots=True, eq=False)
class Tensor(Buffer):
    """A named array of a description: given (`placeholder`) or computed (`compute`)."""

    stage: Stage | None = field(default=None, kw_only=True)

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __getitem__(self, indices: ExprLike | tuple[ExprLike, ...]) -> Expr:
        items = indices if isinstance(indices, tuple) else (indices,)
        if len(items) != len(self.shape):
            raise UsageError(
                f"tensor '{self.name}' has {len(self.shape)} dimensions, got {len(items)} "
                "indices; give one per dimension"
            )
        return Load(self, tuple(self._index(d, i) for d, i in enumerate(items)))

    def __call__(self, *indices: ExprLike) -> Expr:
        """The element at ``indices``; reads well with unpacked indices."""
        return self[indices]

    def _index(self, dimension: int, index: ExprLike) -> Expr:
        expr = as_index(index)
        value, size = int_value(expr), int_value(self.shape[dimension])
        if value is not None and (value < 0 or (size is not None and value >= size)):
            raise UsageError(
                f"index {value} is outside dimension {dimension} of tensor '{self.name}' of "
                f"size {self.shape[dimension]}; indices count from 0"
            )
        return expr


def check_name(name: str, what: str) -> str:
    """Return a name that the printed program and generated code can use.

    Raises:
        UsageError: it is no ASCII identifier, or a Python keyword.
    """
    if _IDENTIFIER.fullmatch(name) is None or keyword.iskeyword(name):
        raise UsageError(
            f"{what} '{name}' is no identifier; use letters, digits and underscores, "
            "starting with a letter, and no Python keyword"
        )
    return name


def var(name: str = "n") -> Var:
    """A symbolic size, an int64 of at least 1; the same name is the same size."""
    return Var(check_name(name, "size"))


def placeholder(
    shape: Sequence[ExprLike] | ExprLike, dtype: str = "float32", name: str = "placeholder"
) -> Tensor:
    """A tensor that the caller of the program gives.

    Raises:
        UsageError: a size below 1, an unknown dtype, or a name that is no identifier.
    """
    check_name(name, "tensor name")
    return Tensor(name, _shape(shape, name), _scalar(dtype))


def compute(
    shape: Sequence[ExprLike] | ExprLike,
    fcompute: Definition,
    name: str = "compute",
) -> Tensor:
    """A tensor whose element at each index is ``fcompute(*index)``.

    The result is an expression, or a reduction (`sum`, `max`, ...) of one. The tensor's dtype is
    that of the expression: accumulate in a wider type by reducing a `cast`.

    Args:
        shape: one size per dimension.
        fcompute: called once with one variable per dimension; its argument names become the names
            of the loops.
        name: the tensor's name and that of the block that computes it.

    Raises:
        UsageError: a size below 1, the wrong number of arguments, or a result that is neither.

    >>> a = placeholder((4, 4), name="a")
    >>> compute((4, 4), lambda i, j: a[i, j] * 2, name="b").shape[0]
    Const(value=4, dtype=DType(code='int', bits=64, lanes=1))
    """
    check_name(name, "tensor name")
    sizes = _shape(shape, name)
    labels = _axis_names(fcompute, len(sizes), name)
    axes = tuple(Axis(n, extent=e) for n, e in zip(labels, sizes, strict=True))
    call: Callable[..., Value] = fcompute
    result = call(*axes)
    body = result if isinstance(result, Reduction) else as_expr(result)
    return Tensor(name, sizes, body.dtype, stage=Stage(axes, body))


def _shape(shape: Sequence[ExprLike] | ExprLike, name: str) -> tuple[Expr, ...]:
    items = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    return tuple(_size(i, d, name) for d, i in enumerate(items))


def _size(item: ExprLike, dimension: int, name: str) -> Expr:
    size = as_index(item)
    value = int_value(size)
    if value is not None and value <= 0:
        raise UsageError(
            f"dimension {dimension} of '{name}' is {value}; sizes must be positive integers"
        )
    return const(value) if value is not None else size


def _scalar(dtype: str) -> DType:
    found = DType.of(dtype)
    if found.lanes != 1:
        raise UsageError(f"dtype '{dtype}' is a vector; tensors hold scalars, use '{found.scalar}'")
    return found


def _axis_names(fcompute: Definition, rank: int, name: str) -> list[str]:
    labels: list[str] = []
    for parameter in inspect.signature(fcompute).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            labels += [f"{parameter.name}{d}" for d in range(len(labels), rank)]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            if parameter.default is parameter.empty:
                labels.append(parameter.name)
    if len(labels) != rank:
        raise UsageError(
            f"the function of '{name}' takes {len(labels)} arguments, but its shape has {rank} "
            "dimensions; give one argument per dimension"
        )
    return [check_name(label, "axis") for label in labels]
