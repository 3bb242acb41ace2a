"""Programs as Python-like text: what `str` shows, errors mark and databases store.

Equal programs give equal text, and `metasched.ir.parser.parse` reads every text back to an equal
program, so nothing is abbreviated that could not be recovered: int64 constants are bare, all
others carry their dtype, and expressions keep their exact grouping. Read `parser` next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from metasched.ir.dtype import BOOL, INT64, DType
from metasched.ir.expr import (
    TRUE,
    Binary,
    Broadcast,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Extern,
    Load,
    Ramp,
    Select,
    Var,
    int_value,
)
from metasched.ir.stmt import (
    Alloc,
    Annotations,
    AnnotationValue,
    Block,
    For,
    If,
    Invoke,
    IterVar,
    Program,
    Region,
    Seq,
    Stmt,
    Store,
)
from metasched.ir.walk import stmt_exprs, walk, walk_expr

OPERATORS: Final[dict[str, tuple[str, int]]] = {
    "or": ("or", 1),
    "and": ("and", 2),
    "eq": ("==", 4),
    "ne": ("!=", 4),
    "lt": ("<", 4),
    "le": ("<=", 4),
    "add": ("+", 5),
    "sub": ("-", 5),
    "mul": ("*", 6),
    "div": ("/", 6),
    "floordiv": ("//", 6),
    "floormod": ("%", 6),
}
"""Python's sign and binding strength of each operation; the others print as calls."""

_NOT: Final = 3
_COMPARISON: Final = 4
_INDENT: Final = "    "


def print_expr(expr: Expr) -> str:
    """The text of an expression.

    >>> i = Var("i")
    >>> print_expr((i + 1) * 8)
    '(i + 1) * 8'
    """
    return _expr(expr, 0)


def print_stmt(stmt: Stmt, *, mark: str | None = None) -> str:
    """The text of a statement; ``mark`` as in `print_program`."""
    return "\n".join(_Printer(mark).suite(stmt, 0))


def print_program(program: Program, *, mark: str | None = None) -> str:
    """The text of a program.

    Args:
        program: what to print.
        mark: name of a loop variable, block or buffer; the lines that introduce it end in a
            ``# <--`` note, as error messages want.
    """
    printer = _Printer(mark)
    names = [b.name for b in program.params]
    header = printer.noted(f"def {program.name}({_signature(program)}):", *names)
    return "\n".join(("@program", header, *printer.root(program.root)))


def quote(text: str) -> str:
    """A Python string literal, in double quotes where that needs no escape.

    >>> print(quote("a"), quote('say "a"'))
    "a" 'say "a"'
    """
    literal = repr(text)
    return literal if literal[0] == '"' or '"' in text else f'"{literal[1:-1]}"'


# -- expressions -------------------------------------------------------------------------------


def _expr(expr: Expr, level: int) -> str:
    """``expr`` in parentheses if it binds weaker than ``level``."""
    match expr:
        case Var():
            return expr.name
        case Const():
            return _const(expr)
        case Binary():
            return _binary(expr, level)
        case Call(fn="not"):
            text = f"not {_expr(expr.args[0], _NOT)}"
            return f"({text})" if level > _NOT else text
        case Call():
            return f"{expr.fn}({_exprs(expr.args)})"
        case Extern():
            head = f"{quote(expr.fn)}, {quote(str(expr.dtype))}"
            return f"extern({head}{''.join(f', {_expr(a, 0)}' for a in expr.args)})"
        case Cast():
            return f"cast({_expr(expr.value, 0)}, {quote(str(expr.dtype))})"
        case Select():
            return f"if_then_else({_exprs((expr.cond, expr.then, expr.other))})"
        case Load():
            return _element(expr.buffer, expr.indices)
        case Ramp():
            return f"ramp({_exprs((expr.base, expr.stride))}, {expr.lanes})"
        case Broadcast():
            return f"broadcast({_expr(expr.value, 0)}, {expr.lanes})"
        case _:
            raise TypeError(f"not an expression: {expr!r}")


def _exprs(exprs: Iterable[Expr]) -> str:
    return ", ".join(_expr(e, 0) for e in exprs)


def _binary(expr: Binary, level: int) -> str:
    if expr.op not in OPERATORS:
        return f"{expr.op}({_exprs((expr.a, expr.b))})"
    sign, own = OPERATORS[expr.op]
    # Operators group to the left, save comparisons, which Python would chain.
    left = own + 1 if own == _COMPARISON else own
    text = f"{_expr(expr.a, left)} {sign} {_expr(expr.b, own + 1)}"
    return f"({text})" if level > own else text


