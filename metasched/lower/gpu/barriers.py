"""Pass: barriers where one thread needs what another one did, and nowhere else.

The statements are followed in the order of execution. What was touched since the last barrier is
compared with what comes next, element by element and thread by thread (`footprints`); only where
two threads meet does a barrier go in between. A loop that needs one from its end to its beginning
gets it at its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from metasched.errors import CodegenError
from metasched.ir.expr import Buffer, Expr, Var, const, int_value
from metasched.ir.procedure import PROCEDURES
from metasched.ir.stmt import Alloc, For, If, Invoke, Seq, Stmt, Store, seq
from metasched.ir.threads import COMMON_SCOPES
from metasched.ir.walk import as_load, child_stmts, loads, map_stmts, stmt_exprs, stores, walk
from metasched.lower.affine import has_load, variables
from metasched.lower.gpu.async_copies import is_done
from metasched.lower.gpu.footprints import Access, Footprints, accesses_of
from metasched.lower.gpu.kernel import BARRIER, HERE, Kernel
from metasched.lower.scope import Scope

_WAIT: Final = Invoke(BARRIER)


@dataclass(frozen=True, slots=True)
class _Part:
    """A statement with its barriers, and what is touched outside of them.

    Args:
        stmt: the statement.
        head: accesses that no barrier inside comes before.
        tail: accesses that no barrier inside comes after.
        synced: whether a barrier inside is always met.
    """

    stmt: Stmt
    head: tuple[Access, ...] = ()
    tail: tuple[Access, ...] = ()
    synced: bool = False


def place_barriers(kernel: Kernel, scope: Scope) -> Kernel:
    """The kernel with the barriers that it needs.

    Raises:
        CodegenError: a barrier would be needed where not all threads of a block get to.
    """
    if kernel.threads == 1:
        return replace(kernel, body=_with_places(kernel.body, ()))
    placing = _Barriers(
        scope,
        Footprints(kernel.thread_axes, scope),
        frozenset(axis.var for axis in kernel.thread_axes if axis.extent > 1),
        _exchanged(kernel.body),
    )
    late = placing.visit(_with_places(kernel.body, ()), ()).stmt
    if HERE not in list(walk(kernel.body)):
        return replace(kernel, body=late)
    early = placing.visit(_with_places(kernel.body, (_WAIT,)), ()).stmt
    return replace(kernel, body=min((late, early), key=_waiting))


def _with_places(stmt: Stmt, instead: tuple[Stmt, ...]) -> Stmt:
    """The statement with something else in the places that are good for a barrier."""
    if isinstance(stmt, Seq):
        parts = [instead if s == HERE else (_with_places(s, instead),) for s in stmt.stmts]
        return seq(*(s for part in parts for s in part))
    return map_stmts(stmt, lambda s: _with_places(s, instead))


def _waiting(stmt: Stmt) -> int:
    """How many barriers a thread meets."""
    if stmt == _WAIT:
        return 1
    inside = sum(_waiting(child) for child in child_stmts(stmt))
    return inside * (int_value(stmt.extent) or 1) if isinstance(stmt, For) else inside


def _exchanged(body: Stmt) -> frozenset[Buffer]:
    """The buffers through which threads may exchange values: written ones in common memory."""
    calls = [s for s in walk(body) if isinstance(s, Invoke)]
    outputs = [o.buffer for call in calls for o in call.outputs]
    written = [b for b in (*(s.buffer for s in stores(body)), *outputs) if b.scope in COMMON_SCOPES]
    read = {load.buffer for load in loads(body)}
    several = {b for b in written if written.count(b) > 1}
    return frozenset(b for b in written if b in read or b in several)


@dataclass(frozen=True, slots=True)
class _Barriers:
    scope: Scope
    footprints: Footprints
    threads: frozenset[Var]
    exchanged: frozenset[Buffer]
    varying: dict[Var, Expr] = field(default_factory=dict[Var, Expr])

    def visit(self, stmt: Stmt, conditions: tuple[Expr, ...]) -> _Part:
        match stmt:
            case Seq():
                return self.sequence(stmt, conditions)
            case For():
                return self.loop(stmt, conditions)
            case If():
                return self.branch(stmt, conditions)
            case Alloc():
                part = self.visit(stmt.body, conditions)
                return replace(part, stmt=replace(stmt, body=part.stmt))
            case Store():
                found = self.reads(stmt, conditions)
                if stmt.buffer in self.exchanged:
                    own = Access(stmt.buffer, stmt.indices[0], True, (), conditions)
                    found = (*found, own)
                return _Part(stmt, found, found)
            case Invoke() if stmt == _WAIT:
                return _Part(stmt, (), (), True)
            case Invoke():
                found = tuple(self.reached(stmt, conditions))
                return _Part(stmt, found, found)
            case _:
                return _Part(stmt)

    def reached(self, call: Invoke, conditions: tuple[Expr, ...]) -> Iterator[Access]:
        """All elements of the tiles in common memory that a procedure touches."""
        if is_done(call):
            (place,) = call.outputs
            if place.buffer in self.exchanged:
                yield Access(place.buffer, place.indices[0], True, (), conditions)
        if call.fn not in PROCEDURES:
            return
        params = PROCEDURES[call.fn].params
        places = (
            *call.outputs,
            *(as_load(a) for a in call.args[: len(params) - len(call.outputs)]),
        )
        strides = iter(call.args[len(params) - len(call.outputs) :])
        for number, (place, (_, param)) in enumerate(zip(places, params, strict=True)):
            steps = (*islice(strides, param.strides), const(1))
            if place.buffer in self.exchanged:
                index, inner = place.indices[0], list[tuple[Var, int]]()
                for extent, step in zip(param.shape[-len(steps) :], steps, strict=True):
                    var = self.scope.fresh_var("tile", const(extent))
                    index, inner = index + var * step, [*inner, (var, extent)]
                at = self.scope.simplify(index)
                writes = number < len(call.outputs)
                yield Access(place.buffer, at, writes, tuple(inner), conditions)

    def reads(self, stmt: Stmt, conditions: tuple[Expr, ...]) -> tuple[Access, ...]:
        found = accesses_of(stmt_exprs(stmt), conditions)
        return tuple(dict.fromkeys(a for a in found if a.buffer in self.exchanged))

    def sequence(self, stmt: Seq, conditions: tuple[Expr, ...]) -> _Part:
        parts: list[Stmt] = []
        head: tuple[Access, ...] = ()
        tail: tuple[Access, ...] = ()
        synced = False
        for child in stmt.stmts:
            part = self.visit(child, conditions)
            if self.meet(tail, part.head):
                parts.append(_WAIT)
                synced, tail = True, ()
            if not synced:
                head += part.head
            parts.append(part.stmt)
            tail = part.tail if part.synced else tail + part.tail
            synced |= part.synced
        return _Part(seq(*parts), head, tail, synced)

    def meet(self, before: Sequence[Access], after: Sequence[Access]) -> bool:
        return any(self.footprints.conflict(a, b) for a in before for b in after)

    def branch(self, stmt: If, conditions: tuple[Expr, ...]) -> _Part:
        own = self.reads(stmt, conditions)
        then = self.visit(stmt.then, (*conditions, stmt.cond))
        other = None if stmt.other is None else self.visit(stmt.other, conditions)
        both = [part for part in (then, other) if part is not None]
        inside = any(part.synced or _waits(part.stmt) for part in both)
        if inside and self.differs(stmt.cond):
            raise CodegenError(
                f"threads exchange values under the condition {stmt.cond}, which not all of them "
                "meet; bind or split the loops so that it does not depend on the thread"
            )
        changed = If(stmt.cond, then.stmt, None if other is None else other.stmt)
        head = own + sum((part.head for part in both), ())
        tail = own + sum((part.tail for part in both), ())
        return _Part(changed, head, tail, other is not None and all(p.synced for p in both))

    def differs(self, expr: Expr) -> bool:
        """Whether threads may find other values."""
        return has_load(expr) or not self.threads.isdisjoint(variables(expr))

    def loop(self, loop: For, conditions: tuple[Expr, ...]) -> _Part:
        part = self.visit(loop.body, conditions)
        body, head, tail, synced = part.stmt, part.head, part.tail, part.synced
        extent = int_value(loop.extent)
        most = extent if extent is not None else self.most(loop)
        if most > 1 and self.comes_round(loop, part, most):
            body, head, synced = seq(_WAIT, body), (), True
        if _waits(body) and self.differs(loop.extent):
            raise CodegenError(
                f"threads exchange values in loop '{loop.var.name}', which each of them runs "
                f"{loop.extent} times; give it the same extent for all"
            )
        changed = replace(loop, body=body)
        if not synced:
            every = tuple(a.under(loop.var, most) for a in part.head)
            return _Part(changed, every, tuple(a.under(loop.var, most) for a in tail))
        first = tuple(a.where({loop.var: const(0)}, self.scope) for a in head)
        last = tuple(a.where({loop.var: loop.extent - 1}, self.scope) for a in tail)
        return _Part(changed, first, last, extent is not None)

    def most(self, loop: For) -> int:
        _, high = self.scope.simplify.bounds(loop.extent)
        if high is None:
            raise CodegenError(f"loop '{loop.var.name}' has the extent {loop.extent} without bound")
        return max(high, 1)

    def comes_round(self, loop: For, part: _Part, extent: int) -> bool:
        """Whether an iteration meets what another one before it touched."""
        if not part.synced:
            every = [a.under(loop.var, extent) for a in part.tail]
            return self.meet(every, every)
        following = [a.where({loop.var: loop.var + 1}, self.scope) for a in part.head]
        return self.meet(part.tail, following)


def _waits(stmt: Stmt) -> bool:
    from metasched.lower.gpu.guards import has_barrier

    return has_barrier(stmt)
