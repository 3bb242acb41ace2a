from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.space.generate import drafts
from metasched.space.rules import MultiLevelTiling, RandomComputeLocation
from metasched.space.rules.rule import RULES
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline

RULES_USED = (MultiLevelTiling(), RandomComputeLocation())


def test_readers_are_placed_before_what_they_read() -> None:
    (draft,) = drafts(ops.softmax(m=4, n=8), (RandomComputeLocation(),), TARGET)
    sampled = [s for s in draft.trace.instructions if s.kind == "sample_compute_location"]
    blocks = [draft.value(s.inputs[0]) for s in sampled]  # type: ignore[arg-type]
    assert blocks == ["s", "e", "mx"]


def test_every_location_of_a_padding_stage_computes_the_same() -> None:
    program = suite.small("C2D")
    (draft, *_) = drafts(program, RULES_USED, TARGET)
    (index,) = (
        k for k, s in enumerate(draft.trace.instructions) if s.kind == "sample_compute_location"
    )
    seen: set[str] = set()
    for decision in draft.sites[index].decisions():
        moved = replay(draft.trace.with_decision(index, decision), program)
        check_equivalent(program, moved.program)
        seen.add(" | ".join(outline(moved.program)))
    assert len(seen) > 10


@pytest.mark.parametrize(
    ("program", "block", "why"),
    [
        (ops.softmax(m=4, n=8), "root", "the root block"),
        (ops.softmax(m=4, n=8), "o", "writes an output"),
        (ops.dense(m=4, n=8, k=4, bias=True, activation="relu"), "z", "tiled"),
    ],
)
def test_what_is_left_alone(program: Program, block: str, why: str) -> None:
    draft = drafts(program, (MultiLevelTiling(),), TARGET)[0]
    assert RandomComputeLocation().refusal(draft.state, draft.state.block(block), TARGET) == why


def test_a_block_that_shares_its_nest_is_left_alone() -> None:
    schedule = drafts(ops.softmax(m=4, n=8), (), TARGET)[0]
    inner, outer = schedule.get_block("s"), schedule.get_block("o")
    schedule.compute_at(inner, schedule.get_loops(outer)[0])
    state = schedule.state
    rule = RandomComputeLocation()
    assert rule.refusal(state, state.block("s"), TARGET) == "shares its nest with another block"


def test_registered() -> None:
    assert RULES["random_compute_location"] is RandomComputeLocation
