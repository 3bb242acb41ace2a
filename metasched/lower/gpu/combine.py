"""Pass: the parts of a reduction that threads share become one result, known to all of them.

Within a warp, lanes exchange registers: five steps for 32 threads. Larger groups, and languages
without such an exchange, go through shared memory: a tree that halves the threads at each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

from metasched.ir.expr import (
    Buffer,
    Expr,
    Extern,
    Load,
    const,
    equal,
    less,
)
from metasched.ir.stmt import Alloc, If, Seq, Stmt, Store, seq
from metasched.ir.walk import map_stmts, stores
from metasched.lower.affine import has_load
from metasched.lower.gpu.cross_thread import Shared
from metasched.lower.gpu.guards import inside
from metasched.lower.gpu.kernel import THREAD_AXES, Axis
from metasched.lower.scope import Scope

WARP: Final = 32
SHUFFLE: Final = "shuffle_xor_"
"""What calls of the exchange between lanes begin with; the distance of the lanes follows."""


def combine_threads(
    stmt: Stmt, found: Sequence[Shared], axes: Mapping[str, Axis], scope: Scope
) -> tuple[Stmt, tuple[Buffer, ...]]:
    """The statement with the exchanges written out, and the shared buffers they need."""
    if not found:
        return stmt, ()
    combining = _Combining(found, axes, scope)
    changed = combining.visit(stmt)
    assert combining.done == {s.parts for s in found}, "each shared reduction stores its results"
    return changed, tuple(combining.buffers)


def shuffled(value: Expr, distance: int) -> Expr:
    """The value of the lane whose number differs in one bit."""
    return Extern(f"{SHUFFLE}{distance}", (value,), value.dtype)


@dataclass(frozen=True, slots=True)
class _Combining:
    found: Sequence[Shared]
    axes: Mapping[str, Axis]
    scope: Scope
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    done: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])

    def visit(self, stmt: Stmt) -> Stmt:
        match stmt:
            case If() if (shared := self.result(stmt.then)) is not None:
                return self.combined(shared, stmt.then, stmt.cond)
            case If() if self.holds_results(stmt.then) and not has_load(stmt.cond):
                # All threads take part in combining, whether they store the result or not.
                return self.visit(inside(stmt.cond, stmt.then))
            case Seq():
                return self.sequence(stmt)
            case Store() | Alloc() if (shared := self.result(stmt)) is not None:
                return self.combined(shared, stmt, None)
            case _:
                return map_stmts(stmt, self.visit)

    def holds_results(self, stmt: Stmt) -> bool:
        """Whether results of a reduction are stored somewhere in a statement."""
        parts = {name for shared in self.found for name in shared.parts}
        return any(
            type(s.value) is Load and s.value.buffer.name in parts and s.buffer.name not in parts
            for s in stores(stmt)
        )

    def sequence(self, stmt: Seq) -> Stmt:
        """A sequence in which the results of one reduction may stand side by side."""
        parts: list[Stmt] = []
        at = 0
        while at < len(stmt.stmts):
            for shared in self.found:
                run = seq(*stmt.stmts[at : at + len(shared.parts)])
                if self.result(run) is shared:
                    parts.append(self.combined(shared, run, None))
                    at += len(shared.parts)
                    break
            else:
                parts.append(self.visit(stmt.stmts[at]))
                at += 1
        return seq(*parts)

    def result(self, stmt: Stmt) -> Shared | None:
        """The reduction whose results some statements store, if they do just that."""
        read: list[str] = []
        for part in _parts(stmt):
            store = part.body if isinstance(part, Alloc) else part
            if not isinstance(store, Store) or type(store.value) is not Load:
                return None
            read.append(store.value.buffer.name)
        return next((s for s in self.found if list(s.parts) == read), None)

    def combined(self, shared: Shared, stmt: Stmt, cond: Expr | None) -> Stmt:
        self.done.add(shared.parts)
        results = stores(stmt)
        group = _Group.of(shared, self.axes)
        values = [self.register(s.buffer) for s in results]
        part = seq(*(Store(v, (), s.value) for v, s in zip(values, results, strict=True)))
        steps: list[Stmt] = [part if cond is None else If(cond, part)]
        steps += self.steps(shared, group, values)
        known = dict(zip(results, values, strict=True))

        def final_of(part: Stmt) -> Stmt:
            if isinstance(part, Store):
                return Store(part.buffer, part.indices, Load(known[part], ()))
            return map_stmts(part, final_of)

        final = final_of(stmt)
        steps.append(final if cond is None else If(cond, final))
        return _declared(values, seq(*steps))

    def register(self, buffer: Buffer) -> Buffer:
        return self.scope.fresh_register(f"{buffer.name}_all", buffer.dtype)

    def steps(self, shared: Shared, group: _Group, values: list[Buffer]) -> list[Stmt]:
        warps = group.warps if self.scope.target.kind == "cuda" else None
        if warps is None:
            return self.tree(shared, group, values)
        steps = self.exchange(shared, values, min(group.size, WARP))
        if warps > 1:
            held = self.shared_buffers(values, group.count * warps)
            first = equal(group.rank % WARP, 0)
            at = group.number * warps + group.rank // WARP
            steps += [If(first, self.put(held, at, values))]
            steps += self.get(held, group.number * warps + group.rank % warps, values)
            steps += self.exchange(shared, values, warps)
        return steps

    def exchange(self, shared: Shared, values: list[Buffer], width: int) -> list[Stmt]:
        """Reduce over lanes whose numbers differ in the lower bits."""
        steps: list[Stmt] = []
        while width > 1:
            width //= 2
            mine = [Load(v, ()) for v in values]
            other = [self.register(v) for v in values]
            fetch = [Store(o, (), shuffled(m, width)) for o, m in zip(other, mine, strict=True)]
            update = self.update(shared, values, [Load(o, ()) for o in other])
            steps.append(_declared(other, seq(*fetch, *update)))
        return steps

    def update(self, shared: Shared, values: list[Buffer], other: Sequence[Expr]) -> list[Stmt]:
        """Combine registers with other values; all are read before one changes."""
        results = shared.combine([Load(v, ()) for v in values], other)
        if len(values) == 1:
            return [Store(values[0], (), results[0])]
        fresh = [self.register(v) for v in values]
        stores: list[Stmt] = [Store(f, (), r) for f, r in zip(fresh, results, strict=True)]
        stores += [Store(v, (), Load(f, ())) for v, f in zip(values, fresh, strict=True)]
        return [_declared(fresh, seq(*stores))]

    def tree(self, shared: Shared, group: _Group, values: list[Buffer]) -> list[Stmt]:
        """Halve the threads that hold a value until one is left, then let all read it."""
        held = self.shared_buffers(values, group.count * group.size)
        base = self.scope.simplify(group.number * group.size)
        place = self.scope.simplify(base + group.rank)
        steps: list[Stmt] = [self.put(held, place, values)]
        left = group.size
        while left > 1:
            half = (left + 1) // 2
            mine = [Load(h, (place,)) for h in held]
            other = [Load(h, (self.scope.simplify(place + half),)) for h in held]
            fresh = [self.register(v) for v in values]
            results = shared.combine(mine, other)
            merged: list[Stmt] = [Store(f, (), r) for f, r in zip(fresh, results, strict=True)]
            merged += [self.put(held, place, fresh)]
            steps.append(If(less(group.rank, left - half), _declared(fresh, seq(*merged))))
            left = half
        return [*steps, *self.get(held, base, values)]

    def shared_buffers(self, values: list[Buffer], size: int) -> list[Buffer]:
        found = [
            Buffer(self.scope.fresh_name(f"{v.name}_s"), (const(size),), v.dtype, "shared")
            for v in values
        ]
        self.buffers.extend(found)
        return found

    def put(self, held: list[Buffer], at: Expr, values: list[Buffer]) -> Stmt:
        place = self.scope.simplify(at)
        stores = (Store(h, (place,), Load(v, ())) for h, v in zip(held, values, strict=True))
        return seq(*stores)

    def get(self, held: list[Buffer], at: Expr, values: list[Buffer]) -> list[Stmt]:
        place = self.scope.simplify(at)
        return [Store(v, (), Load(h, (place,))) for h, v in zip(held, values, strict=True)]


@dataclass(frozen=True, slots=True)
class _Group:
    """The threads that share one reduction.

    Args:
        size: how many they are.
        rank: which of them a thread is.
        count: how many groups a block has.
        number: which of them a thread is in.
        warps: how many warps a group fills where it is made of warps, 1 where it is a part of one
            that begins at a multiple of its size; None where it is neither.
    """

    size: int
    rank: Expr
    count: int
    number: Expr
    warps: int | None

    @staticmethod
    def of(shared: Shared, axes: Mapping[str, Axis]) -> _Group:
        """The groups of a block."""
        wide = [axes[name] for name in THREAD_AXES if axes[name].extent > 1]
        own = [axis for axis in wide if axis.name in shared.axes]
        rest = [axis for axis in wide if axis.name not in shared.axes]
        size = prod(axis.extent for axis in own)
        first = own == wide[: len(own)]
        threads = prod(axis.extent for axis in wide)
        whole = threads % WARP == 0 or threads < WARP
        return _Group(
            size,
            _linear(own),
            prod(axis.extent for axis in rest),
            _linear(rest),
            _warps(size) if first and whole else None,
        )


def _parts(stmt: Stmt) -> tuple[Stmt, ...]:
    return stmt.stmts if isinstance(stmt, Seq) else (stmt,)


def _warps(size: int) -> int | None:
    if size & (size - 1):
        return None
    return max(size // WARP, 1)


def _linear(axes: Sequence[Axis]) -> Expr:
    total: Expr = const(0)
    for axis in reversed(axes):
        total = total * axis.extent + axis.var
    return total


def _declared(registers: Sequence[Buffer], body: Stmt) -> Stmt:
    for register in reversed(registers):
        body = Alloc(register, body)
    return body
