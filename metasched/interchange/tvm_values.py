"""Names, arrays and arithmetic of a program that TVM saved; `tvm_program` reads what is around."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from metasched.interchange.report import Malformed, get_text
from metasched.interchange.tvm_graph import Graph
from metasched.ir.dtype import BOOL, INT64, DType
from metasched.ir.expr import (
    INTRINSIC_ARITY,
    BinaryOp,
    Buffer,
    Call,
    Const,
    Expr,
    Intrinsic,
    Load,
    Select,
    Var,
    binary,
    const,
    int_value,
)
from metasched.ir.expr import cast as convert
from metasched.ir.walk import fresh_name

_BINARY: Final[Mapping[str, BinaryOp]] = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "FloorDiv": "floordiv",
    "FloorMod": "floormod", "Min": "min", "Max": "max", "EQ": "eq", "NE": "ne", "LT": "lt",
    "LE": "le", "And": "and", "Or": "or",
}  # fmt: skip
_SWAPPED: Final[Mapping[str, BinaryOp]] = {"GT": "lt", "GE": "le"}
_CALLS: Final[Mapping[str, str]] = {
    **{name: name for name in INTRINSIC_ARITY if name not in ("round", "not")},
    "fabs": "abs",
}
"""TVM rounds halves away from zero, so `round` is another function there."""


class Values:
    """Reads values out of the nodes of one graph.

    Raises:
        Malformed: from every method, where a node holds something that does not carry over.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names: set[str] = set()
        self._vars: dict[int, Var] = {}
        self._buffers: dict[int, Buffer] = {}

    def _name(self, ref: Any) -> str:
        text = re.sub(r"\W", "_", self._graph.text(ref)) or "x"
        base = f"v_{text}" if keyword.iskeyword(text) or not text.isidentifier() else text
        name = fresh_name(base, self._names)
        self._names.add(name)
        return name

    def _dtype(self, ref: Any) -> DType:
        kind, fields = self._graph.node(ref)
        if kind != "PrimType":
            raise Malformed(f"a value is of type {kind:.40}")
        # The name of a type is text in its place, not the number of a node.
        dtype = DType.of(get_text(fields.get("dtype"), "a dtype"))
        if dtype.lanes != 1:
            raise Malformed("values are vectors")
        return dtype

    def buffer(self, ref: Any) -> Buffer:
        """Return an array of known shape."""
        kind, var = self._graph.node(ref)
        if ref in self._buffers:
            return self._buffers[ref]
        type_kind, fields = self._graph.node(var.get("ty"))
        if kind != "Var" or type_kind != "BufferType":
            raise Malformed(f"a parameter is a {type_kind:.40}, expected an array")
        if (
            self._graph.array(fields.get("strides"))
            or self._graph.text(fields.get("storage_scope")) != "global"
        ):
            raise Malformed("an array with strides or in a scope of its own")
        shape = tuple(map(self.size, self._graph.array(fields.get("shape"))))
        buffer = Buffer(self._name(var.get("name")), shape, self._dtype(fields.get("dtype")))
        self._buffers[ref] = buffer
        return buffer

    def size(self, ref: Any) -> Expr:
        """Return an extent, which has to be known."""
        size = self.index(ref)
        if int_value(size) is None:
            raise Malformed("a size that is not known")
        return size

    def from_zero(self, ref: Any) -> Expr:
        """Return the extent of a range that has to start at zero."""
        _, fields = self._graph.node(ref)
        self.check_zero(fields.get("min"))
        return self.size(fields.get("extent"))

    def check_zero(self, ref: Any) -> None:
        """Refuse a start that is not zero."""
        if int_value(self.index(ref)) != 0:
            raise Malformed("a range that does not start at zero")

    def index(self, ref: Any) -> Expr:
        """Return an index, which has 64 bits."""
        return as_type(self.expr(ref), INT64)

    def indices(self, ref: Any) -> tuple[Expr, ...]:
        """Return a list of indices."""
        return tuple(map(self.index, self._graph.array(ref)))

    def expr(self, ref: Any) -> Expr:
        """Return an expression."""
        kind, fields = self._graph.node(ref)
        if kind in _BINARY or kind in _SWAPPED:
            return self._binary(kind, fields)
        read: Mapping[str, Callable[[], Expr]] = {
            "IntImm": lambda: self._integer(fields),
            "FloatImm": lambda: self._float(fields),
            "Var": lambda: self._var(ref),
            "TensorLoad": lambda: self.load(fields, "source"),
            "Cast": lambda: convert(self.expr(fields.get("value")), self._dtype(fields.get("ty"))),
            "Select": lambda: self._select(
                [fields.get(n) for n in ("condition", "true_value", "false_value")]
            ),
            "Not": lambda: Call("not", (self.expr(fields.get("a")),)),
            "Call": lambda: self._call(fields),
        }
        if kind not in read:
            raise Malformed(f"an expression '{kind:.40}' does not carry over")
        return read[kind]()

    def _binary(self, kind: str, fields: Mapping[str, Any]) -> Expr:
        a, b = _alike(self.expr(fields.get("a")), self.expr(fields.get("b")))
        if kind == "Div" and not a.dtype.is_float:
            raise Malformed("a division that truncates does not carry over")
        return binary(_SWAPPED[kind], b, a) if kind in _SWAPPED else binary(_BINARY[kind], a, b)

    def _integer(self, fields: Mapping[str, Any]) -> Const:
        return const(self._graph.number(fields.get("value")), self._dtype(fields.get("ty")))

    def _float(self, fields: Mapping[str, Any]) -> Const:
        value, dtype = fields.get("value"), self._dtype(fields.get("ty"))
        if isinstance(value, bool) or not isinstance(value, int | float) or not dtype.is_float:
            raise Malformed("a number is no number")
        return const(float(value), dtype)

    def _var(self, ref: Any) -> Var:
        if ref not in self._vars:
            raise Malformed("a variable that nothing binds")
        return self._vars[ref]

    def load(self, fields: Mapping[str, Any], source: str) -> Load:
        """Return a place in an array."""
        return Load(self.buffer(fields.get(source)), self.indices(fields.get("indices")))

    def _select(self, refs: Sequence[Any]) -> Expr:
        if len(refs) != 3:
            raise Malformed(f"a choice of {len(refs)} parts")
        cond, then, other = map(self.expr, refs)
        if cond.dtype != BOOL:
            raise Malformed("a condition is no truth value")
        return Select(cond, *_alike(then, other))

    def _call(self, fields: Mapping[str, Any]) -> Expr:
        name = self._graph.text(fields.get("op")).rpartition(".")[2]
        args = self._graph.array(fields.get("args"))
        if name == "if_then_else":
            return self._select(args)
        if name not in _CALLS or INTRINSIC_ARITY[_CALLS[name]] != len(args):
            raise Malformed(f"a call of '{name:.40}' does not carry over")
        return Call(cast(Intrinsic, _CALLS[name]), tuple(map(self.expr, args)))

    def bind(self, ref: Any) -> Var:
        """Return a new variable, which expressions may use from now on."""
        _, fields = self._graph.node(ref)
        if ref in self._vars:
            raise Malformed("a variable that is bound twice")
        self._vars[ref] = Var(self._name(fields.get("name")))
        return self._vars[ref]


def as_type(value: Expr, dtype: DType) -> Expr:
    """Return an integer in another type; a constant just is one of that type.

    Raises:
        Malformed: one of the types is none of integers.
    """
    if value.dtype == dtype:
        return value
    if not value.dtype.is_int or not dtype.is_int:
        raise Malformed(f"a value of {value.dtype} where {dtype} is expected")
    return const(value.value, dtype) if isinstance(value, Const) else convert(value, dtype)


def _alike(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Operands of one type: indices have 64 bits here and 32 there."""
    if a.dtype == b.dtype:
        return a, b
    dtype = b.dtype if isinstance(a, Const) else a.dtype if isinstance(b, Const) else INT64
    return as_type(a, dtype), as_type(b, dtype)
