"""Structural hash and equality: what a program computes and how, whatever its names.

Variables and buffers are numbered in order of appearance; names of blocks and of the program do
not count. Dtypes, shapes, scopes, constants, annotations and the order of the parameters do. The
hash is stable across processes and versions of Python, so databases key on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from metasched.ir.expr import (
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
)
from metasched.ir.stmt import (
    Alloc,
    Annotations,
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


def structural_hash(program: Program) -> str:
    """The SHA-256 of a program's structure, in hexadecimal.

    Programs of equal hash compute the same and are scheduled alike; only names may differ.
    """
    return hashlib.sha256(_encode(program).encode()).hexdigest()


def structural_equal(a: Program, b: Program) -> bool:
    """Whether two programs differ in names at most."""
    return a == b or _encode(a) == _encode(b)


def _encode(program: Program) -> str:
    encoder = _Encoder()
    encoder.buffers(program.params)
    encoder.block(program.root)
    return " ".join(encoder.tokens)


class _Encoder:
    """Writes a program in prefix notation; every construct has a tag and a known length."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self._vars: dict[Var, str] = {}
        self._buffers: dict[Buffer, str] = {}
        self._count = 0

    def _bind(self, var: Var) -> None:
        """Number a variable anew where something binds it."""
        self._vars[var] = f"v{self._count}"
        self._count += 1
        self.tokens.append(str(var.dtype))

    def buffers(self, buffers: Iterable[Buffer]) -> None:
        items = tuple(buffers)
        self.tokens.append(str(len(items)))
        for buffer in items:
            self._declare(buffer)

    def _declare(self, buffer: Buffer) -> None:
        self._buffers[buffer] = f"b{self._count}"
        self._count += 1
        self.tokens += ("buffer", str(buffer.dtype), buffer.scope)
        self.exprs(buffer.shape)
        if buffer.align:
            self.tokens += ("align", repr(buffer.align))

    def _buffer(self, buffer: Buffer) -> None:
        name = self._buffers.get(buffer)
        if name is None:
            self._declare(buffer)
        else:
            self.tokens.append(name)

    def exprs(self, exprs: tuple[Expr, ...]) -> None:
        self.tokens.append(str(len(exprs)))
        for expr in exprs:
            self.expr(expr)

    def expr(self, expr: Expr) -> None:
        tokens = self.tokens
        match expr:
            case Var():
                if expr not in self._vars:
                    self._bind(expr)
                tokens.append(self._vars[expr])
            case Const():
                tokens += (str(expr.dtype), repr(expr.value))
            case Binary():
                tokens.append(expr.op)
                self.expr(expr.a)
                self.expr(expr.b)
            case Load():
                tokens.append("load")
                self._buffer(expr.buffer)
                self.exprs(expr.indices)
            case Call():
                tokens.append(expr.fn)
                self.exprs(expr.args)
            case Extern():
                tokens += ("extern", expr.fn, str(expr.dtype))
                self.exprs(expr.args)
            case Cast():
                tokens += ("cast", str(expr.dtype))
                self.expr(expr.value)
            case Select():
                tokens.append("select")
                self.exprs((expr.cond, expr.then, expr.other))
            case Ramp():
                tokens += ("ramp", str(expr.lanes))
                self.exprs((expr.base, expr.stride))
            case Broadcast():
                tokens += ("broadcast", str(expr.lanes))
                self.expr(expr.value)
            case _:
                raise TypeError(f"not an expression: {expr!r}")

    def stmt(self, stmt: Stmt | None) -> None:
        tokens = self.tokens
        match stmt:
            case None:
                tokens.append("none")
            case For():
                tokens += ("for", stmt.kind, stmt.thread or "-")
                self.expr(stmt.extent)
                self._bind(stmt.var)
                self._annotations(stmt.annotations)
                self.stmt(stmt.body)
            case Block():
                self.block(stmt)
            case Store():
                tokens.append("store")
                self._buffer(stmt.buffer)
                self.exprs(stmt.indices)
                self.expr(stmt.value)
            case Seq():
                tokens += ("seq", str(len(stmt.stmts)))
                for part in stmt.stmts:
                    self.stmt(part)
            case If():
                tokens.append("if")
                self.expr(stmt.cond)
                self.stmt(stmt.then)
                self.stmt(stmt.other)
            case Invoke():
                tokens += ("invoke", stmt.fn, str(len(stmt.outputs)), str(len(stmt.args)))
                self.exprs((*stmt.outputs, *stmt.args))
            case Alloc():
                tokens.append("alloc")
                self._declare(stmt.buffer)
                self.stmt(stmt.body)
            case _:
                raise TypeError(f"not a statement: {stmt!r}")

    def block(self, block: Block) -> None:
        self.tokens += ("block", str(len(block.iters)))
        for axis in block.iters:
            self._iter(axis)
        self.expr(block.predicate)
        self.buffers(block.allocs)
        self._regions(block.reads)
        self._regions(block.writes)
        self._annotations(block.annotations)
        self.stmt(block.init)
        self.stmt(block.body)

    def _iter(self, axis: IterVar) -> None:
        self.tokens.append(axis.kind)
        self.expr(axis.extent)
        self.expr(axis.binding)
        self._bind(axis.var)

    def _regions(self, regions: tuple[Region, ...]) -> None:
        self.tokens.append(str(len(regions)))
        for region in regions:
            self._buffer(region.buffer)
            for low, extent in region.ranges:
                self.expr(low)
                self.expr(extent)

    def _annotations(self, annotations: Annotations) -> None:
        self.tokens.append(repr(sorted(annotations)) if annotations else "-")
