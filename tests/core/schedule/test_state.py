from __future__ import annotations

from dataclasses import replace

import pytest

from metasched.errors import ScheduleError
from metasched.ir.stmt import Block, For, If, Program, Stmt
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State, blocks_under, edit_stmt, loops_under
from tests.core.schedule.programs import check, copy, matmul, two_stages


def conditional(n: int = 6) -> Program:
    """The block of `copy` under a condition that always holds."""
    program = copy(n)
    loop = program.root.body
    assert isinstance(loop, For)
    inner = If(loop.var < n, loop.body)
    return replace(program, root=replace(program.root, body=replace(loop, body=inner)))


def test_names_find_loops_and_blocks() -> None:
    state = State(matmul())
    assert state.loop("i").var.name == "i"
    assert state.block("c").name == "c"
    assert state.node("k") is state.loop("k")
    assert state.node("c") is state.block("c")


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda s: s.loop("x", "split"), "split: there is no loop 'x'; known: i, j, k"),
        (lambda s: s.block("d", "get_block"), "get_block: there is no block 'd'; known: c, root"),
        (lambda s: s.node("jj", "annotate"), "annotate: there is no loop or block 'jj'; did you"),
    ],
)
def test_unknown_names_are_told(look, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScheduleError, match=message):
        look(State(matmul()))


def test_names_that_are_gone_are_never_used_again() -> None:
    sch = Schedule(copy(12))
    (loop,) = sch.get_loops(sch.get_block("b"))
    for _ in range(3):
        parts = sch.split(loop, [3, 4])
        loop = sch.fuse(*parts)
    names = [str(sch.value(ref)) for step in sch.trace.instructions for ref in step.outputs]
    assert len(set(names)) == len(names)


def test_surroundings() -> None:
    state = State(two_stages())
    block = state.block("c")
    assert [x.var.name for x in state.loops_above(block)] == ["c_i", "c_j"]
    assert state.scope(block) is state.program.root
    assert [b.name for b in blocks_under(state.program.root.body)] == ["b", "c"]
    assert [x.var.name for x in loops_under(state.loop("c_i"))] == ["c_i", "c_j"]


def test_replace_shares_the_rest() -> None:
    state = State(two_stages())
    changed = state.replace(state.block("c"), replace(state.block("c"), annotations=(("n", 1),)))
    assert changed.loop("i") is state.loop("i")
    assert changed.loop("c_j") is not state.loop("c_j")


def test_what_becomes_empty_goes() -> None:
    state = State(two_stages())
    left = state.replace(state.block("b"), None)
    assert set(left.tree.loops) == {"c_i", "c_j"}
    with pytest.raises(ScheduleError, match="the last statement of a program cannot be removed"):
        left.replace(left.block("c"), None)


def test_edit_reaches_under_conditions() -> None:
    def rename(stmt: Stmt) -> Stmt:
        return replace(stmt, name="d") if isinstance(stmt, Block) else stmt

    edited = edit_stmt(conditional().root.body, rename)
    assert edited is not None
    assert [b.name for b in blocks_under(edited)] == ["d"]
    assert edit_stmt(conditional().root.body, lambda s: None) is None


def test_guards_reach_under_conditions() -> None:
    sch = Schedule(conditional(7))
    (loop,) = sch.get_loops(sch.get_block("b"))
    sch.split(loop, [None, 4])
    assert "if i0_0 * 4 + i0_1 < 7:" in str(sch.program)
    assert "where(i0_0 * 4 + i0_1 < 7)" in str(sch.program)
    check(sch)
