"""Expressions of the program text, from Python's syntax tree; the inverse of `printer`.

Nothing is evaluated and nothing is folded: each construct becomes exactly the node that prints
so. `metasched.ir.parser` reads the statements around them.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

from metasched.errors import ParseError, suggest
from metasched.ir.dtype import BOOL, INT64, DType
from metasched.ir.expr import (
    INTRINSIC_ARITY,
    Binary,
    BinaryOp,
    Broadcast,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Extern,
    Intrinsic,
    Load,
    Ramp,
    Select,
    Var,
    int_value,
)
from metasched.ir.stmt import Annotations, AnnotationValue, Region

MAX_DEPTH: Final = 200
"""Levels of nesting in one expression; texts come from databases, so they are bounded."""

_BINARY: Final[dict[type[ast.operator], BinaryOp]] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.FloorDiv: "floordiv",
    ast.Mod: "floormod",
}
_COMPARE: Final[dict[type[ast.cmpop], tuple[BinaryOp, bool]]] = {
    ast.Eq: ("eq", False),
    ast.NotEq: ("ne", False),
    ast.Lt: ("lt", False),
    ast.LtE: ("le", False),
    ast.Gt: ("lt", True),
    ast.GtE: ("le", True),
}
_INTRINSICS: Final[dict[str, Intrinsic]] = {name: name for name in INTRINSIC_ARITY}  # type: ignore[misc]
_SPECIAL: Final = {"inf": float("inf"), "nan": float("nan")}


@dataclass(frozen=True, slots=True)
class Scope:
    """The variables and buffers in sight; any other name is a symbolic size."""

    vars: dict[str, Var] = field(default_factory=dict[str, Var])
    buffers: dict[str, Buffer] = field(default_factory=dict[str, Buffer])

    def with_vars(self, *added: Var) -> Scope:
        """This scope and some variables."""
        return replace(self, vars=self.vars | {v.name: v for v in added})

    def with_buffers(self, *added: Buffer) -> Scope:
        """This scope and some buffers."""
        return replace(self, buffers=self.buffers | {b.name: b for b in added})


def refuse(node: ast.AST, message: str) -> NoReturn:
    """Raise a `ParseError` that names the line of a node."""
    raise ParseError(f"line {getattr(node, 'lineno', 1)}: {message}")


def show(node: ast.AST) -> str:
    """A short quotation of a node for messages."""
    text = ast.unparse(node).splitlines()[0]
    return f"'{text[:57]}...'" if len(text) > 60 else f"'{text}'"


def read_expr(node: ast.expr, scope: Scope, depth: int = 0) -> Expr:
    """The expression of a syntax node."""
    if depth > MAX_DEPTH:
        refuse(node, f"an expression is nested more than {MAX_DEPTH} levels deep")
    sub = depth + 1
    match node:
        case ast.Constant() | ast.UnaryOp(op=ast.USub()):
            return _bare_const(node)
        case ast.Name():
            return scope.vars[node.id] if node.id in scope.vars else Var(node.id)
        case ast.BinOp() if type(node.op) in _BINARY:
            a, b = read_expr(node.left, scope, sub), read_expr(node.right, scope, sub)
            return Binary(_BINARY[type(node.op)], a, b)
        case ast.Compare(ops=[op], comparators=[right]) if type(op) in _COMPARE:
            kind, swap = _COMPARE[type(op)]
            a, b = read_expr(node.left, scope, sub), read_expr(right, scope, sub)
            return Binary(kind, b, a) if swap else Binary(kind, a, b)
        case ast.BoolOp():
            values = [read_expr(v, scope, sub) for v in node.values]
            result = values[0]
            for value in values[1:]:
                result = Binary("and" if isinstance(node.op, ast.And) else "or", result, value)
            return result
        case ast.UnaryOp(op=ast.Not()):
            return Call("not", (read_expr(node.operand, scope, sub),))
        case ast.Subscript():
            indices = [read_expr(i, scope, sub) for i in _subscripts(node)]
            return Load(read_buffer(node, scope, len(indices)), tuple(indices))
        case ast.Call(func=ast.Name(id=name)):
            return _call(node, name, scope, sub)
        case _:
            refuse(node, f"{show(node)} is no expression of a program")


def _bare_const(node: ast.expr) -> Const:
    value = read_number(node)
    if isinstance(value, float):
        refuse(node, f"a float needs its dtype; write float32({value!r}) or the like")
    return _const(node, value, BOOL if isinstance(value, bool) else INT64)


def _const(node: ast.expr, value: int | float, dtype: DType) -> Const:
    if dtype.is_int:
        low = -(1 << dtype.bits - 1) if dtype.code == "int" else 0
        if isinstance(value, float) or not low <= value < low + (1 << dtype.bits):
            refuse(node, f"{show(node)} does not fit {dtype}")
    return Const(value, dtype)


def read_number(node: ast.expr) -> int | float:
    """A literal number: bool, int or float, maybe negative, infinite or not a number."""
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.Name(id="inf" | "nan" as name):
            return _SPECIAL[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not isinstance(operand, ast.UnaryOp):
            return -read_number(operand)
        case _:
            refuse(node, f"expected a number, got {show(node)}")


def read_text(node: ast.expr) -> str:
    """A literal string."""
    match node:
        case ast.Constant(value=str() as value):
            return value
        case _:
            refuse(node, f"expected a string in quotes, got {show(node)}")


def read_int(node: ast.expr) -> int:
    """A literal positive integer, such as a number of lanes."""
    match node:
        case ast.Constant(value=int() as value) if value > 0 and not isinstance(value, bool):
            return value
        case _:
            refuse(node, f"expected a positive integer, got {show(node)}")


def _call(node: ast.Call, name: str, scope: Scope, depth: int) -> Expr:
    args = node.args
    if node.keywords:
        refuse(node, f"'{name}' takes no keyword arguments")

    def operands(count: int) -> list[Expr]:
        _arity(node, name, count)
        return [read_expr(a, scope, depth) for a in args]

    match name:
        case "min" | "max":
            return Binary(name, *operands(2))
        case "if_then_else":
            return Select(*operands(3))
        case "cast":
            _arity(node, name, 2)
            return Cast(DType.of(read_text(args[1])), read_expr(args[0], scope, depth))
        case "extern" if len(args) >= 2:
            read = tuple(read_expr(a, scope, depth) for a in args[2:])
            return Extern(read_text(args[0]), read, DType.of(read_text(args[1])))
        case "ramp":
            _arity(node, name, 3)
            base, stride = (read_expr(a, scope, depth) for a in args[:2])
            return Ramp(base, stride, read_int(args[2]))
        case "broadcast":
            _arity(node, name, 2)
            return Broadcast(read_expr(args[0], scope, depth), read_int(args[1]))
        case _ if name in _INTRINSICS:
            return Call(_INTRINSICS[name], tuple(operands(INTRINSIC_ARITY[name])))
        case _:
            dtype = _const_dtype(node, name)
            _arity(node, name, 1)
            return _const(node, read_number(args[0]), dtype)


def _const_dtype(node: ast.Call, name: str) -> DType:
    known = (*_INTRINSICS, "min", "max", "if_then_else", "cast", "extern", "ramp", "broadcast")
    base = name.partition("x")[0]
    if not any(base.startswith(code) for code in ("float", "bfloat", "int", "uint", "bool")):
        refuse(node, f"unknown function '{name}'{suggest(name, known)}")
    return DType.of(name)


def _arity(node: ast.Call, name: str, count: int) -> None:
    if len(node.args) != count or any(isinstance(a, ast.Starred) for a in node.args):
        refuse(node, f"'{name}' takes {count} arguments, got {len(node.args)}")


# -- buffers and regions -----------------------------------------------------------------------


def _subscripts(node: ast.Subscript) -> Sequence[ast.expr]:
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def read_buffer(node: ast.Subscript, scope: Scope, rank: int) -> Buffer:
    """The buffer that a subscript names, which must have that many dimensions."""
    if not isinstance(node.value, ast.Name):
        refuse(node, f"expected the name of a buffer, got {show(node.value)}")
    name = node.value.id
    buffer = scope.buffers.get(name)
    if buffer is None:
        refuse(node, f"buffer '{name}' is not declared{suggest(name, scope.buffers)}")
    if len(buffer.shape) != rank:
        refuse(node, f"buffer '{name}' has {len(buffer.shape)} dimensions, got {rank} indices")
    return buffer


def read_element(node: ast.expr, scope: Scope) -> Load:
    """The element that a store writes, as the load that would read it."""
    element = read_expr(node, scope)
    if not isinstance(element, Load):
        refuse(node, f"expected an element of a buffer, got {show(node)}")
    return element


def read_region(node: ast.expr, scope: Scope) -> Region:
    """A box such as ``a[i, 0:16]``."""
    if not isinstance(node, ast.Subscript):
        refuse(node, f"expected a region such as a[i, 0:16], got {show(node)}")
    ranges = [_range(item, scope) for item in _subscripts(node)]
    return Region(read_buffer(node, scope, len(ranges)), tuple(ranges))


def _range(node: ast.expr, scope: Scope) -> tuple[Expr, Expr]:
    """First index and extent; the upper end is written as the printer does."""
    if not isinstance(node, ast.Slice):
        low = read_expr(node, scope)
        return low, Const(1, low.dtype)
    if node.lower is None or node.upper is None or node.step is not None:
        refuse(node, f"a range needs a lower and an upper end, got {show(node)}")
    low, high = read_expr(node.lower, scope), read_expr(node.upper, scope)
    start, end = int_value(low), int_value(high)
    if start == 0:
        return low, high
    if start is not None and end is not None:
        return low, Const(end - start, low.dtype)
    if isinstance(high, Binary) and high.op == "add" and high.a == low:
        return low, high.b
    refuse(node, f"write the range {show(node)} as low:low + extent")


# -- annotations -------------------------------------------------------------------------------


def read_annotations(node: ast.expr) -> Annotations:
    """A dictionary of literals."""
    if not isinstance(node, ast.Dict):
        refuse(node, f"expected annotations such as {{'key': 1}}, got {show(node)}")
    items: list[tuple[str, AnnotationValue]] = []
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            refuse(node, "annotations cannot be unpacked from another dictionary")
        items.append((read_text(key), _annotation(value)))
    return tuple(items)


def _annotation(node: ast.expr) -> AnnotationValue:
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.Tuple():
            return tuple(_annotation(item) for item in node.elts)
        case _:
            return read_number(node)


def read_triples(node: ast.expr) -> tuple[tuple[int, int, int], ...]:
    """A tuple of triples of integers."""
    match node:
        case ast.Tuple(elts=items):
            return tuple(_triple(item) for item in items)
        case _:
            refuse(node, f"expected a tuple of triples, got {show(node)}")


def _whole(node: ast.expr) -> int:
    value = read_number(node)
    if isinstance(value, float):
        refuse(node, f"expected an integer, got {show(node)}")
    return value


def _triple(node: ast.expr) -> tuple[int, int, int]:
    match node:
        case ast.Tuple(elts=[a, b, c]):
            return _whole(a), _whole(b), _whole(c)
        case _:
            refuse(node, f"expected three integers, got {show(node)}")
