from __future__ import annotations

from metasched import ops
from metasched.analysis.dependence import Scope, conjuncts, domain_guards, driven
from metasched.ir.expr import TRUE, Var, all_of, less
from metasched.ir.stmt import Block, Program
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.stages import chain, nested, row_sums, twice_written


def scope(program: Program) -> tuple[Scope, dict[str, Block]]:
    found = Scope.of(program.root)
    return found, {b.name: b for b in found.blocks}


def names(blocks: tuple[Block, ...]) -> list[str]:
    return [b.name for b in blocks]


def test_producers_and_consumers() -> None:
    known, blocks = scope(chain())
    assert names(known.producers(blocks["d"])) == ["b", "c"]
    assert names(known.consumers(blocks["b"])) == ["c", "d"]
    assert names(known.producers(blocks["b"])) == []
    assert known.is_output(blocks["d"])
    assert not known.is_output(blocks["c"])


def test_an_init_block_comes_before_its_update() -> None:
    sch = Schedule(row_sums())
    block = sch.get_block("s")
    sch.decompose_reduction(block, sch.get_loops(block)[1])
    known, blocks = scope(sch.program)
    assert names(known.producers(blocks["s"])) == ["s_init"]
    assert names(known.consumers(blocks["s_init"])) == ["s", "d"]
    assert names(known.producers(blocks["d"])) == ["s_init", "s"]


def test_a_scope_holds_its_direct_blocks() -> None:
    known, blocks = scope(nested())
    assert names(known.blocks) == ["b", "outer"]
    assert names(Scope.of(blocks["outer"]).blocks) == ["c"]


def test_complete_and_reduction_blocks() -> None:
    known, blocks = scope(row_sums())
    assert known.why_not_complete(blocks["d"]) is None
    assert known.why_not_reduction(blocks["s"]) is None
    assert known.why_not_movable(blocks["s"]) is None
    assert known.why_not_complete(blocks["s"]) == "'s', whose iteration 'v_k' is reduce"
    assert known.why_not_reduction(blocks["d"]) == "'d', which has no init"


def test_an_update_alone_is_neither() -> None:
    sch = Schedule(row_sums())
    block = sch.get_block("s")
    sch.decompose_reduction(block, sch.get_loops(block)[1])
    known, blocks = scope(sch.program)
    assert known.why_not_movable(blocks["s"]) == "'s', whose iteration 'v_k' is reduce"
    reason = "'s_init', which shares the writing of 's' with 's'"
    assert known.why_not_movable(blocks["s_init"]) == reason


def test_a_shared_buffer_is_dominated_by_nobody() -> None:
    known, blocks = scope(twice_written())
    assert known.why_not_complete(blocks["low"]) == (
        "'low', which shares the writing of 'b' with 'high'"
    )


def test_parts_of_a_condition() -> None:
    i, j = Var("i"), Var("j")
    parts = (less(i, 3), less(j, 4), less(i, j))
    assert conjuncts(all_of(parts)) == parts
    assert conjuncts(TRUE) == ()


def test_guards_that_keep_iterations_in_their_domains() -> None:
    sch = Schedule(ops.matmul(m=5, n=6, k=7))
    block = sch.get_block("c")
    i, j, k = sch.get_loops(block)
    sch.split(sch.fuse(i, j), [None, 4])
    sch.split(k, [None, 2])
    found = sch.state.block("c")
    guards, rest = domain_guards(found)
    assert [str(g) for g in guards] == ["i_j_0 * 4 + i_j_1 < 30", "k_0 * 2 + k_1 < 7"]
    assert rest == ()
    assert {v.name for v in driven(found.iters, "reduce")} == {"k_0", "k_1"}


def test_other_conditions_are_no_domain_guards() -> None:
    sch = Schedule(row_sums(3, 11))
    outer, _ = sch.split(sch.get_loops(sch.get_block("s"))[1], [None, 4])
    sch.rfactor(outer, 0)
    guards, rest = domain_guards(sch.state.block("s_rf"))
    assert guards == ()
    assert [str(r) for r in rest] == ["k_0 * 4 + k_1 < 11"]
