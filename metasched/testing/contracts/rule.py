"""What every rule promises, see `metasched.space.rules.rule.AbstractRule`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from metasched import ops
from metasched.errors import ScheduleError
from metasched.ir.stmt import Program
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.patterns import post_order
from metasched.space.postprocs import Rejected
from metasched.space.rules import AbstractRule
from metasched.space.space import Space
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_round_trip


class RuleContract:
    """Override ``rule``, and ``target`` or ``programs`` where the defaults do not suit it."""

    @pytest.fixture
    def rule(self) -> AbstractRule:
        """Return the rule."""
        raise NotImplementedError("override the fixture `rule`")

    @pytest.fixture
    def target(self) -> Target:
        """Return what it is for."""
        return Target("cpu")

    @pytest.fixture
    def programs(self) -> Sequence[Program]:
        """Return programs to try it on, some of which it should change."""
        return (
            ops.dense(m=8, n=16, k=16, bias=True, activation="relu"),
            ops.softmax(m=4, n=32),
            ops.matmul(m=4, n=32, k=8, dtype="int8", acc_dtype="int32"),
        )

    def test_it_is_a_value(self, rule: AbstractRule) -> None:
        """A frozen dataclass, whose fields are its options, with a name."""
        assert is_dataclass(rule)
        assert rule.name
        options = {field.name: getattr(rule, field.name) for field in fields(rule)}
        assert type(rule)(**options) == rule
        assert hash(type(rule)(**options)) == hash(rule)

    def test_it_comes_back_from_text(self, rule: AbstractRule) -> None:
        """A space with it can be written and read."""
        space = Space((rule,))
        assert Space.from_json(space.to_json()) == space

    def test_it_offers_the_same_each_time(
        self, rule: AbstractRule, target: Target, programs: Sequence[Program]
    ) -> None:
        """Sketches are a function of program and target."""
        for program in programs:
            first, second = (Space((rule,)).on(program, target).sketches for _ in range(2))
            assert first == second

    def test_its_steps_do_not_depend_on_draws(
        self, rule: AbstractRule, target: Target, programs: Sequence[Program]
    ) -> None:
        """A sketch stands for all its candidates, so that sizes must not decide what is done."""
        for program in programs:
            for name in post_order(Schedule(program).state):
                drawn = [_applied(rule, program, name, target, seed) for seed in range(3)]
                assert drawn[0] == drawn[1] == drawn[2]

    def test_its_candidates_compute_the_same(
        self, rule: AbstractRule, target: Target, programs: Sequence[Program]
    ) -> None:
        """Whatever is drawn; and their traces replay in every form."""
        for program in programs:
            bound = Space((rule,), postprocs=()).on(program, target)
            for number in range(len(bound.sketches)):
                done = bound.draw(number, np.random.default_rng(number))
                if not isinstance(done, Rejected):
                    check_round_trip(done)
                    check_equivalent(program, done.program)


def _applied(
    rule: AbstractRule, program: Program, block: str, target: Target, seed: int
) -> list[object]:
    """The steps of each result of a rule at one block, for placeholders of a seed."""
    schedule = Schedule(program, choices=Draw(np.random.default_rng(seed)))
    if rule.refusal(schedule.state, schedule.state.block(block), target) is not None:
        return []
    try:
        results = rule.apply(schedule, schedule.get_block(block), target)
    except ScheduleError:
        return ["refused"]
    return [result.trace.instructions for result in results]
