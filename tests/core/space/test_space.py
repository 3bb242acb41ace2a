from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import pytest

from metasched import ops
from metasched.errors import UsageError
from metasched.ir.stmt import Block, Program
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.cpu import CPU_MUTATORS
from metasched.space.postprocs import Rejected
from metasched.space.rules import AbstractRule, AutoInline, LeaveAlone, MultiLevelTiling
from metasched.space.rules.multi_level_tiling import WriteReuse
from metasched.space.space import Space
from metasched.target import Target
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from metasched.trace.instruction import Ref
from tests.core.space.outline import TARGET, sketch_outline


def outlines(program: Program) -> list[list[str]]:
    return outlines_of(Space.default(), program)


def outlines_of(space: Space, program: Program) -> list[list[str]]:
    return [sketch_outline(s.trace, program) for s in space.on(program, TARGET).sketches]


def test_sketches_of_matmul() -> None:
    assert outlines(ops.matmul(m=64, n=64, k=64)) == [
        ["i_0 j_0 i_1 j_1 k_0 i_2 j_2 k_1 i_3 j_3 <c>"],
        ["i_0 j_0 [i_1 j_1 k_0 i_2 j_2 k_1 i_3 j_3 <c>] [ax0_1 ax1_1 <c_global>]"],
        ["i_0 j_0 i_1 j_1 [k_0 i_2 j_2 k_1 i_3 j_3 <c>] [ax0_1 ax1_1 <c_global>]"],
    ]


def test_sketches_of_a_matmul_with_far_rows_offer_packing() -> None:
    found = outlines(ops.matmul(m=64, n=512, k=64))
    packed = "[ax0_1 ax1_1 <b_global>] [i_2 j_2 k_1 i_3 j_3 <c>]"
    assert len(found) == 6
    assert found[1] == [f"i_0 j_0 i_1 j_1 k_0 {packed}"]


def test_sketches_of_dense_move_the_fused_tail_into_the_tiles() -> None:
    found = outlines(ops.dense(m=64, n=64, k=64, bias=True, activation="relu"))
    assert found == [
        ["i_0 j_0 i_1 j_1 k_0 i_2 j_2 k_1 i_3 j_3 <z>", "relu_i relu_j <relu>"],
        ["i_0 j_0 [i_1 j_1 k_0 i_2 j_2 k_1 i_3 j_3 <z>] [ax0 ax1 <relu>]"],
        ["i_0 j_0 i_1 j_1 [k_0 i_2 j_2 k_1 i_3 j_3 <z>] [ax0 ax1 <relu>]"],
    ]


CONV_INNER = (
    "rh_0 rw_0 rc_0 conv_i1_2 conv_i2_2 conv_i3_2 rh_1 rw_1 rc_1 conv_i1_3 conv_i2_3 conv_i3_3 "
    "<conv>"
)
CONV_0 = "conv_i0 conv_i1_0 conv_i2_0 conv_i3_0"
CONV_1 = "conv_i1_1 conv_i2_1 conv_i3_1"


def test_sketches_of_conv2d_keep_the_padding_as_a_stage() -> None:
    pad, back = "i0 i1 i2 i3 <pad>", "[ax0_1 ax1_1 ax2_1 ax3_1 <conv_global>]"
    assert outlines(suite.program("C2D")) == [
        [pad, f"{CONV_0} {CONV_1} {CONV_INNER}"],
        [pad, f"{CONV_0} [{CONV_1} {CONV_INNER}] {back}"],
        [pad, f"{CONV_0} {CONV_1} [{CONV_INNER}] {back}"],
    ]


def test_sketches_of_conv2d_bias_relu() -> None:
    pad, tail = "i0 i1 i2 i3 <pad>", "[ax0 ax1 ax2 ax3 <relu>]"
    assert outlines(suite.program("CBR")) == [
        [pad, f"{CONV_0} {CONV_1} {CONV_INNER}", "relu_b relu_i relu_j relu_c <relu>"],
        [pad, f"{CONV_0} [{CONV_1} {CONV_INNER}] {tail}"],
        [pad, f"{CONV_0} {CONV_1} [{CONV_INNER}] {tail}"],
    ]


def test_sketches_of_softmax_spread_its_reductions_over_lanes() -> None:
    top, partial_top = ["i k1 <mx>"], ["i k1_0 k1_1 <mx_rf>", "i_1 k1_1_1 <mx>"]
    total, partial_total = ["s_i k2 <s>"], ["s_i k2_0 k2_1 <s_rf>", "s_i_1 k2_1_1 <s>"]
    exp, out = "e_i j <e>", "o_i o_j <o>"
    assert outlines(suite.program("SFM")) == [
        [*top, exp, *total, out],
        [*partial_top, exp, *total, out],
        [*top, exp, *partial_total, out],
        [*partial_top, exp, *partial_total, out],
    ]


