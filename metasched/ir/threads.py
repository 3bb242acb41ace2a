"""What holds among the loops of one GPU kernel that are bound to thread axes.

A kernel is an outermost thread-bound loop with everything in it. All its loops of one axis are the
same threads, so they must agree. Loops may nest on a ``threadIdx`` axis, as where all threads fill
a shared cache together: the inner loop then shares out what the outer one would repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from metasched.ir.expr import Expr, Var, int_value
from metasched.ir.simplify import simplify
from metasched.ir.stmt import Block, For, Stmt
from metasched.ir.walk import blocks, child_stmts, free_vars, walk

THREAD_AXES: Final = (
    *(f"{group}.{axis}" for group in ("blockIdx", "threadIdx", "vthread") for axis in "xyz"),
    "vthread",
)
"""The axes that a loop can be bound to; the iterations of a virtual thread belong to one thread."""

SHARED: Final = ("shared", "shared.dyn")
"""The scopes of buffers that belong to one block of threads."""

COMMON_SCOPES: Final = ("global", *SHARED)
"""The scopes of buffers that the threads of a block have in common."""


def is_thread(loop: For) -> bool:
    """Whether the iterations of a loop are threads, virtual or not, of one block."""
    return loop.kind == "thread" and not (loop.thread or "").startswith("blockIdx")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Thread-bound loops that cannot be in one kernel.

    Args:
        rule: what is expected.
        given: what was found instead.
        at: the loop to mark.
    """

    rule: str
    given: str
    at: str


def thread_conflicts(stmt: Stmt) -> Iterator[Conflict]:
    """Everything that is wrong with the thread-bound loops of a statement."""
    yield from _under(stmt, (), frozenset())


def _under(stmt: Stmt, around: tuple[For, ...], bound: frozenset[Var]) -> Iterator[Conflict]:
    """The conflicts under the thread-bound loops ``around``, with the variables in sight there."""
    match stmt:
        case For(kind="thread"):
            yield from _loop(stmt, around, bound)
            around = (*around, stmt)
            if len(around) == 1:
                yield from _kernel(stmt)
            bound |= {stmt.var}
        case For():
            bound |= {stmt.var}
        case Block():
            bound |= {it.var for it in stmt.iters}
        case _:
            pass
    for child in child_stmts(stmt):
        yield from _under(child, around, bound)


def _loop(loop: For, around: tuple[For, ...], bound: frozenset[Var]) -> Iterator[Conflict]:
    name, axis = loop.var.name, loop.thread
    if axis not in THREAD_AXES:
        rule = f"a thread axis ({', '.join(THREAD_AXES)})"
        yield Conflict(rule, f"'{axis}'", name)
    if varying := sorted(v.name for v in free_vars(loop.extent) & bound):
        rule = "an extent that is known when the kernel starts"
        yield Conflict(rule, f"{loop.extent} of '{name}', which depends on '{varying[0]}'", name)
    for outer in around:
        if outer.thread == axis and (why := _why_not_together(outer, loop)) is not None:
            rule = "no loop inside another of the same axis, but to share out what threads repeat"
            given = f"'{name}' inside '{outer.var.name}' on {axis}{why}"
            yield Conflict(rule, given, name)


def _kernel(outermost: For) -> Iterator[Conflict]:
    known: dict[str | None, For] = {}
    for loop in walk(outermost):
        if isinstance(loop, For) and loop.kind == "thread":
            other = known.setdefault(loop.thread, loop)
            if _differ(loop.extent, other.extent):
                rule = "one extent of all loops on an axis in a kernel"
                given = f"{loop.extent} of '{loop.var.name}'"
                yield Conflict(
                    rule, f"{given} and {other.extent} of '{other.var.name}'", loop.var.name
                )


def _differ(a: Expr, b: Expr) -> bool:
    """Whether extents certainly differ; sizes and tiles that are not known yet may agree."""
    return a != b and int_value(simplify(a - b)) not in (None, 0)


def _why_not_together(outer: For, inner: For) -> str | None:
    """Why the threads of a loop cannot share out what each of them does, or None if they can."""
    if not (inner.thread or "").startswith("threadIdx"):
        return ""
    inside = blocks(inner)
    between = [b for b in blocks(outer) if any(s is inner for s in walk(b))]
    for block in (*between, *inside):
        used = {v for it in block.iters for v in free_vars(it.binding)}
        if outer.var in used | free_vars(block.predicate):
            return f", which block '{block.name}' uses"
    own = [r.buffer.name for b in inside for r in b.writes if r.buffer.scope not in COMMON_SCOPES]
    return f", where each thread writes a '{own[0]}' of its own" if own else None
