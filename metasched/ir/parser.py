"""Programs from text: ``parse(str(program)) == program``.

The text is read through Python's own grammar and never executed. Size and depth are bounded, as
texts come from databases. `metasched.ir.parse_expr` reads the expressions.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

from metasched.errors import ParseError, UsageError
from metasched.ir.dtype import INT64, DType
from metasched.ir.expr import TRUE, Buffer, Expr, Var
from metasched.ir.parse_expr import (
    Scope,
    read_annotations,
    read_element,
    read_expr,
    read_region,
    read_text,
    read_triples,
    refuse,
    show,
)
from metasched.ir.stmt import (
    Alloc,
    Annotations,
    Block,
    For,
    If,
    Invoke,
    IterKind,
    IterVar,
    LoopKind,
    Program,
    Region,
    Seq,
    Stmt,
    Store,
)
from metasched.ir.walk import as_load

MAX_CHARACTERS: Final = 8_000_000
"""Longest text that is read."""

_LOOPS: Final[dict[str, LoopKind]] = {k: k for k in get_args(LoopKind)}
_ITERS: Final[dict[str, IterKind]] = {k: k for k in get_args(IterKind)}
_CLAUSES: Final = frozenset({"where", "reads", "writes", "annotations"})


def parse(text: str) -> Program:
    """The program of a text that `metasched.ir.printer.print_program` wrote.

    Raises:
        ParseError: the text is no program; the message names the line.

    >>> from metasched import ops
    >>> program = ops.matmul(m=4, n=5, k=6)
    >>> parse(str(program)) == program
    True
    """
    if len(text) > MAX_CHARACTERS:
        raise ParseError(f"line 1: the text has {len(text)} characters, at most {MAX_CHARACTERS}")
    try:
        return _Parser().program(ast.parse(text))
    except SyntaxError as error:
        raise ParseError(f"line {error.lineno or 1}: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise ParseError("line 1: the text is nested too deeply") from None
    except ValueError as error:
        raise ParseError(f"line 1: {error}") from None


@dataclass(frozen=True, slots=True)
class _Call:
    """A call statement or right-hand side taken apart."""

    node: ast.Call
    name: str
    args: list[ast.expr]
    options: dict[str, ast.expr]

    def option(self, key: str) -> str | None:
        found = self.options.get(key)
        return None if found is None else read_text(found)

    @property
    def dtype(self) -> DType:
        name = self.option("dtype")
        return INT64 if name is None else DType.of(name)


def _call(node: ast.AST | None) -> _Call | None:
    """A call of a plain name."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    options = {k.arg: k.value for k in node.keywords if k.arg is not None}
    if len(options) != len(node.keywords):
        refuse(node, f"'{node.func.id}' takes no unpacked arguments")
    return _Call(node, node.func.id, node.args, options)


def _expect(call: _Call, positional: Sequence[int], *options: str) -> None:
    extra = [key for key in call.options if key not in options]
    if len(call.args) not in positional or extra:
        counts = " or ".join(str(n) for n in positional)
        refuse(call.node, f"{show(call.node)}: '{call.name}' takes {counts} arguments")


def _assigned(node: ast.stmt) -> tuple[str, _Call] | None:
    """``name = call(...)``."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            call = _call(value)
            return None if call is None else (name, call)
        case _:
            return None


def _opened(node: ast.stmt) -> tuple[_Call, str | None] | None:
    """``with call(...):`` or ``with call(...) as name:``."""
    match node:
        case ast.With(items=[ast.withitem(context_expr=value, optional_vars=None)]):
            call, name = _call(value), None
        case ast.With(items=[ast.withitem(context_expr=value, optional_vars=ast.Name(id=name))]):
            call = _call(value)
        case _:
            return None
    return None if call is None else (call, name)


@dataclass(slots=True)
class _Header:
    """The clauses in front of a block's body."""

    iters: tuple[IterVar, ...] = ()
    predicate: Expr = TRUE
    reads: tuple[Region, ...] = ()
    writes: tuple[Region, ...] = ()
    annotations: Annotations = ()
    allocs: tuple[Buffer, ...] = ()
    init: Stmt | None = None


