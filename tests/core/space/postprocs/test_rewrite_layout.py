from __future__ import annotations

from dataclasses import replace

import pytest

from metasched import ops
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.space.cpu import CPU_POSTPROCS
from metasched.space.outline import outline
from metasched.space.postprocs import Rejected, RewriteLayout, postprocess
from metasched.space.space import Space
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_round_trip
from tests.core.space.outline import TARGET

MATMUL = ops.matmul(m=8, n=24, k=16)


def tiled(program: Program = MATMUL) -> Schedule:
    sch = Schedule(program)
    i, j, k = sch.get_loops(sch.get_block("c"))
    j0, j1 = sch.split(j, (None, 8))
    k0, k1 = sch.split(k, (None, 4))
    sch.reorder(j0, k0, i, k1, j1)
    return sch


def rewritten(schedule: Schedule, *buffers: str) -> Schedule:
    done = postprocess(schedule, (RewriteLayout(buffers),), TARGET)
    assert not isinstance(done, Rejected), done
    check_round_trip(done)
    check_equivalent(schedule.original, done.program)
    return done


def maps(schedule: Schedule) -> list[object]:
    steps = schedule.trace.instructions
    return [s.inputs[3] for s in steps if s.kind == "reindex_cache_read"]


def test_an_operand_is_packed_in_the_order_of_the_loops() -> None:
    done = rewritten(tiled(), "b")
    assert maps(done) == [
        "v0, v1, v2 -> [v1 // 8 % 3, v2 // 4 % 4, v2 // 1 % 4, v1 // 1 % 8]",
    ]
    assert outline(done.program)[0] == "ax0 ax1 <b_global>"
    (packed,) = [b for b in done.program.root.allocs if b.name == "b_global"]
    assert [str(n) for n in packed.shape] == ["3", "4", "4", "8"]


def test_both_operands_may_be_packed() -> None:
    assert len(maps(rewritten(tiled(), "a", "b"))) == 2


def test_what_lies_so_already_stays() -> None:
    assert maps(rewritten(Schedule(MATMUL), "a")) == []


def test_only_what_may_change_is_packed() -> None:
    assert maps(rewritten(tiled())) == []


def test_the_root_block_says_which_parameters_may_change() -> None:
    sch = Schedule(MATMUL)
    sch.annotate(sch.get_block("root"), "layout_free_buffers", [1])
    done = rewritten(tiled(sch.program))
    assert len(maps(done)) == 1
    notes = [a for b in done.state.tree.blocks.values() for a in b.annotations]
    assert ("meta_schedule.layout_rewrite_preproc", 1) in notes


def test_operands_read_by_sums_of_iterations_stay() -> None:
    program = ops.conv1d(n=1, l=8, ci=4, co=8, k=3)
    sch = Schedule(program)
    names = [b.name for b in program.params]
    assert maps(rewritten(sch, names[0])) == []


@pytest.mark.parametrize("seed", range(4))
def test_candidates_of_the_default_space_are_rewritten(seed: int) -> None:
    postprocs = (CPU_POSTPROCS[0], RewriteLayout(("b",)), *CPU_POSTPROCS[2:])
    space = replace(Space.default(), postprocs=postprocs)
    bound = space.on(MATMUL, TARGET)
    for number in range(len(bound.sketches)):
        done = bound.attempt(number, seed)
        assert not isinstance(done, Rejected), done
        check_equivalent(MATMUL, done.program)