def _const(expr: Const) -> str:
    if expr.dtype in (INT64, BOOL):
        return str(expr.value)
    return f"{expr.dtype}({_number(expr.value)})"


def _number(value: int | float) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return repr(value)


def _element(buffer: Buffer, indices: Sequence[Expr]) -> str:
    return f"{buffer.name}[{_exprs(indices) or '()'}]"


def _region(region: Region) -> str:
    ranges = ", ".join(_range(low, extent) for low, extent in region.ranges)
    return f"{region.buffer.name}[{ranges or '()'}]"


def _range(low: Expr, extent: Expr) -> str:
    """A Python slice whose upper end is written so that the extent can be read off again."""
    if extent == Const(1, low.dtype):
        return _expr(low, 0)
    start, size = int_value(low), int_value(extent)
    if start == 0 and low.dtype == extent.dtype:
        return f"{_expr(low, 0)}:{_expr(extent, 0)}"
    if start is not None and size is not None and low.dtype == extent.dtype:
        return f"{_expr(low, 0)}:{_const(Const(start + size, low.dtype))}"
    return f"{_expr(low, 0)}:{_expr(low, 5)} + {_expr(extent, 6)}"


def _shape(shape: tuple[Expr, ...]) -> str:
    return f"({_exprs(shape)},)" if len(shape) == 1 else f"({_exprs(shape)})"


def _array(kind: str, buffer: Buffer) -> str:
    scope = "" if buffer.scope == "global" else f", scope={quote(buffer.scope)}"
    align = f", align={buffer.align}" if buffer.align else ""
    return f"{kind}({_shape(buffer.shape)}, {quote(str(buffer.dtype))}{scope}{align})"


def _annotations(annotations: Annotations) -> str:
    items = (f"{quote(key)}: {_annotation(value)}" for key, value in annotations)
    return f"{{{', '.join(items)}}}"


def _annotation(value: AnnotationValue) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, tuple):
        items = [_annotation(v) for v in value]
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    return _number(value)


def _dtype(dtype: DType) -> str:
    return "" if dtype == INT64 else f", dtype={quote(str(dtype))}"


# -- statements --------------------------------------------------------------------------------