class _Parser:
    """Reads statements; remembers the line for errors that nodes themselves raise."""

    def __init__(self) -> None:
        self._line = 1

    # -- program -------------------------------------------------------------------------------

    def program(self, module: ast.Module) -> Program:
        try:
            return self._program(module)
        except UsageError as error:
            raise ParseError(f"line {self._line}: {error}") from None

    def _program(self, module: ast.Module) -> Program:
        match module.body:
            case [ast.FunctionDef(decorator_list=[ast.Name(id="program")]) as function]:
                pass
            case _:
                raise ParseError("line 1: expected one function under '@program'")
        scope = self._sizes(function)
        params = tuple(self._param(a, scope) for a in function.args.args)
        scope = scope.with_buffers(*params)
        opened = _opened(function.body[0])
        if opened is not None and opened[0].name == "root" and len(function.body) == 1:
            root = self._block(opened[0], self._body(function.body[0]), scope)
        else:
            root = self._block_named("root", function.body, scope)
        return Program(function.name, params, root)

    def _sizes(self, function: ast.FunctionDef) -> Scope:
        args = function.args
        if args.posonlyargs or args.vararg or args.kwarg or args.defaults or function.returns:
            refuse(function, f"'{function.name}' takes buffers, and sizes behind '*', only")
        sizes: list[Var] = []
        for arg in args.kwonlyargs:
            if not isinstance(arg.annotation, ast.Name):
                refuse(arg, f"size '{arg.arg}' needs a dtype such as int32")
            sizes.append(Var(arg.arg, DType.of(arg.annotation.id)))
        return Scope().with_vars(*sizes)

    def _param(self, arg: ast.arg, scope: Scope) -> Buffer:
        self._line = arg.lineno
        call = _call(arg.annotation)
        if call is None or call.name != "Buffer":
            refuse(arg, f"parameter '{arg.arg}' needs a Buffer(shape, dtype)")
        return self._buffer(arg.arg, call, scope)

    def _buffer(self, name: str, call: _Call, scope: Scope) -> Buffer:
        _expect(call, (2,), "scope", "align")
        if not isinstance(call.args[0], ast.Tuple):
            refuse(call.node, f"the shape of '{name}' must be a tuple")
        shape = tuple(read_expr(e, scope) for e in call.args[0].elts)
        dtype = DType.of(read_text(call.args[1]))
        align = read_triples(call.options["align"]) if "align" in call.options else ()
        return Buffer(name, shape, dtype, call.option("scope") or "global", align)

    # -- statements ----------------------------------------------------------------------------

    def _body(self, node: ast.stmt) -> list[ast.stmt]:
        return node.body if isinstance(node, ast.With | ast.For | ast.If) else []

    def _suite(self, nodes: Sequence[ast.stmt], scope: Scope) -> Stmt:
        parts: list[Stmt] = []
        if not nodes:
            raise ParseError(f"line {self._line}: expected a statement below")
        if len(nodes) == 1 and isinstance(nodes[0], ast.Pass):
            return Seq(())
        for position, node in enumerate(nodes):
            self._line = node.lineno
            assigned = _assigned(node)
            if assigned is not None and assigned[1].name == "declare":
                buffer = self._buffer(*assigned, scope)
                rest = self._suite(nodes[position + 1 :], scope.with_buffers(buffer))
                parts.append(Alloc(buffer, rest))
                break
            parts.append(self._stmt(node, scope))
        return parts[0] if len(parts) == 1 else Seq(tuple(parts))

    def _stmt(self, node: ast.stmt, scope: Scope) -> Stmt:
        self._line = node.lineno
        match node:
            case ast.For(target=ast.Name(id=name), orelse=[]):
                return self._loop(node, name, scope)
            case ast.If():
                then = self._suite(node.body, scope)
                other = self._suite(node.orelse, scope) if node.orelse else None
                return If(read_expr(node.test, scope), then, other)
            case ast.Assign(targets=[ast.Subscript() as target]):
                element = read_element(target, scope)
                return Store(element.buffer, element.indices, read_expr(node.value, scope))
            case ast.With():
                return self._with(node, scope)
            case ast.Expr(
                value=ast.Call(func=ast.Name(id="invoke"), args=[fn, ast.List(elts=outputs), *args])
            ):
                places = tuple(as_load(read_expr(o, scope)) for o in outputs)
                return Invoke(read_text(fn), places, tuple(read_expr(a, scope) for a in args))
            case _:
                refuse(node, f"{show(node)} is no statement of a program")

    def _loop(self, node: ast.For, name: str, scope: Scope) -> Stmt:
        call = _call(node.iter)
        if call is None or call.name not in _LOOPS:
            refuse(node, f"expected a loop over {', '.join(_LOOPS)}, got {show(node.iter)}")
        _expect(call, (1, 2), "axis", "dtype")
        notes = read_annotations(call.args[1]) if len(call.args) == 2 else ()
        extent, axis = read_expr(call.args[0], scope), call.option("axis")
        var = Var(name, call.dtype)
        body = self._suite(node.body, scope.with_vars(var))
        return For(var, extent, body, _LOOPS[call.name], axis, notes)

    def _with(self, node: ast.With, scope: Scope) -> Stmt:
        match _opened(node):
            case (_Call(name="block") as call, None):
                return self._block(call, node.body, scope)
            case (_Call(name="seq") as call, None):
                _expect(call, (0,))
                empty = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                return Seq(() if empty else tuple(self._stmt(s, scope) for s in node.body))
            case (_Call(name="declare") as call, str() as name):
                buffer = self._buffer(name, call, scope)
                return Alloc(buffer, self._suite(node.body, scope.with_buffers(buffer)))
            case _:
                refuse(node, f"{show(node)} is no statement of a program")

    # -- blocks --------------------------------------------------------------------------------

    def _block(self, call: _Call, nodes: Sequence[ast.stmt], scope: Scope) -> Block:
        _expect(call, (1,))
        return self._block_named(read_text(call.args[0]), nodes, scope)

    def _block_named(self, name: str, nodes: Sequence[ast.stmt], scope: Scope) -> Block:
        count = next((i for i, n in enumerate(nodes) if not _is_clause(n)), len(nodes))
        header = _Header()
        inner = self._declarations(nodes[:count], header, scope)
        for node in nodes[:count]:
            self._line = node.lineno
            self._clause(node, header, scope, inner)
        body = self._suite(nodes[count:], inner)
        return Block(
            name,
            header.iters,
            header.reads,
            header.writes,
            body,
            header.init,
            header.predicate,
            header.allocs,
            header.annotations,
        )

    def _declarations(self, nodes: Sequence[ast.stmt], header: _Header, scope: Scope) -> Scope:
        """Read iteration variables and allocations first: other clauses may use them."""
        inner = scope
        for node in nodes:
            self._line = node.lineno
            assigned = _assigned(node)
            if assigned is None:
                continue
            name, call = assigned
            if call.name == "alloc":
                buffer = self._buffer(name, call, scope)
                header.allocs = (*header.allocs, buffer)
                inner = inner.with_buffers(buffer)
            else:
                _expect(call, (2,), "dtype")
                extent, binding = (read_expr(a, scope) for a in call.args)
                var = Var(name, call.dtype)
                header.iters = (*header.iters, IterVar(var, extent, _ITERS[call.name], binding))
                inner = inner.with_vars(var)
        return inner

    def _clause(self, node: ast.stmt, header: _Header, scope: Scope, inner: Scope) -> None:
        if isinstance(node, ast.With):
            header.init = self._suite(node.body, inner)
            return
        call = _call(node.value) if isinstance(node, ast.Expr) else None
        match call:
            case _Call(name="where"):
                _expect(call, (1,))
                header.predicate = read_expr(call.args[0], scope)
            case _Call(name="reads" | "writes"):
                _expect(call, range(1, len(call.args) + 1))
                regions = tuple(read_region(a, inner) for a in call.args)
                setattr(header, call.name, regions)
            case _Call(name="annotations"):
                _expect(call, (1,))
                header.annotations = read_annotations(call.args[0])
            case _:
                pass


def _is_clause(node: ast.stmt) -> bool:
    """Whether a statement belongs to the header of a block."""
    match node:
        case ast.Assign():
            assigned = _assigned(node)
            return assigned is not None and assigned[1].name in (*_ITERS, "alloc")
        case ast.Expr():
            call = _call(node.value)
            return call is not None and call.name in _CLAUSES
        case ast.With():
            opened = _opened(node)
            return opened is not None and opened[0].name == "init" and opened[1] is None
        case _:
            return False
