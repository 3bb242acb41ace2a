from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.stmt import Program
from metasched.space.generate import drafts
from metasched.space.patterns import has_reuse
from metasched.space.rules import AddRFactor
from metasched.space.rules.rule import RULES
from metasched.target import Target
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline


def spread(program: Program, rule: AddRFactor | None = None) -> list[list[str]]:
    found = drafts(program, (rule or AddRFactor(),), TARGET)
    for draft in found:
        check_equivalent(program, draft.program)
    return [outline(draft.program) for draft in found]


def test_a_row_sum_is_spread_over_lanes() -> None:
    assert spread(ops.reduce_sum(m=64, n=32)) == [
        ["i k <o>"],
        ["i k_0 k_1 <o_rf>", "i_1 k_1_1 <o>"],
    ]


def test_a_sum_with_few_rows_is_spread_over_cores_too() -> None:
    assert spread(ops.reduce_sum(m=2, n=512))[2] == [
        "i k_0 k_1 k_2 <o_rf_rf>",
        "i_2 k_0_1 k_2_2 <o_rf>",
        "i_1 k_2_1 <o>",
    ]


def test_jobs_alone_are_offered_on_request() -> None:
    rule = AddRFactor(variants=("jobs",))
    assert spread(ops.reduce_sum(m=2, n=512), rule) == [["i k_0 k_1 <o_rf>", "i_1 k_0_1 <o>"]]


def test_a_long_product_with_a_small_result_is_split_by_jobs_for_tiling() -> None:
    found = spread(ops.matmul(m=4, n=4, k=64))
    assert found == [["i j k <c>"], ["i j k_0 k_1 <c_rf>", "i_1 j_1 k_0_1 <c>"]]


def test_partial_products_can_still_be_tiled() -> None:
    draft = drafts(ops.matmul(m=4, n=4, k=64), (AddRFactor(),), TARGET)[1]
    assert has_reuse(draft.state.block("c_rf"))


def test_sums_of_partial_results_are_spread_once() -> None:
    rules = (AddRFactor(), AddRFactor(variants=("plain",)))
    assert len(drafts(ops.reduce_sum(m=64, n=32), rules, TARGET)) == 2


def test_fixed_lanes_divide_the_reduction() -> None:
    rule = AddRFactor(variants=("lanes",), max_innermost_factor=16, fixed=True)
    (draft,) = drafts(ops.reduce_sum(m=8, n=36), (rule,), TARGET)
    assert draft.state.loop("k_1").extent.value == 12  # type: ignore[attr-defined]
    assert not draft.trace.decisions


@pytest.mark.parametrize(
    ("program", "block", "reason"),
    [
        (suite.program("C2D"), "conv", "tiled, with enough spatial work"),
        (suite.program("C2D"), "pad", "no reduction into one buffer"),
        (ops.argmax(m=8, n=64), "o", "no reduction into one buffer"),
        (ops.reduce_sum(m=64, n=8), "o", "too short to spread"),
        (ops.reduce_sum(m=64, n=32), "root", "the root block"),
    ],
)
def test_what_is_left_alone(program: Program, block: str, reason: str) -> None:
    state = drafts(program, (), TARGET)[0].state
    assert AddRFactor().refusal(state, state.block(block), TARGET) == reason


def test_one_core_needs_no_jobs() -> None:
    one = Target("cpu", cores=1)
    assert len(drafts(ops.reduce_sum(m=2, n=512), (AddRFactor(),), one)) == 2


def test_registered() -> None:
    assert RULES["add_rfactor"] is AddRFactor
