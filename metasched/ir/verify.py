"""Whole-program rules that the nodes cannot check by themselves.

`verify` is run around every primitive in tests and in debug mode. It refuses what is certainly
wrong; where ranges are symbolic or accesses are guarded, it gives the benefit of the doubt.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

from metasched.errors import VerifyError
from metasched.ir.dtype import BOOL
from metasched.ir.expr import (
    TRUE,
    Binary,
    Buffer,
    Expr,
    Extern,
    Load,
    Select,
    Var,
    cast,
    const,
    int_value,
    less,
)
from metasched.ir.extern import EXTERNS, why_not_callable
from metasched.ir.lanes import lane_value
from metasched.ir.printer import free_sizes, print_program
from metasched.ir.regions import leaves, misses
from metasched.ir.scopes import SCOPES
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import (
    Alloc,
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
    hidden_accesses,
)
from metasched.ir.threads import thread_conflicts
from metasched.ir.walk import (
    blocks,
    expr_children,
    free_vars,
    stmt_exprs,
    stores,
    walk,
    walk_expr,
)


def verify(program: Program) -> None:
    """Check the rules of the IR.

    Names are unique identifiers. Variables and buffers are used where they are in sight: a block
    sees its own and outer blocks' iteration variables, sizes and its inner loops. Extents are
    positive, bindings stay in their domain, regions cover accesses (unless the block hides some),
    accesses stay in their buffer.
    Reduce variables index no written element, and only blocks with reduce variables have an init.
    Thread-bound loops of one kernel go together; see `metasched.ir.threads`.

    Raises:
        VerifyError: a rule is broken; one line, then the program with the place marked.
    """
    _Verifier(program).run()


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is in sight at a statement.

    Args:
        loops: extents of the loops since the innermost block began.
        iters: extents of the iteration variables of the blocks around.
        outer: loop variables around the innermost block, out of its sight.
        buffers: declared buffers by name.
        local: names of those declared in the innermost block, which its regions need not name.
        block: the innermost block below the root.
        guarded: whether a condition decides if the place is reached.
    """

    loops: dict[Var, Expr] = field(default_factory=dict[Var, Expr])
    iters: dict[Var, Expr] = field(default_factory=dict[Var, Expr])
    outer: frozenset[Var] = frozenset()
    buffers: dict[str, Buffer] = field(default_factory=dict[str, Buffer])
    local: frozenset[str] = frozenset()
    block: Block | None = None
    guarded: bool = False

    @property
    def ranges(self) -> dict[Var, Expr]:
        return self.iters | self.loops

    def declaring(self, *buffers: Buffer) -> _Scope:
        return replace(
            self,
            buffers=self.buffers | {b.name: b for b in buffers},
            local=self.local | {b.name for b in buffers},
        )

    def inside(self, block: Block, *, root: bool) -> _Scope:
        entered = replace(
            self,
            loops={},
            iters=self.iters | {i.var: i.extent for i in block.iters},
            outer=self.outer | self.loops.keys(),
            local=frozenset(),
            block=None if root else block,
        )
        return entered.declaring(*block.allocs)


_RESERVED: Final = frozenset(keyword.kwlist)


