from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.stmt import Program
from metasched.space.generate import drafts
from metasched.space.rules import AutoInline
from metasched.space.rules.rule import RULES
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline


def inlined(program: Program, rule: AutoInline | None = None) -> list[str]:
    (draft,) = drafts(program, (rule or AutoInline(),), TARGET)
    check_equivalent(program, draft.program)
    return outline(draft.program)


def reason(program: Program, block: str, rule: AutoInline | None = None) -> str | None:
    state = drafts(program, (), TARGET)[0].state
    return (rule or AutoInline()).refusal(state, state.block(block), TARGET)


def chain(*, steps: int) -> Program:
    x = te.placeholder((4, 6), name="x")
    y = x
    for _ in range(steps):
        y = te.compute((4, 6), lambda i, j, y=y: y[i, j] * y[i, j] + 1.0, name="y")
    return te.program([x, y])


def test_a_chain_of_elementwise_stages_becomes_one() -> None:
    assert len(inlined(chain(steps=4))) == 1


def test_transposes_disappear() -> None:
    assert len(inlined(suite.small("TBG"))) == 1


def test_transposes_stay_where_order_is_required() -> None:
    rule = AutoInline(require_ordered=True)
    assert len(inlined(suite.small("TBG"), rule)) == 3
    assert reason(suite.small("TBG"), "q_t", rule) == "permutes dimensions"


def test_padding_stays() -> None:
    assert reason(suite.small("C2D"), "pad") == "chooses between values"
    assert reason(suite.small("C2D"), "pad", AutoInline(disallow_if_then_else=False)) is None


def exponential(*, readers: int) -> Program:
    x = te.placeholder((8,), name="x")
    e = te.compute((8,), lambda i: te.exp(x[i]), name="e")
    outs = [te.compute((8,), lambda i, n=n: e[i] + float(n), name=f"o{n}") for n in range(readers)]
    return te.program([x, *outs])


def test_a_costly_stage_is_inlined_into_a_single_elementwise_reader() -> None:
    assert inlined(exponential(readers=1)) == ["o0_i <o0>"]


def test_a_costly_stage_with_two_readers_stays() -> None:
    assert reason(exponential(readers=2), "e") == (
        "calls a costly intrinsic that would be computed again"
    )


def test_an_allowed_intrinsic_is_inlined_everywhere() -> None:
    assert len(inlined(exponential(readers=2), AutoInline(disallow_op=()))) == 2


def test_gathers_by_quotients_stay() -> None:
    x = te.placeholder((8,), name="x")
    g = te.compute((16,), lambda i: x[i // 2], name="g")
    o = te.compute((16,), lambda i: g[i] + 1.0, name="o")
    assert reason(te.program([x, o]), "g") == "reads by more than distinct variables"


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("root", "the root block"),
        ("s", "reduces or stores more than once"),
        ("o", "writes an output"),
    ],
)
def test_what_is_left_alone(block: str, why: str) -> None:
    assert reason(ops.softmax(m=4, n=8), block) == why


def test_registered() -> None:
    assert RULES["auto_inline"] is AutoInline