def test_sketches_of_the_norm_of_one_matrix_use_lanes_and_cores() -> None:
    tail = "length_q <length>"
    assert outlines(suite.program("NRM")) == [
        ["q i j <s>", tail],
        ["q i_j_0 i_j_1 <s_rf>", "q_1 i_j_1_1 <s>", tail],
        [
            "q i_j_0 i_j_1 i_j_2 <s_rf_rf>",
            "q_2 i_j_0_1 i_j_2_2 <s_rf>",
            "q_1 i_j_2_1 <s>",
            tail,
        ],
    ]


@pytest.mark.parametrize(("name", "packed"), [("TBG", "v_global"), ("QKT", "k_global")])
def test_sketches_pack_the_operand_that_the_lanes_jump_in(name: str, packed: str) -> None:
    found = outlines(suite.program(name))
    assert len(found) == 6
    assert [packed in sketch[0] for sketch in found] == [False, True] * 3
    assert all(len(sketch) == 1 for sketch in found), "transposes are inlined"


@pytest.mark.parametrize("name", suite.SUITE)
def test_samples_compute_the_same_and_their_traces_replay_alone(name: str) -> None:
    bound = Space.default().on(suite.small(name), TARGET)
    assert 1 <= len(bound.sketches) <= 8
    for number in range(len(bound.sketches)):
        for seed in range(3):
            done = bound.attempt(number, 100 * number + seed)
            assert not isinstance(done, Rejected), done
            check_equivalent(bound.program, done.program)
            assert replay(done.trace, bound.program).program == done.program


def test_sketches_are_the_same_in_every_run() -> None:
    program = suite.program("CBR")
    first, second = (Space.default().on(program, TARGET).sketches for _ in range(2))
    assert first == second


def test_refusals_are_counted_by_rule_block_and_reason() -> None:
    bound = Space.default().on(ops.gelu(m=8, n=8), TARGET)
    assert bound.tally.refused["multi_level_tiling", "root", "the root block"] == 1
    assert any(reason == "no reduction with data reuse" for *_, reason in bound.tally.refused)


@final
@dataclass(frozen=True, slots=True)
class SplitInnermost(AbstractRule):
    """A user's own rule: two schedules for each block, plain and with its last loop split."""

    name: ClassVar[str] = "split_innermost"
    length: int = 4

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        return None if state.loops_above(block) else "has no loops"

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        changed = schedule.copy()
        changed.split(changed.get_loops(block)[-1], (None, self.length))
        return [schedule, changed]


def test_a_rule_of_the_users_own_takes_one_class() -> None:
    program = ops.add_relu(m=6, n=10)
    space = Space((AutoInline(), SplitInnermost()))
    assert outlines_of(space, program) == [["o_i o_j <o>"], ["o_i o_j_0 o_j_1 <o>"]]
    for number in range(2):
        done = space.on(program, TARGET).attempt(number, seed=0)
        assert not isinstance(done, Rejected)
        check_equivalent(program, done.program)


def tile_rows(schedule: Schedule) -> None:
    i, j, k = schedule.get_loops(schedule.get_block("c"))
    outer, inner = schedule.split(i, schedule.sample_perfect_tile(i, 2))
    schedule.reorder(outer, k, inner, j)


def test_a_schedule_function_is_a_space() -> None:
    program, space = ops.matmul(m=8, n=8, k=8), Space.from_function(tile_rows)
    assert outlines_of(space, program) == [["i_0 k i_1 j <c>"]]


def branch(schedule: Schedule) -> None:
    loops = schedule.get_loops(schedule.get_block("c"))
    if schedule.int_of(schedule.sample_categorical([0, 1], [0.5, 0.5])):
        schedule.split(loops[0], (2, None))


def test_a_schedule_function_that_branches_on_its_draws_has_a_sketch_for_each_branch() -> None:
    program = ops.matmul(m=8, n=8, k=8)
    found = outlines_of(Space.from_function(branch), program)
    assert sorted(found) == [["i j k <c>"], ["i_0 i_1 j k <c>"]]