class _Verifier:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._sizes = frozenset(free_sizes(program))

    def run(self) -> None:
        self._check_names()
        for buffer in self._program.params:
            self._check_buffer(buffer, _Scope())
            if buffer.align:
                self._fail(f"parameter '{buffer.name}' has gaps; parameters are dense", buffer.name)
        scope = _Scope().declaring(*self._program.params)
        self._block(self._program.root, scope, root=True)
        for conflict in thread_conflicts(self._program.root):
            self._fail(f"expected {conflict.rule}, got {conflict.given}", conflict.at)

    def _fail(self, message: str, mark: str) -> NoReturn:
        raise VerifyError(f"{message}\n{print_program(self._program, mark=mark)}")

    # -- names ---------------------------------------------------------------------------------

    def _check_names(self) -> None:
        seen = {v.name for v in self._sizes}
        for name in self._declared():
            if not name.isidentifier() or not name.isascii() or name in _RESERVED:
                self._fail(f"'{name}' is no identifier", name)
            if name in seen:
                self._fail(f"the name '{name}' is declared twice", name)
            seen.add(name)
        blocks: set[str] = set()
        for stmt in walk(self._program.root):
            if isinstance(stmt, Block):
                if stmt.name in blocks:
                    self._fail(f"two blocks are named '{stmt.name}'", stmt.name)
                blocks.add(stmt.name)

    def _declared(self) -> Iterator[str]:
        yield from (b.name for b in self._program.params)
        for stmt in walk(self._program.root):
            match stmt:
                case For():
                    yield stmt.var.name
                case Block():
                    yield from (i.var.name for i in stmt.iters)
                    yield from (b.name for b in stmt.allocs)
                case Alloc():
                    yield stmt.buffer.name
                case _:
                    pass

    # -- statements ----------------------------------------------------------------------------

    def _stmt(self, stmt: Stmt, scope: _Scope) -> None:
        match stmt:
            case For():
                self._loop(stmt, scope)
            case Block():
                self._block(stmt, scope)
            case Store():
                self._store(stmt, scope)
            case Seq():
                for part in stmt.stmts:
                    self._stmt(part, scope)
            case If():
                self._condition(stmt.cond, scope, "the condition of an if")
                guarded = replace(scope, guarded=True)
                self._stmt(stmt.then, guarded)
                if stmt.other is not None:
                    self._stmt(stmt.other, guarded)
            case Invoke():
                mark = scope.block.name if scope.block else stmt.fn
                for arg in stmt_exprs(stmt):
                    self._expr(arg, scope, f"an argument of '{stmt.fn}'", mark)
                written = scope.block.writes if scope.block else ()
                for place in stmt.outputs:
                    self._access(place.buffer, place.indices, written, scope)
            case Alloc():
                self._check_buffer(stmt.buffer, scope)
                self._stmt(stmt.body, scope.declaring(stmt.buffer))
            case _:
                raise TypeError(f"not a statement: {stmt!r}")

    def _loop(self, loop: For, scope: _Scope) -> None:
        name = loop.var.name
        self._extent(loop.extent, loop.var, scope, f"loop '{name}'")
        if (loop.kind == "thread") is not (loop.thread is not None):
            self._fail(f"loop '{name}' is {loop.kind}, but its thread axis is {loop.thread}", name)
        self._stmt(loop.body, replace(scope, loops=scope.loops | {loop.var: loop.extent}))

    def _extent(self, extent: Expr, var: Var, scope: _Scope, what: str) -> None:
        self._expr(extent, scope, what, var.name)
        if extent.dtype != var.dtype or not var.dtype.is_int:
            self._fail(f"{what} is {var.dtype}, but its extent is {extent.dtype}", var.name)
        value = int_value(extent)
        if value is not None and value <= 0:
            self._fail(f"{what} has extent {value}; extents are positive", var.name)

    def _condition(self, expr: Expr, scope: _Scope, what: str) -> None:
        mark = scope.block.name if scope.block else self._program.name
        if expr.dtype.scalar != BOOL:
            self._fail(f"{what} is {expr.dtype}, not bool", mark)
        self._expr(expr, scope, what, mark)

    def _check_buffer(self, buffer: Buffer, scope: _Scope) -> None:
        name = buffer.name
        if buffer.scope not in SCOPES:
            self._fail(f"buffer '{name}' lives in unknown memory '{buffer.scope}'", name)
        axes = [axis for axis, _, _ in buffer.align]
        if not set(axes) <= set(range(len(buffer.shape))) or axes != sorted(set(axes)):
            self._fail(f"buffer '{name}' is aligned at the axes {axes}", name)
        if any(factor < 1 for _, factor, _ in buffer.align):
            self._fail(f"buffer '{name}' is aligned to a factor below 1", name)
        for extent in buffer.shape:
            self._expr(extent, scope, f"the shape of '{name}'", name)
            value = int_value(extent)
            if not extent.dtype.is_int or (value is not None and value <= 0):
                self._fail(f"buffer '{name}' has a size of {extent}", name)

    # -- blocks --------------------------------------------------------------------------------

    def _block(self, block: Block, scope: _Scope, *, root: bool = False) -> None:
        what = f"block '{block.name}'"
        if block.predicate.dtype != BOOL:
            self._fail(f"the predicate of {what} is {block.predicate.dtype}", block.name)
        self._expr(block.predicate, scope, f"the predicate of {what}", block.name)
        simplify = Simplifier(scope.ranges)
        for axis in block.iters:
            self._iter(axis, block, scope, simplify)
        inner = scope.inside(block, root=root)
        if not _only_keeps_domains(block):
            inner = replace(inner, guarded=True)
        for buffer in block.allocs:
            self._check_buffer(buffer, inner)
        for region in (*block.reads, *block.writes):
            self._region(region, block, inner)
        self._reduction(block)
        self._nested_regions(block, scope)
        if block.init is not None:
            self._stmt(block.init, inner)
        self._stmt(block.body, inner)

    def _iter(self, axis: IterVar, block: Block, scope: _Scope, simplify: Simplifier) -> None:
        name, what = axis.var.name, f"'{axis.var.name}' of block '{block.name}'"
        self._extent(axis.extent, axis.var, scope, what)
        self._expr(axis.binding, scope, f"the binding of {what}", name)
        if axis.binding.dtype != axis.var.dtype:
            self._fail(f"{what} is {axis.var.dtype}, bound to {axis.binding.dtype}", name)
        surely = block.predicate == TRUE and not scope.guarded
        if surely and leaves(axis.binding, axis.extent, simplify):
            self._fail(f"{what} is bound to {axis.binding}, past its extent {axis.extent}", name)

    def _reduction(self, block: Block) -> None:
        reduced = {i.var for i in block.iters if i.kind == "reduce"}
        if block.init is not None and not reduced:
            self._fail(f"block '{block.name}' has an init but reduces over nothing", block.name)
        local = {b.name for inner in blocks(block) for b in inner.allocs}
        written = [e for r in block.writes for pair in r.ranges for e in pair]
        inside = (s for s in stores(block.body) if s.buffer.name not in local)
        written += [e for s in inside for e in s.indices]
        for expr in written:
            for var in free_vars(expr) & reduced:
                message = f"block '{block.name}' writes at reduce variable '{var.name}'"
                self._fail(f"{message}; reductions write one element for all its values", var.name)

    def _region(self, region: Region, block: Block, scope: _Scope) -> None:
        self._declared_buffer(region.buffer, len(region.ranges), scope, block.name)
        for low, extent in region.ranges:
            for expr in (low, extent):
                self._expr(expr, scope, f"a region of block '{block.name}'", block.name)

    def _nested_regions(self, block: Block, scope: _Scope) -> None:
        """What a block touches, the blocks around it name in their regions too."""
        around = scope.block
        if around is None or any(hidden_accesses(b) for b in (around, *blocks(around.body))):
            return
        local = {b.name for b in around.allocs}
        outer = {r.buffer for r in (*around.reads, *around.writes)}
        for region in (*block.reads, *block.writes):
            if region.buffer not in outer and region.buffer.name not in local:
                self._fail(
                    f"block '{around.name}' does not name '{region.buffer.name}' in its regions, "
                    f"but block '{block.name}' inside uses it",
                    block.name,
                )

    # -- accesses ------------------------------------------------------------------------------

    def _store(self, store: Store, scope: _Scope) -> None:
        what = f"a store to '{store.buffer.name}'"
        for index in store.indices:
            self._expr(index, scope, what, store.buffer.name)
        self._expr(store.value, scope, what, store.buffer.name)
        regions = () if scope.block is None else scope.block.writes
        self._access(store.buffer, store.indices, regions, scope)

    def _expr(self, expr: Expr, scope: _Scope, what: str, mark: str) -> None:
        for node in walk_expr(expr):
            if isinstance(node, Var):
                self._var(node, scope, what, mark)
            elif isinstance(node, Extern) and node.fn in EXTERNS:
                if wrong := why_not_callable(node):
                    self._fail(f"{what}: {wrong}", mark)
        self._loads(expr, scope)

    def _var(self, var: Var, scope: _Scope, what: str, mark: str) -> None:
        if var in scope.ranges or var in self._sizes:
            return
        if var in scope.outer and scope.block is not None:
            self._fail(
                f"{what} uses loop variable '{var.name}' inside block '{scope.block.name}'; "
                "bind it to an iteration variable",
                scope.block.name,
            )
        self._fail(f"{what} uses '{var.name}', which is not in sight there", mark)

    def _loads(self, expr: Expr, scope: _Scope) -> None:
        match expr:
            case Load():
                block = scope.block
                regions = () if block is None else (*block.reads, *block.writes)
                self._access(expr.buffer, expr.indices, regions, scope)
            case Select():
                self._loads(expr.cond, scope)
                guarded = replace(scope, guarded=True)
                self._loads(expr.then, guarded)
                self._loads(expr.other, guarded)
                return
            case Binary(op="and" | "or"):
                self._loads(expr.a, scope)
                self._loads(expr.b, replace(scope, guarded=True))
                return
            case _:
                pass
        for child in expr_children(expr):
            self._loads(child, scope)

    def _declared_buffer(self, buffer: Buffer, rank: int, scope: _Scope, mark: str) -> None:
        known = scope.buffers.get(buffer.name)
        if known is None:
            self._fail(f"buffer '{buffer.name}' is used where it is not declared", mark)
        if known != buffer:
            self._fail(f"buffer '{buffer.name}' is used with another shape, dtype or scope", mark)
        if len(buffer.shape) != rank:
            self._fail(f"buffer '{buffer.name}' is used with {rank} indices", mark)

    def _access(
        self, buffer: Buffer, at: tuple[Expr, ...], regions: Iterable[Region], scope: _Scope
    ) -> None:
        mark = scope.block.name if scope.block else buffer.name
        self._declared_buffer(buffer, len(at), scope, mark)
        lanes = max((i.dtype.lanes for i in at), default=1)
        ranges = scope.ranges
        if lanes > 1:
            # A vector is in bounds, and in the regions, where each of its lanes is.
            lane = Var("lane of a vector")
            ranges = ranges | {lane: const(lanes)}
            at = tuple(lane_value(i, lane) for i in at)
        simplify = Simplifier(ranges)
        for index, size in zip(at, buffer.shape, strict=True):
            if not index.dtype.is_int:
                self._fail(f"buffer '{buffer.name}' is indexed by {index} of {index.dtype}", mark)
            surely = not scope.guarded
            if surely and leaves(cast(index, size.dtype), size, simplify):
                self._fail(f"index {index} of '{buffer.name}' leaves its size {size}", mark)
        if scope.block is None or buffer.name in scope.local:
            return
        element = f"{buffer.name}[{', '.join(str(i) for i in at)}]"
        mine = [r for r in regions if r.buffer == buffer]
        if not mine and hidden_accesses(scope.block):
            return
        if not mine:
            self._fail(f"{element} is used in block '{mark}', which has no region of it", mark)
        if not scope.guarded and all(misses(region, at, simplify) for region in mine):
            self._fail(f"{element} is used in block '{mark}' outside its regions", mark)


def _only_keeps_domains(block: Block) -> bool:
    """Whether a predicate says no more than that iterations stay in their domains.

    Otherwise, as for a split loop that `rfactor` made two iterations of, it also guards accesses.
    """
    domains = {less(it.binding, it.extent) for it in block.iters}
    parts = [block.predicate]
    while parts:
        part = parts.pop()
        if isinstance(part, Binary) and part.op == "and":
            parts += (part.a, part.b)
        elif part != TRUE and part not in domains:
            return False
    return True
