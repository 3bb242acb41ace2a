"""Pass: copies from device memory to shared memory that run beside the threads (``cp.async``).

A pipelined loop says which buffers are filled so, commits the copies of an iteration as one group,
and waits for a group before its elements are used. Until then an element counts as being written:
`done` marks, for the placing of barriers, what a wait has finished.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from metasched.ir.expr import Buffer, Expr, Load, Ramp
from metasched.ir.stmt import Alloc, Invoke, Seq, Stmt, Store
from metasched.ir.walk import child_stmts, map_stmts, stores
from metasched.lower.gpu.vectors import is_fetch

COPY: Final = "async_copy"
COMMIT: Final = Invoke("async_commit")
_DONE: Final = "async_done"
_WAIT: Final = "async_wait_"
_SIZES: Final = (4, 8, 16)
"""Bytes that one copy can move."""


def wait(behind: int) -> Invoke:
    """Wait until at most some of the last groups are not done."""
    return Invoke(f"{_WAIT}{behind}")


def waits_for(call: Invoke) -> int | None:
    """How many groups a wait leaves running, None for other calls."""
    return int(call.fn.removeprefix(_WAIT)) if call.fn.startswith(_WAIT) else None


def done(stmt: Stmt) -> Stmt:
    """A copy's loops with marks that its elements are written now."""
    if isinstance(stmt, Store):
        return Invoke(_DONE, (Load(stmt.buffer, stmt.indices),))
    return map_stmts(stmt, done)


def is_done(call: Invoke) -> bool:
    """Whether a call is such a mark."""
    return call.fn == _DONE


def drop_done(stmt: Stmt) -> Stmt:
    """The statement without marks, when barriers are placed."""
    if isinstance(stmt, Invoke) and is_done(stmt):
        return Seq(())
    changed = map_stmts(stmt, drop_done)
    return Seq(()) if not isinstance(changed, Seq) and _is_hollow(changed) else changed


def _is_hollow(stmt: Stmt) -> bool:
    """Whether nothing is left in loops and branches."""
    if isinstance(stmt, Store | Invoke):
        return False
    return all(_is_hollow(child) for child in child_stmts(stmt))


def async_copies(stmt: Stmt, filled: Collection[str]) -> Stmt:
    """Make the stores to some buffers asynchronous, where all of them are plain copies."""
    mine = {s.buffer for s in stores(stmt) if s.buffer.name in filled}
    able = {b for b in mine if _all_copies(stmt, b)}
    return _converted(stmt, able)


def _converted(stmt: Stmt, able: Collection[Buffer]) -> Stmt:
    if isinstance(stmt, Store) and stmt.buffer in able:
        return _copy(stmt, stmt.value)
    match stmt:
        case Alloc(body=Seq(stmts=(Store() as fetch, Store() as put))) if put.buffer in able:
            # `vectorize` loads a vector into a register first.
            return _copy(put, fetch.value)
        case _:
            return map_stmts(stmt, lambda s: _converted(s, able))


def _copy(put: Store, value: Expr) -> Stmt:
    assert isinstance(value, Load)
    return Invoke(COPY, (Load(put.buffer, put.indices),), (value,))


def _all_copies(stmt: Stmt, buffer: Buffer) -> bool:
    """Whether a buffer is only stored to by moves that one copy can make."""
    match stmt:
        case Alloc(body=Seq(stmts=(Store() as fetch, Store() as put))) if put.buffer == buffer:
            register = put.value
            moved = isinstance(register, Load) and register.buffer == fetch.buffer
            return moved and _is_copy(put, fetch.value)
        case Store() if stmt.buffer == buffer:
            return _is_copy(stmt, stmt.value)
        case _:
            return all(_all_copies(s, buffer) for s in child_stmts(stmt))


def _is_copy(put: Store, value: Expr) -> bool:
    (index,) = put.indices
    if not isinstance(value, Load) or value.buffer.scope != "global":
        return False
    if value.dtype.bytes not in _SIZES or value.dtype != put.buffer.dtype.with_lanes(
        index.dtype.lanes
    ):
        return False
    return value.dtype.lanes == 1 or (
        isinstance(index, Ramp) and is_fetch(Load(put.buffer, put.indices)) and is_fetch(value)
    )
