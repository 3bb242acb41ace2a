"""annotate_buffer_access: a promise of what a block reads or writes of a buffer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

from metasched.analysis.access import explicit_regions, with_explicit
from metasched.errors import UsageError
from metasched.ir.expr import Binary, Expr, Load, Select, int_value
from metasched.ir.regions import misses
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, If, Region, Stmt, Store
from metasched.ir.walk import child_stmts, expr_children, walk
from metasched.schedule.index_map import IndexMap
from metasched.schedule.primitives.placement import Refusal
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive
from metasched.schedule.primitives.staging import accessed
from metasched.schedule.state import State

NewRanges: TypeAlias = "Callable[..., Sequence[Any]] | str"
"""A function of iterations that gives an index or ``(begin, end)`` for each dimension; or the text
that `ranges_text` makes of it, with a begin and an end for each."""


def annotate_buffer_access(
    state: State, block: str, buffer_index: int | str, buf_type: str, gen_new_ranges: str
) -> tuple[State, tuple[str, ...]]:
    """Promise what a block reads or writes of a buffer, instead of what its body shows.

    Where an index is looked up in a table, nothing but its own place is known of an access, so
    that `compute_at` has to compute whole producers. A promise says better: ``compute_at`` and
    others go by it. An annotation marks the region; it stays while primitives rewrite the body,
    grown where the body certainly accesses more.

    Args:
        state: where to apply.
        block: the block.
        buffer_index: which of the buffers that it reads, or writes; or the name of the buffer.
        buf_type: ``"read"`` or ``"write"``.
        gen_new_ranges: the begin and the end for each dimension of the buffer as a map of the
            block's iterations; `Schedule` makes it of a function.

    Requires:
        - a buf_type that is 'read' or 'write'
        - an index or the name of a buffer that the block reads (or writes)
        - a map of the block's iterations to a begin and an end for each dimension
        - ranges that are not empty
        - ranges that hold what the block certainly accesses

    ::

        with block("c"):                     ->  with block("c"):
            reads(b[vi + at[vi] % 3], at[vi])        reads(b[vi:vi + 3], at[vi])
            c[vi] = b[vi + at[vi] % 3]               annotations({"explicit_read_region": (0,)})
                                                     c[vi] = b[vi + at[vi] % 3]
    """
    target = state.block(block, "annotate_buffer_access")
    region = _check(target, buffer_index, buf_type, gen_new_ranges)
    if isinstance(region, Refusal):
        raise region.error(state, "annotate_buffer_access")
    old = target.reads if buf_type == "read" else target.writes
    regions = tuple(region if r.buffer == region.buffer else r for r in old)
    known = {*explicit_regions(target, buf_type), region.buffer}
    changed = (
        replace(target, reads=regions) if buf_type == "read" else replace(target, writes=regions)
    )
    return state.replace(target, with_explicit(changed, buf_type, known)), ()


def ranges_text(given: NewRanges, rank: int) -> str:
    """The text of a function of a block's iterations; a text stays as it is.

    Args:
        given: what a caller passed.
        rank: the number of iterations of the block.

    Raises:
        UsageError: it is no function of indices.

    >>> ranges_text(lambda i, j: (i, (j - 1, j + 2)), 2)
    'i, j -> [i, i + 1, j - 1, j + 2]'
    """
    if isinstance(given, str):
        return given

    @functools.wraps(given)
    def flat(*iterations: Expr) -> list[Any]:
        found: list[Any] = []
        for item in given(*iterations):
            pair = (
                cast("Sequence[Any]", item) if isinstance(item, tuple | list) else (item, item + 1)
            )
            found.extend(pair)
        return found

    return str(IndexMap.from_func(flat, rank))


def _check(block: Block, index: int | str, buf_type: str, text: str) -> Region | Refusal:
    name = block.name
    if buf_type not in ("read", "write"):
        return Refusal("a buf_type that is 'read' or 'write'", f"'{buf_type}'", name)
    region = accessed(block, index, writing=buf_type == "write")
    if isinstance(region, Refusal):
        return region
    rule = "a map of the block's iterations to a begin and an end for each dimension"
    try:
        made = IndexMap.parse(text)
    except UsageError as error:
        return Refusal(rule, f"an error: {error}", name)
    wanted = len(block.iters), 2 * len(region.ranges)
    if (len(made.inputs), len(made.outputs)) != wanted:
        return Refusal(rule, f"'{text}', not from {wanted[0]} to {wanted[1]}", name)
    known = Simplifier({it.var: it.extent for it in block.iters})
    bounds = made.map_indices([it.var for it in block.iters], known)
    pairs = list(zip(bounds[::2], bounds[1::2], strict=True))
    ranges = tuple((begin, known(end - begin)) for begin, end in pairs)
    for (_, extent), (begin, end) in zip(ranges, pairs, strict=True):
        size = int_value(extent)
        if size is not None and size < 1:
            return Refusal("ranges that are not empty", f"{begin} to {end}", name)
    promised = Region(region.buffer, ranges)
    for node in walk(block.body):
        inside = [(node.var, node.extent)] if isinstance(node, For) else []
        iters = node.iters if isinstance(node, Block) else ()
        for var, extent in (*inside, *((it.var, it.extent) for it in iters)):
            known.bind(var, extent)
    for at in _places(block, buf_type, region):
        if misses(promised, at, known):
            given = f"{region.buffer.name}[{', '.join(map(str, at))}]"
            return Refusal("ranges that hold what the block certainly accesses", given, name)
    return promised


def _places(block: Block, buf_type: str, region: Region) -> list[tuple[Expr, ...]]:
    """The indices at which a block accesses a buffer whatever any condition says."""
    statements = [s for s in (block.init, block.body) if s is not None]
    stored = [s for part in statements for s in _unconditional(part)]
    if buf_type == "write":
        return [s.indices for s in stored if s.buffer == region.buffer]
    loaded = [load for s in stored for e in (*s.indices, s.value) for load in _certain(e)]
    return [load.indices for load in loaded if load.buffer == region.buffer]


def _unconditional(stmt: Stmt) -> list[Store]:
    if isinstance(stmt, Store):
        return [stmt]
    return [] if isinstance(stmt, If) else [s for c in child_stmts(stmt) for s in _unconditional(c)]


def _certain(expr: Expr) -> list[Load]:
    """The loads of an expression that no condition guards."""
    match expr:
        case Select():
            return _certain(expr.cond)
        case Binary(op="and" | "or"):
            return _certain(expr.a)
        case _:
            own = [expr] if isinstance(expr, Load) else []
            return own + [load for child in expr_children(expr) for load in _certain(child)]


PRIMITIVES.register(
    "annotate_buffer_access", Primitive("annotate_buffer_access", annotate_buffer_access)
)
