from __future__ import annotations

import pytest

from metasched import te
from metasched.ir.stmt import Program
from metasched.space.generate import drafts
from metasched.space.rules import InlineConstantScalars
from metasched.space.rules.rule import RULES
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline


def scaled() -> Program:
    x = te.placeholder((8,), name="x")
    two = te.compute((1,), lambda _: te.const(2.0, "float32"), name="two")
    ones = te.compute((8,), lambda _: te.const(1.0, "float32"), name="ones")
    o = te.compute((8,), lambda i: x[i] * two[0] + ones[i], name="o")
    return te.program([x, o])


def test_a_constant_scalar_is_inlined_and_a_constant_tensor_is_not() -> None:
    (draft,) = drafts(scaled(), (InlineConstantScalars(),), TARGET)
    check_equivalent(scaled(), draft.program)
    assert [line.split()[-1] for line in outline(draft.program)] == ["<ones>", "<o>"]


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("root", "the root block"),
        ("ones", "stores more than one element"),
        ("o", "computes from other values"),
    ],
)
def test_what_is_left_alone(block: str, why: str) -> None:
    state = drafts(scaled(), (), TARGET)[0].state
    assert InlineConstantScalars().refusal(state, state.block(block), TARGET) == why


def test_a_constant_output_stays() -> None:
    x = te.placeholder((1,), name="x")
    c = te.compute((1,), lambda _: te.const(2.0, "float32"), name="c")
    program = te.program([x, c])
    state = drafts(program, (), TARGET)[0].state
    assert InlineConstantScalars().refusal(state, state.block("c"), TARGET) == "writes an output"


def test_registered() -> None:
    assert RULES["inline_constant_scalars"] is InlineConstantScalars
