"""What every primitive promises, see `metasched.schedule.primitives.primitive.Primitive`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metasched import ops
from metasched.errors import ScheduleError
from metasched.ir.stmt import Program
from metasched.ir.verify import verify
from metasched.schedule.schedule import Schedule
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_round_trip


class PrimitiveContract:
    """Override ``legal`` and ``refused``, and ``program`` where the default does not suit them."""

    @pytest.fixture
    def program(self) -> Program:
        """Return the program that is scheduled."""
        return ops.dense(m=6, n=8, k=4, bias=True, activation="relu")

    @pytest.fixture
    def legal(self) -> Callable[[Schedule], object]:
        """Return steps that apply the primitive where it is legal."""
        raise NotImplementedError("override the fixture `legal`")

    @pytest.fixture
    def refused(self) -> Callable[[Schedule], object]:
        """Return a step that breaks one of the primitive's rules."""
        raise NotImplementedError("override the fixture `refused`")

    def test_it_keeps_the_meaning(
        self, program: Program, legal: Callable[[Schedule], object]
    ) -> None:
        """The program stays well formed and computes the same."""
        schedule = Schedule(program)
        legal(schedule)
        verify(schedule.program)
        check_equivalent(program, schedule.program)

    def test_it_is_traced(self, program: Program, legal: Callable[[Schedule], object]) -> None:
        """Its steps replay from JSON and from Python text."""
        schedule = Schedule(program)
        legal(schedule)
        assert schedule.trace.instructions
        check_round_trip(schedule)

    def test_copies_are_independent(
        self, program: Program, legal: Callable[[Schedule], object]
    ) -> None:
        """It changes the schedule that it is called on, and no other."""
        schedule = Schedule(program)
        legal(schedule.copy())
        assert schedule.program is program

    def test_a_refusal_leaves_the_schedule(
        self, program: Program, refused: Callable[[Schedule], object]
    ) -> None:
        """The message says what was expected; nothing has changed."""
        schedule = Schedule(program)
        with pytest.raises(ScheduleError, match="expected") as error:
            refused(schedule)
        assert str(error.value)
        assert str(schedule.program) == str(program)
