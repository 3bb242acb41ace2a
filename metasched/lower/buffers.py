"""Pass 2: every intermediate buffer gets the smallest extent and the innermost place it can have.

A buffer is allocated around the innermost statement that encloses all its accesses and the loops
that carry its contents from one iteration to the next, and keeps only the box that one execution
of that statement touches. Read `guards` next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from metasched.ir.expr import Buffer, Expr, Load, Var, const, int_value, sub
from metasched.ir.lanes import lane_value, shifted
from metasched.ir.procedure import PROCEDURES, meaning_of
from metasched.ir.stmt import Alloc, For, If, Invoke, Seq, Stmt, Store
from metasched.ir.threads import COMMON_SCOPES, is_thread
from metasched.ir.walk import expr_loads, map_expr, map_exprs, map_stmts, stmt_exprs, substitute
from metasched.lower.scope import Scope


@dataclass(frozen=True, slots=True)
class _Access:
    indices: tuple[Expr, ...]
    loops: tuple[For, ...]


@dataclass(slots=True)
class _Uses:
    """Where a buffer is used: the path (preorder numbers) to the common ancestor, and how."""

    path: tuple[int, ...]
    accesses: list[_Access] = field(default_factory=list[_Access])


@dataclass(frozen=True, slots=True)
class _Placed:
    """A compacted buffer and the first index of its box in the old one."""

    buffer: Buffer
    first: tuple[Expr, ...]


def place_buffers(stmt: Stmt, scope: Scope) -> Stmt:
    """Wrap each intermediate's uses in an `Alloc` of the box that is touched there."""
    finder = _Finder(scope)
    finder.visit(stmt, (), ())
    by_node: dict[int, list[Buffer]] = {}
    for buffer, uses in finder.uses.items():
        by_node.setdefault(uses.path[-1], []).append(buffer)
    placed: dict[Buffer, _Placed] = {}
    for buffer, uses in finder.uses.items():
        outer = finder.loops_at[uses.path[-1]]
        placed[buffer] = _compact(buffer, uses.accesses, outer, scope)
    return _Rewriter(scope, by_node, placed).visit(stmt)


@dataclass(slots=True)
class _Finder:
    scope: Scope
    uses: dict[Buffer, _Uses] = field(default_factory=dict[Buffer, _Uses])
    loops_at: dict[int, int] = field(default_factory=dict[int, int])
    """By preorder number, how many loops enclose the statement."""
    paths: dict[Var, tuple[int, ...]] = field(default_factory=dict[Var, tuple[int, ...]])
    """By variable, the path to a loop."""
    count: int = 0

    def visit(self, stmt: Stmt, path: tuple[int, ...], loops: tuple[For, ...]) -> None:
        number = self.count
        self.count += 1
        self.loops_at[number] = len(loops)
        # A buffer inside a vectorised loop would need one copy a lane: place it outside.
        if not any(loop.kind == "vectorized" for loop in loops):
            path = (*path, number)
        for expr in stmt_exprs(stmt):
            for load in expr_loads(expr):
                self.note(load.buffer, self.access(load.indices, loops), path)
        match stmt:
            case Store():
                self.note(stmt.buffer, self.access(stmt.indices, loops), path)
            case For():
                self.paths[stmt.var] = path
                self.visit(stmt.body, path, (*loops, stmt))
            case Seq():
                for child in stmt.stmts:
                    self.visit(child, path, loops)
            case If():
                self.visit(stmt.then, path, loops)
                if stmt.other is not None:
                    self.visit(stmt.other, path, loops)
            case Invoke():
                self.reach(stmt, path, loops)
            case _:
                raise TypeError(f"not expected before buffers are placed: {type(stmt).__name__}")

    def reach(self, call: Invoke, path: tuple[int, ...], loops: tuple[For, ...]) -> None:
        """Note all elements that a procedure touches."""
        if call.fn not in PROCEDURES:
            return
        inner = meaning_of(call, self.scope.fresh_var)
        while isinstance(inner, For):
            loops, inner = (*loops, inner), inner.body
        assert isinstance(inner, Store)
        self.note(inner.buffer, self.access(inner.indices, loops), path)
        for load in expr_loads(inner.value):
            self.note(load.buffer, self.access(load.indices, loops), path)

    def access(self, indices: tuple[Expr, ...], loops: tuple[For, ...]) -> _Access:
        """An access; the lanes of a vector count like a loop around it."""
        lanes = max((i.dtype.lanes for i in indices), default=1)
        if lanes == 1:
            return _Access(indices, loops)
        extent = const(lanes)
        lane = self.scope.fresh_var("lane", extent)
        at = tuple(lane_value(i, lane) for i in indices)
        return _Access(at, (*loops, For(lane, extent, Seq(()))))

    def note(self, buffer: Buffer, access: _Access, path: tuple[int, ...]) -> None:
        if buffer in self.scope.params:
            return
        carried = self.scope.carried.get(buffer, ())
        outermost = next((loop.var for loop in access.loops if loop.var in carried), None)
        path = path if outermost is None else self.paths[outermost]
        uses = self.uses.get(buffer)
        if uses is None:
            uses = self.uses[buffer] = _Uses(path)
        else:
            shared = 0
            for a, b in zip(uses.path, path, strict=False):
                if a != b:
                    break
                shared += 1
            uses.path = path[:shared]
        uses.accesses.append(access)