class _Printer:
    """Prints statements as lines, with a note behind those that introduce ``mark``."""

    def __init__(self, mark: str | None) -> None:
        self._mark = mark

    def noted(self, line: str, *names: str) -> str:
        return f"{line}  # <--" if self._mark in names else line

    def suite(self, stmt: Stmt, depth: int) -> Iterator[str]:
        """The statements of an indented suite; an allocation at its end spans the rest of it."""
        pad = _INDENT * depth
        match stmt:
            case Seq(stmts=()):
                yield f"{pad}pass"
            case Seq(stmts=(_, _, *_)):
                for part in stmt.stmts[:-1]:
                    yield from self.nested(part, depth)
                last = stmt.stmts[-1]
                in_suite = self.nested if isinstance(last, Seq) else self.suite
                yield from in_suite(last, depth)
            case Alloc():
                line = f"{pad}{stmt.buffer.name} = {_array('declare', stmt.buffer)}"
                yield self.noted(line, stmt.buffer.name)
                yield from self.suite(stmt.body, depth)
            case _:
                yield from self.nested(stmt, depth)

    def nested(self, stmt: Stmt, depth: int) -> Iterator[str]:
        """One statement among others."""
        pad = _INDENT * depth
        match stmt:
            case For():
                yield self.noted(f"{pad}{_loop(stmt)}:", stmt.var.name)
                yield from self.suite(stmt.body, depth + 1)
            case Block():
                yield self.noted(f"{pad}with block({quote(stmt.name)}):", stmt.name)
                yield from self._block(stmt, depth + 1)
            case Store():
                target = _element(stmt.buffer, stmt.indices)
                yield f"{pad}{target} = {_expr(stmt.value, 0)}"
            case If():
                yield from self._branch(stmt, depth, "if")
            case Alloc():
                line = f"{pad}with {_array('declare', stmt.buffer)} as {stmt.buffer.name}:"
                yield self.noted(line, stmt.buffer.name)
                yield from self.suite(stmt.body, depth + 1)
            case Invoke():
                outputs = f"[{', '.join(_expr(o, 0) for o in stmt.outputs)}]"
                args = (quote(stmt.fn), outputs, *(_expr(a, 0) for a in stmt.args))
                yield f"{pad}invoke({', '.join(args)})"
            case Seq():
                yield f"{pad}with seq():"
                yield from self._plain_seq(stmt, depth + 1)
            case _:
                raise TypeError(f"not a statement: {stmt!r}")

    def _plain_seq(self, stmt: Seq, depth: int) -> Iterator[str]:
        if not stmt.stmts:
            yield f"{_INDENT * depth}pass"
        for part in stmt.stmts:
            yield from self.nested(part, depth)

    def _branch(self, stmt: If, depth: int, word: str) -> Iterator[str]:
        pad = _INDENT * depth
        yield f"{pad}{word} {_expr(stmt.cond, 0)}:"
        yield from self.suite(stmt.then, depth + 1)
        if isinstance(stmt.other, If):
            yield from self._branch(stmt.other, depth, "elif")
        elif stmt.other is not None:
            yield f"{pad}else:"
            yield from self.suite(stmt.other, depth + 1)

    def _block(self, block: Block, depth: int) -> Iterator[str]:
        pad = _INDENT * depth
        for axis in block.iters:
            yield self.noted(f"{pad}{_iter(axis)}", axis.var.name)
        if block.predicate != TRUE:
            yield f"{pad}where({_expr(block.predicate, 0)})"
        for word, regions in (("reads", block.reads), ("writes", block.writes)):
            if regions:
                yield f"{pad}{word}({', '.join(_region(r) for r in regions)})"
        if block.annotations:
            yield f"{pad}annotations({_annotations(block.annotations)})"
        for buffer in block.allocs:
            line = f"{pad}{buffer.name} = {_array('alloc', buffer)}"
            yield self.noted(line, buffer.name)
        if block.init is not None:
            yield f"{pad}with init():"
            yield from self.suite(block.init, depth + 1)
        yield from self.suite(block.body, depth)

    def root(self, block: Block) -> Iterator[str]:
        """The root block, implicit unless it holds more than allocations and annotations."""
        plain = Block(
            "root", (), (), (), block.body, allocs=block.allocs, annotations=block.annotations
        )
        if block == plain:
            yield from self._block(block, 1)
        else:
            yield self.noted(f"{_INDENT}with root({quote(block.name)}):", block.name)
            yield from self._block(block, 2)


def _loop(stmt: For) -> str:
    notes = f", {_annotations(stmt.annotations)}" if stmt.annotations else ""
    axis = "" if stmt.thread is None else f", axis={quote(stmt.thread)}"
    extent = _expr(stmt.extent, 0)
    return f"for {stmt.var.name} in {stmt.kind}({extent}{notes}{axis}{_dtype(stmt.var.dtype)})"


def _iter(axis: IterVar) -> str:
    domain = _exprs((axis.extent, axis.binding))
    return f"{axis.var.name} = {axis.kind}({domain}{_dtype(axis.var.dtype)})"


# -- signature ---------------------------------------------------------------------------------


def _signature(program: Program) -> str:
    """Parameters, then as keyword-only ones the sizes that are not int64."""
    buffers = [f"{b.name}: {_array('Buffer', b)}" for b in program.params]
    sizes = [f"{v.name}: {v.dtype}" for v in free_sizes(program) if v.dtype != INT64]
    return ", ".join([*buffers, "*", *sizes] if sizes else buffers)


def free_sizes(program: Program) -> tuple[Var, ...]:
    """The symbolic sizes of a program in order of appearance: variables that nothing binds."""
    bound: set[Var] = set()
    seen: dict[Var, None] = {}
    for expr in _program_exprs(program):
        seen.update((e, None) for e in walk_expr(expr) if type(e) is Var)
    for stmt in walk(program.root):
        match stmt:
            case For():
                bound.add(stmt.var)
            case Block():
                bound.update(i.var for i in stmt.iters)
            case _:
                pass
    return tuple(v for v in seen if v not in bound)


def _program_exprs(program: Program) -> Iterator[Expr]:
    for buffer in program.params:
        yield from buffer.shape
    for stmt in walk(program.root):
        yield from stmt_exprs(stmt)
        match stmt:
            case Block():
                yield from (e for b in stmt.allocs for e in b.shape)
            case Alloc():
                yield from stmt.buffer.shape
            case _:
                pass
