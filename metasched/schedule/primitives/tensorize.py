"""tensorize: a tile computed by an intrinsic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from metasched.analysis.dependence import direct_blocks
from metasched.analysis.matching import Tile, find_match
from metasched.errors import UsageError
from metasched.ir.expr import Buffer, Expr, Load, Var, const, int_value, mul
from metasched.ir.lanes import lane_value, shifted
from metasched.ir.simplify import Simplifier, product
from metasched.ir.stmt import Block, For, Invoke, Stmt, Store
from metasched.ir.walk import (
    bound_inside,
    loads,
    map_expr,
    map_exprs,
    map_stmts,
    replace_buffers,
    stores,
    substitute,
    substitute_stmt,
    walk,
)
from metasched.schedule.primitives.blockize import blockize
from metasched.schedule.primitives.placement import facts
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State
from metasched.target.intrinsics import TENSOR_INTRINS, TensorIntrin

_NAME = "tensorize"


def tensorize(
    state: State, block_or_loop: str, tensor_intrin: str, *, preserve_unit_iters: bool = True
) -> tuple[State, tuple[str, ...]]:
    """Compute a tile by an intrinsic instead of the loops and the block in it.

    The block inside must compute what the description of the intrinsic does, on a tile of its
    sizes, in any order of its loops; operands of sums and products may be exchanged. An init of
    the tile stays as it is, and annotations of the block inside go to the one around it. Whether a
    target has the instructions is checked when the program is lowered for it; `pick_intrin`
    chooses by target.

    Args:
        state: where to apply.
        block_or_loop: a block around a tile, as blockize makes it, or a loop to blockize first.
        tensor_intrin: the name of the intrinsic.
        preserve_unit_iters: as for blockize.

    Requires:
        - the name of a registered intrinsic
        - a block around loops and a single block
        - a single store, without an init or a predicate of its own
        - loops that run through the tile once
        - what the description of the intrinsic computes
        - vectors whose lanes lie in memory as in the parameters of the intrinsic
        - tiles along the last dimensions of their buffers, in order, for a procedure
        - buffers in the memory that the intrinsic works on

    ::

        with block("c_o"):                    ->  with block("c_o"):
            for j in serial(16):                      c[ramp(v_o * 16, 1, 16)] =
                for k in serial(4):                       extern("dot_u8s8_vnni512", ...)
                    with block("c"):
                        c[...] = c[...] + ...
    """
    intrin = _known(state, tensor_intrin, block_or_loop)
    if block_or_loop in state.tree.loops:
        made, (outer,) = blockize(state, block_or_loop, preserve_unit_iters=preserve_unit_iters)
    else:
        made, outer = state, block_or_loop
    target = made.block(outer, _NAME)
    inner = _inner(state, made, target, block_or_loop)
    tiles = _matched(state, made, inner, intrin, block_or_loop)
    body = _Implementation.of(made, intrin, tiles)
    body.check_layout(state, made.simplifier(inner), block_or_loop)
    notes = {**dict(inner.annotations), **dict(target.annotations)}
    changed = replace(
        target,
        body=body.stmt,
        allocs=(*target.allocs, *body.allocs),
        annotations=tuple(sorted(notes.items())),
    )
    gone = (inner.name, *(loop.var.name for loop in made.loops_above(inner)))
    return made.replace(target, changed).without(_NAME, *gone), ()


def _known(state: State, name: str, at: str) -> TensorIntrin:
    state.node(at, _NAME)
    try:
        return TENSOR_INTRINS[name]
    except UsageError as error:
        rule = "the name of a registered intrinsic"
        raise refused(state, _NAME, rule, str(error), at=at) from None


def _inner(state: State, made: State, target: Block, at: str) -> Block:
    """The block of the tile."""
    found = tuple(direct_blocks(target.body))
    nest: Stmt = target.body
    while isinstance(nest, For):
        nest = nest.body
    if len(found) != 1 or nest is not found[0]:
        given = f"{len(found)} blocks in '{target.name}'"
        raise refused(
            state, _NAME, "a block around loops and a single block", given, at=at,
            hint="give the loop around the tile, or blockize it first",
        )  # fmt: skip
    block = found[0]
    rule = "a single store, without an init or a predicate of its own"
    if block.init is not None:
        hint = "decompose_reduction first, or keep preserve_unit_iters"
        raise refused(state, _NAME, rule, f"the init of '{block.name}'", at=at, hint=hint)
    if int_value(block.predicate) != 1:
        hint = "split the loops by divisors, or pad_einsum before"
        given = f"the predicate {block.predicate} of '{block.name}'"
        raise refused(state, _NAME, rule, given, at=at, hint=hint)
    if not isinstance(block.body, Store):
        raise refused(state, _NAME, rule, f"other statements in '{block.name}'", at=at)
    loops = made.loops_above(block)
    points = product(loop.extent for loop in loops)
    tile = product(it.extent for it in block.iters)
    once = facts(made).is_one_to_one((it.binding for it in block.iters), [x.var for x in loops])
    if points != tile or not once:
        given = f"loops of {points} iterations for a tile of {tile}"
        raise refused(state, _NAME, "loops that run through the tile once", given, at=at)
    return block


def _matched(
    state: State, made: State, block: Block, intrin: TensorIntrin, at: str
) -> Mapping[Buffer, Tile]:
    """The tile of each parameter."""
    simplify = made.simplifier(block)
    for it in block.iters:
        simplify.bind(it.var, it.extent)
    found = find_match(intrin.pattern, block, simplify)
    if found is None:
        sizes = ", ".join(f"{it.var.name} of {it.extent}" for it in block.iters)
        raise refused(
            state, _NAME, "what the description of the intrinsic computes",
            f"{block.body} over {sizes}, for\n{intrin.description}\n", at=at,
            hint="split loops to the sizes of the intrinsic and pack operands as it takes them",
        )  # fmt: skip
    return found.tiles


# -- the implementation ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Implementation:
    """The statements of an intrinsic on the tiles of a program.

    Attributes:
        intrin: the intrinsic.
        tiles: what its parameters stand for.
        stmt: the statements, with fresh names.
        allocs: the buffers they need.
    """

    intrin: TensorIntrin
    tiles: Mapping[Buffer, Tile]
    stmt: Stmt
    allocs: tuple[Buffer, ...]

    @staticmethod
    def of(state: State, intrin: TensorIntrin, tiles: Mapping[Buffer, Tile]) -> _Implementation:
        """The implementation on the buffers of a state."""
        root = intrin.implementation.root
        loops = [stmt.var for stmt in walk(root.body) if isinstance(stmt, For)]
        names = state.fresh(*(v.name for v in loops), *(b.name for b in root.allocs))
        renamed = {v: Var(name, v.dtype) for v, name in zip(loops, names, strict=False)}
        own = {
            b: replace(b, name=name)
            for b, name in zip(root.allocs, names[len(loops) :], strict=True)
        }
        body = _rename_loops(substitute_stmt(replace_buffers(root.body, own), renamed), renamed)
        return _Implementation(intrin, tiles, _on_tiles(body, tiles), tuple(own.values()))

    def check_layout(self, state: State, simplify: Simplifier, at: str) -> None:
        """Refuse tiles whose vectors lie in memory otherwise than in the parameters."""
        self._check_tiles(state, at)
        for body in (self.stmt, self.intrin.implementation.root.body):
            for var, extent in bound_inside(body):
                simplify.bind(var, extent)
        wanted = _vectors(self.intrin.implementation.root.body)
        for (buffer, before), (actual, after) in zip(wanted, _vectors(self.stmt), strict=True):
            step = _step(buffer, before, simplify)
            given = _step(actual, after, simplify)
            if step is None or step != given:
                raise refused(
                    state, _NAME,
                    "vectors whose lanes lie in memory as in the parameters of the intrinsic",
                    f"'{actual.name}' for '{buffer.name}'", at=at,
                    hint="pack the buffer with transform_layout, or a reindexed copy, first",
                )  # fmt: skip

    def _check_tiles(self, state: State, at: str) -> None:
        """Refuse tiles that a procedure cannot be called on."""
        called = [s for s in walk(self.intrin.implementation.root.body) if isinstance(s, Invoke)]
        places = {load.buffer for call in called for load in (*call.outputs, *loads(call))}
        for buffer, tile in self.tiles.items():
            rank = len(tile.buffer.shape)
            trailing = tuple(range(rank - len(tile.dims), rank))
            if buffer in places and tile.dims != trailing:
                raise refused(
                    state, _NAME,
                    "tiles along the last dimensions of their buffers, in order, for a procedure",
                    f"'{tile.buffer.name}' along {tile.dims} for '{buffer.name}'", at=at,
                    hint="change the layout of a cache of the buffer with transform_layout",
                )  # fmt: skip
            if buffer.scope != "global" and tile.buffer.scope != buffer.scope:
                raise refused(
                    state, _NAME,
                    "buffers in the memory that the intrinsic works on",
                    f"'{tile.buffer.name}' in '{tile.buffer.scope}' for '{buffer.name}' in "
                    f"'{buffer.scope}'", at=at,
                    hint=f"give the cache the scope '{buffer.scope}'",
                )  # fmt: skip


def _rename_loops(stmt: Stmt, names: Mapping[Var, Expr]) -> Stmt:
    changed = map_stmts(stmt, lambda s: _rename_loops(s, names))
    if isinstance(changed, For):
        var = names[changed.var]
        assert isinstance(var, Var), "loops are renamed to variables"
        return replace(changed, var=var)
    return changed


def _on_tiles(stmt: Stmt, tiles: Mapping[Buffer, Tile]) -> Stmt:
    """Statements with parameters exchanged for the tiles they stand for."""

    def at(tile: Tile, indices: tuple[Expr, ...]) -> tuple[Expr, ...]:
        place = list(tile.start)
        for dim, index in zip(tile.dims, indices, strict=True):
            place[dim] = shifted(index, place[dim])
        return tuple(place)

    def in_expr(expr: Expr) -> Expr:
        mapped = map_expr(expr, in_expr)
        if isinstance(mapped, Load) and (tile := tiles.get(mapped.buffer)):
            return Load(tile.buffer, at(tile, mapped.indices))
        return mapped

    def in_stmt(node: Stmt) -> Stmt:
        node = map_stmts(node, in_stmt)
        if isinstance(node, Store) and (tile := tiles.get(node.buffer)):
            return Store(tile.buffer, at(tile, node.indices), node.value)
        return node

    return in_stmt(map_exprs(stmt, in_expr))


def _vectors(stmt: Stmt) -> Iterator[tuple[Buffer, tuple[Expr, ...]]]:
    """The vector accesses of statements, in order."""
    for access in (*stores(stmt), *loads(stmt)):
        if any(i.dtype.lanes > 1 for i in access.indices):
            yield access.buffer, access.indices


def _step(buffer: Buffer, indices: tuple[Expr, ...], simplify: Simplifier) -> int | None:
    """How far apart in memory the lanes of an access are, None where that differs."""
    lanes = max(i.dtype.lanes for i in indices)
    lane = Var("lane of a vector")
    simplify.bind(lane, lanes)
    address: Expr = const(0)
    for dim, index in enumerate(indices):
        address = address + mul(lane_value(index, lane), product(buffer.shape[dim + 1 :]))
    first = substitute(address, {lane: const(0)})
    rest = simplify(address - first)
    step = int_value(simplify(substitute(rest, {lane: const(1)})))
    if step is None or simplify(rest - lane * step) != const(0):
        return None
    return step


PRIMITIVES.register(_NAME, Primitive(_NAME, tensorize))