@dataclass(frozen=True, slots=True)
class _Rewriter:
    scope: Scope
    by_node: dict[int, list[Buffer]]
    placed: dict[Buffer, _Placed]
    counter: list[int] = field(default_factory=lambda: [0])

    def visit(self, stmt: Stmt) -> Stmt:
        number = self.counter[0]
        self.counter[0] += 1
        if isinstance(stmt, Store):
            result: Stmt = self.store(stmt)
        elif isinstance(stmt, Invoke):
            result = map_exprs(stmt, self.expr)
        elif isinstance(stmt, If):
            then = self.visit(stmt.then)
            other = None if stmt.other is None else self.visit(stmt.other)
            result = If(self.expr(stmt.cond), then, other)
        else:
            result = map_stmts(stmt, self.visit)
        for buffer in reversed(self.by_node.get(number, ())):
            result = Alloc(self.placed[buffer].buffer, result)
        return result

    def store(self, stmt: Store) -> Store:
        indices = tuple(self.expr(i) for i in stmt.indices)
        value = self.expr(stmt.value)
        found = self.placed.get(stmt.buffer)
        if found is None:
            return Store(stmt.buffer, indices, value)
        return Store(found.buffer, self.shift(indices, found), value)

    def expr(self, expr: Expr) -> Expr:
        result = map_expr(expr, self.expr)
        if type(result) is Load and (found := self.placed.get(result.buffer)) is not None:
            return Load(found.buffer, self.shift(result.indices, found))
        return result

    def shift(self, indices: tuple[Expr, ...], placed: _Placed) -> tuple[Expr, ...]:
        return tuple(
            sub(i, f) if i.dtype.lanes == 1 else shifted(i, -f)
            for i, f in zip(indices, placed.first, strict=True)
        )


def _compact(buffer: Buffer, accesses: list[_Access], outer: int, scope: Scope) -> _Placed:
    first: list[Expr] = []
    shape: list[Expr] = []
    for dim, size in enumerate(buffer.shape):
        box = None
        if outer:
            box = _box([(a.indices[dim], _moving(buffer, a.loops, outer)) for a in accesses], scope)
        extent = None if box is None else box[1]
        full = int_value(size)
        threaded = any(is_thread(loop) for a in accesses for loop in a.loops)
        most = None if full is None else full if threaded else full - 1
        # Of a thread's own box no index tells threads apart, even where guards leave some out.
        own = threaded and buffer.scope == "local" and box and int_value(box[0]) is None
        if box is None or extent is None or (most is not None and extent > most and not own):
            first.append(const(0))
            shape.append(size)
        else:
            first.append(box[0])
            shape.append(const(extent))
    return _Placed(replace(buffer, shape=tuple(shape)), tuple(first))


def _moving(buffer: Buffer, loops: tuple[For, ...], outer: int) -> tuple[For, ...]:
    """The loops that a buffer's box spans: those inside its place, and the threads sharing it."""
    around = loops[:outer] if buffer.scope in COMMON_SCOPES else ()
    return (*(loop for loop in around if is_thread(loop)), *loops[outer:])


def _box(uses: list[tuple[Expr, tuple[For, ...]]], scope: Scope) -> tuple[Expr, int] | None:
    """The first index and the extent that cover all uses, or None where not constant."""
    simplify = scope.simplify
    anchor: Expr | None = None
    low = high = 0
    for index, loops in uses:
        zeros: dict[Var, Expr] = {loop.var: const(0, loop.var.dtype) for loop in loops}
        start = simplify(substitute(index, zeros))
        if anchor is None:
            anchor = start
        span = simplify.bounds(sub(index, start))
        shift = int_value(simplify(sub(start, anchor)))
        if shift is None or span[0] is None or span[1] is None:
            return None
        low, high = min(low, shift + span[0]), max(high, shift + span[1])
    assert anchor is not None
    return simplify(anchor + low), high - low + 1