def test_a_union_offers_the_sketches_of_all_members() -> None:
    program = ops.matmul(m=8, n=8, k=8)
    parts = (Space.default(), Space.from_function(tile_rows), COARSE)
    union = parts[0] | parts[1] | parts[2]
    expected = [s for part in parts for s in part.on(program, TARGET).sketches]
    assert union.on(program, TARGET).sketches == tuple(expected)


def test_a_union_with_itself_changes_nothing() -> None:
    assert Space.default() | Space.default() == Space.default()
    assert (COARSE | Space.default()).mutators == CPU_MUTATORS


def test_each_member_of_a_union_finishes_its_own_candidates() -> None:
    program = ops.matmul(m=8, n=8, k=8)
    bound = (COARSE | replace(Space.from_function(tile_rows), postprocs=())).on(program, TARGET)
    assert [bool(sketch.postprocs) for sketch in bound.sketches] == [True, False]
    ruled, called = (bound.attempt(number, seed=0) for number in range(2))
    assert isinstance(ruled, Schedule)
    assert isinstance(called, Schedule)
    kinds = [step.kind for step in called.trace.instructions]
    assert kinds[-1] == "enter_postproc"
    assert "decompose_reduction" in [step.kind for step in ruled.trace.instructions]
    assert "decompose_reduction" not in kinds


def test_rules_are_added_and_taken_out_by_name() -> None:
    names = [rule.name for rule in Space.default().with_rule(SplitInnermost()).rules]
    assert names[-1] == "split_innermost"
    space = Space.default().with_rule(SplitInnermost(), before="add_rfactor")
    at = [rule.name for rule in space.rules].index("split_innermost")
    assert space.rules[at + 1].name == "add_rfactor"
    space = space.with_rule(SplitInnermost(2), after="split_innermost")
    assert space.rules[at : at + 2] == (SplitInnermost(), SplitInnermost(2))
    assert space.without_rule("split_innermost") == Space.default()
    with pytest.raises(UsageError, match="no rule 'auto_inlin'; did you mean 'auto_inline'"):
        Space.default().without_rule("auto_inlin")
    with pytest.raises(UsageError, match="takes before= or after=, got both"):
        space.with_rule(SplitInnermost(), before="a", after="b")


def test_rules_change_in_every_member_that_has_rules() -> None:
    union = Space.from_function(tile_rows) | COARSE | Space.default()
    changed = union.with_rule(SplitInnermost())
    assert [bool(m.rules) for m in changed.members] == [False, True, True]
    assert all(m.rules[-1] == SplitInnermost() for m in changed.members if m.rules)
    assert changed.without_rule("split_innermost") == union


def test_a_block_has_a_rule_of_its_own() -> None:
    program = ops.dense(m=8, n=8, k=8, bias=True, activation="relu")
    space = Space.default().with_block_rule("z", split_first)
    bound = space.on(program, TARGET)
    (sketch,) = bound.sketches
    assert sketch_outline(sketch.trace, program) == ["i_0 i_1 j k <z>", "relu_i relu_j <relu>"]
    assert ("multi_level_tiling", "z", "has a rule of its own, 'call_function'") in (
        bound.tally.refused
    )
    again = space.with_block_rule("z", LeaveAlone())
    assert outlines_of(again, program) == [["i j k <z>", "relu_i relu_j <relu>"]]


def test_a_block_names_its_rule_by_an_annotation() -> None:
    sch = Schedule(ops.matmul(m=8, n=8, k=8))
    sch.annotate(sch.get_block("c"), "schedule_rule", "none")
    assert outlines_of(Space.default(), sch.program) == [["i j k <c>"]]
    sch.unannotate(sch.get_block("c"), "schedule_rule")
    sch.annotate(sch.get_block("c"), "schedule_rule", "nome")
    with pytest.raises(UsageError, match="unknown custom rule 'nome'; did you mean 'none'"):
        _ = Space.default().on(sch.program, TARGET).sketches


def test_a_function_of_a_block_must_return_schedules() -> None:
    space = Space.default().with_block_rule("c", lambda schedule, block: 3)
    with pytest.raises(UsageError, match="must return None, a Schedule or a list of them, got 3"):
        _ = space.on(ops.matmul(m=8, n=8, k=8), TARGET).sketches


def split_first(schedule: Schedule, block: Ref) -> None:
    schedule.split(schedule.get_loops(block)[0], (2, None))


COARSE = Space((MultiLevelTiling(structure="SRS", reuse_write=WriteReuse("no")),))


def test_no_default_for_an_unknown_kind() -> None:
    with pytest.raises(
        UsageError, match="unknown default space of target kind 'gpu'; did you mean 'cpu'"
    ):
        Space.default("gpu")
