"""Passes: where the fragments of procedures live.

A fragment, a tile that a procedure keeps in the registers of the threads that call it together,
becomes an array of each thread: it holds, tile after tile, what falls to the thread. Where a
procedure is written out (see `metasched.lower.procedures`), its fragments lie in shared memory
instead, apart for each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from metasched.errors import CodegenError
from metasched.ir.expr import Buffer, Expr, Load, const, floordiv
from metasched.ir.procedure import (
    FRAGMENTS,
    PROCEDURES,
    Param,
    elements,
)
from metasched.ir.stmt import Alloc, Invoke, Stmt, Store
from metasched.ir.walk import as_load, loads, map_expr, map_exprs, map_stmts, stores, walk
from metasched.lower.gpu.kernel import THREAD_AXES, Axis
from metasched.lower.scope import Scope


def fragments_to_shared(stmt: Stmt, axes: Mapping[str, Axis]) -> Stmt:
    """Fragments that plain code touches, in shared memory of their group of threads."""
    touched = {s.buffer for s in stores(stmt)}
    touched |= {x.buffer for s in walk(stmt) if isinstance(s, Store) for x in loads(s)}
    groups = [a for a in axes.values() if a.name in THREAD_AXES[1:] and a.extent > 1]
    moved = {
        b: replace(
            b, shape=(*(const(a.extent) for a in groups), *b.shape), scope="shared", align=()
        )
        for b in touched
        if b.scope in FRAGMENTS
    }
    own: tuple[Expr, ...] = tuple(axis.var for axis in groups)
    return _moved(stmt, moved, lambda load: Load(moved[load.buffer], (*own, *load.indices)))


def fragments_to_registers(stmt: Stmt, axes: Mapping[str, Axis], scope: Scope) -> Stmt:
    """Fragments of called procedures as arrays of each thread.

    Raises:
        CodegenError: procedures disagree about a fragment, or a group of threads is no block's
            ``threadIdx.x``.
    """
    calls = [s for s in walk(stmt) if isinstance(s, Invoke) and s.fn in PROCEDURES]
    for call in calls:
        wanted, given = PROCEDURES[call.fn].threads, axes["threadIdx.x"].extent
        if wanted not in (1, given):
            raise CodegenError(
                f"procedure '{call.fn}' is called by {wanted} threads together, but threadIdx.x "
                f"has {given}; bind loops of {wanted} to it"
            )
    tiles = _tiles(calls)
    moved = {b: tile.array(b) for b, tile in tiles.items()}

    def place(load: Load) -> Load:
        tile = tiles[load.buffer]
        return Load(moved[load.buffer], tile.index(load.indices, scope))

    return _moved(stmt, moved, place)


@dataclass(frozen=True, slots=True)
class _Tile:
    """How a fragment is cut up.

    Args:
        shape: of one tile.
        held: elements of it that one thread holds.
    """

    shape: tuple[int, ...]
    held: int

    def array(self, buffer: Buffer) -> Buffer:
        """What one thread holds of a buffer."""
        around = len(buffer.shape) - len(self.shape)
        counts = (
            floordiv(extent + (size - 1), size)
            for extent, size in zip(buffer.shape[around:], self.shape, strict=True)
        )
        shape = (*buffer.shape[:around], *counts, const(self.held))
        return replace(buffer, shape=shape, scope="local", align=())

    def index(self, indices: tuple[Expr, ...], scope: Scope) -> tuple[Expr, ...]:
        """Where a thread holds the tile that begins at some indices."""
        around = len(indices) - len(self.shape)
        pairs = zip(indices[around:], self.shape, strict=True)
        tile = (scope.simplify(floordiv(i, size)) for i, size in pairs)
        return (*indices[:around], *tile, const(0))


def _tiles(calls: Iterable[Invoke]) -> dict[Buffer, _Tile]:
    found: dict[Buffer, _Tile] = {}
    for call in calls:
        procedure = PROCEDURES[call.fn]
        for place, (_, param) in zip(_places(call), procedure.params, strict=True):
            if param.scope not in FRAGMENTS:
                continue
            tile = _tile(param, procedure.threads)
            if found.setdefault(place.buffer, tile) != tile:
                raise CodegenError(
                    f"procedure '{call.fn}' takes tiles of {param.shape} of fragment "
                    f"'{place.buffer.name}', but another one takes {found[place.buffer].shape}"
                )
    return found


def _tile(param: Param, threads: int) -> _Tile:
    return _Tile(param.shape, elements(param) // threads)


def _places(call: Invoke) -> tuple[Load, ...]:
    return (*call.outputs, *(as_load(a) for a in call.args))


def _moved(stmt: Stmt, moved: Mapping[Buffer, Buffer], place: Callable[[Load], Load]) -> Stmt:
    if not moved:
        return stmt

    def in_expr(expr: Expr) -> Expr:
        mapped = map_expr(expr, in_expr)
        return place(mapped) if type(mapped) is Load and mapped.buffer in moved else mapped

    def in_stmt(node: Stmt) -> Stmt:
        node = map_stmts(node, in_stmt)
        if isinstance(node, Store) and node.buffer in moved:
            target = place(Load(node.buffer, node.indices))
            return Store(target.buffer, target.indices, node.value)
        if isinstance(node, Alloc) and node.buffer in moved:
            return Alloc(moved[node.buffer], node.body)
        return node

    return in_stmt(map_exprs(stmt, in_expr))
