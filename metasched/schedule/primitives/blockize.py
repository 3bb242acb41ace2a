"""blockize: statements with their blocks as one block that a schedule moves as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from metasched.analysis.dependence import direct_blocks
from metasched.ir.stmt import Block, For, If, Seq, Stmt, seq
from metasched.ir.walk import free_vars, stmt_exprs, walk
from metasched.schedule.primitives.block_group import (
    Group,
    Part,
    Span,
    check_inits,
    check_predicates,
)
from metasched.schedule.primitives.placement import facts
from metasched.schedule.primitives.primitive import PRIMITIVES, Primitive, refused
from metasched.schedule.state import State

_NAME = "blockize"


def blockize(
    state: State, target: str | tuple[str, ...], *, preserve_unit_iters: bool = True
) -> tuple[State, tuple[str, ...]]:
    """Make one block of what is under a loop, or of blocks that follow each other.

    Each iteration of a block inside is divided: the new block gets the part that loops outside
    count, the block keeps the part that loops inside run through. Where loops outside reduce, the
    init moves to the new block, too, as a block ``<block>_init``.

    Args:
        state: where to apply.
        target: a loop; or blocks, whose loops go inside up to those that are around all of them.
        preserve_unit_iters: whether an iteration that loops inside run through completely has an
            iteration of extent 1 in the new block. If not, iterations whose extent is the number 1
            go on both sides; a reduction keeps those that it reduces over on one side.

    Returns:
        The new block: ``<block>_o``, for blocks ``outer_<block>_<block>_``.

    Requires:
        - at least one block
        - blocks inside the root block
        - a loop around a single block (or a list of blocks)
        - blocks of one scope
        - blocks that no other statement stands between
        - extents and conditions inside that do not depend on loops outside
        - iterations that loops inside run through in parts of one size
        - predicates over loops outside or over loops inside
        - predicates over loops outside that all blocks share
        - reduce loops outside that all blocks with an init share
        - results of reductions that no block before them touches
        - loops inside a reduction that drive either spatial or reduce iterations

    ::

        for i in serial(4):               ->  for i in serial(4):
            for j in serial(16):                  with block("c_o"):
                with block("c"):                      v_o = spatial(4, i)
                    v = spatial(64, i * 16 + j)       writes(c[v_o * 16:v_o * 16 + 16])
                    writes(c[v])                      for j in serial(16):
                                                          with block("c"):
                                                              v_i = spatial(16, j)
                                                              writes(c[v_o * 16 + v_i])
    """
    span = _span(state, target)
    _check_loops(state, span)
    known = facts(state)
    parts = [Part.of(state, span, block, known) for block in span.blocks]
    check_predicates(state, parts)
    check_inits(state, parts)
    group = Group.of(state, parts, preserve_unit_iters)
    name, made = group.build(state, span, known)
    return _exchanged(state, span, made), (name,)


# -- what goes inside --------------------------------------------------------------------------


def _span(state: State, target: str | tuple[str, ...]) -> Span:
    if isinstance(target, tuple):
        return _span_of_blocks(state, target)
    loop = state.loop(target, _NAME)
    found = tuple(direct_blocks(loop))
    if len(found) != 1:
        raise refused(
            state, _NAME, "a loop around a single block", f"{len(found)} blocks", at=target,
            hint="give the list of blocks instead of a loop",
        )  # fmt: skip
    return Span(f"{found[0].name}_o", (loop,), found, state.loops_above(loop))


def _span_of_blocks(state: State, names: tuple[str, ...]) -> Span:
    if not names:
        hint = "give blocks from get_block"
        raise refused(state, _NAME, "at least one block", "none", at=None, hint=hint)
    wanted = [state.block(name, _NAME) for name in dict.fromkeys(names)]
    scope = _scope(state, wanted[0])
    for block in wanted:
        if _scope(state, block) is not scope:
            given = f"'{block.name}' in another scope than '{wanted[0].name}'"
            raise refused(state, _NAME, "blocks of one scope", given, at=block.name)
    stmts = _statements_with(state, wanted)
    found = tuple(block for stmt in stmts for block in direct_blocks(stmt))
    for block in found:
        if block not in wanted:
            raise refused(
                state, _NAME, "blocks that no other statement stands between",
                f"'{block.name}'", at=block.name, hint="name it, too, or move it away",
            )  # fmt: skip
    name = "_".join(("outer", *(block.name for block in found), ""))
    return Span(name, stmts, found, state.loops_above(stmts[0]))


def _scope(state: State, block: Block) -> Block:
    if block is state.program.root:
        raise refused(
            state, _NAME, "blocks inside the root block", "the root block", at=block.name,
            hint="take its get_child_blocks",
        )  # fmt: skip
    return state.scope(block)


def _statements_with(state: State, wanted: Sequence[Block]) -> tuple[Stmt, ...]:
    """The smallest run of statements of one suite that holds the blocks."""
    if len(wanted) == 1:
        return (wanted[0],)
    paths = [(*state.ancestors(block), block) for block in wanted]
    depth = 0
    while len({id(path[depth]) for path in paths}) == 1:
        depth += 1
    parent = paths[0][depth - 1]
    if not isinstance(parent, Seq):
        return (parent,)
    positions = [
        next(k for k, child in enumerate(parent.stmts) if child is path[depth]) for path in paths
    ]
    return parent.stmts[min(positions) : max(positions) + 1]


def _exchanged(state: State, span: Span, made: Block) -> State:
    first = span.stmts[0]
    if len(span.stmts) == 1:
        return state.replace(first, made)
    parent = state.ancestors(first)[-1]
    assert isinstance(parent, Seq), "several statements stand in a sequence"
    gone = {id(stmt) for stmt in span.stmts[1:]}
    stmts = [made if s is first else s for s in parent.stmts if id(s) not in gone]
    return state.replace(parent, seq(*stmts))


def _check_loops(state: State, span: Span) -> None:
    hidden = {loop.var for loop in span.outer}
    for top in span.stmts:
        for stmt in walk(top):
            if isinstance(stmt, Block):
                continue
            for expr in stmt_exprs(stmt) if isinstance(stmt, For | If) else ():
                if used := sorted(v.name for v in free_vars(expr) & hidden):
                    raise refused(
                        state, _NAME, "extents and conditions inside that do not depend on loops "
                        "outside", f"{expr}, which depends on '{used[0]}'", at=span.mark,
                    )  # fmt: skip


PRIMITIVES.register(_NAME, Primitive(_NAME, blockize, output="block"))
