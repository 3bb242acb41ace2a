"""What every postprocessor promises, see `metasched.space.postprocs.postproc.AbstractPostproc`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from metasched import ops
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import AbstractPostproc, Rejected, postprocess
from metasched.space.space import Space
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_round_trip


class PostprocContract:
    """Override ``postproc``, and ``target`` or ``programs`` where the defaults do not suit it."""

    @pytest.fixture
    def postproc(self) -> AbstractPostproc:
        """Return the postprocessor."""
        raise NotImplementedError("override the fixture `postproc`")

    @pytest.fixture
    def target(self) -> Target:
        """Return what it is for."""
        return Target("cpu")

    @pytest.fixture
    def programs(self) -> Sequence[Program]:
        """Return programs whose candidates it gets, by the rules of the target's default space."""
        return (
            ops.dense(m=8, n=16, k=16, bias=True, activation="relu"),
            ops.softmax(m=4, n=32),
        )

    @pytest.fixture
    def before(self) -> Sequence[AbstractPostproc]:
        """Return the postprocessors that have to come first."""
        return ()

    def test_it_travels_to_builders(self, postproc: AbstractPostproc) -> None:
        """Builder processes get a pickled copy, and a space with it can be written as text."""
        assert pickle.loads(pickle.dumps(postproc)) == postproc
        space = Space(postprocs=(postproc,))
        assert Space.from_json(space.to_json()) == space

    def test_it_finishes_or_rejects(
        self,
        postproc: AbstractPostproc,
        before: Sequence[AbstractPostproc],
        target: Target,
        programs: Sequence[Program],
    ) -> None:
        """What it finishes computes the same and replays alone; a reason is one line."""
        for candidate in _candidates(programs, target):
            done = postprocess(candidate, (*before, postproc), target)
            if isinstance(done, Rejected):
                assert done.reason
                assert "\n" not in done.reason
                assert done.postproc in {p.name for p in (*before, postproc)}
            else:
                check_round_trip(done)
                check_equivalent(candidate.original, done.program)

    def test_it_keeps_nothing_between_calls(
        self,
        postproc: AbstractPostproc,
        before: Sequence[AbstractPostproc],
        target: Target,
        programs: Sequence[Program],
    ) -> None:
        """The same candidate comes to the same end, and stays as it was."""
        for candidate in _candidates(programs, target):
            text = str(candidate.program)
            first, second = (postprocess(candidate, (*before, postproc), target) for _ in range(2))
            assert str(candidate.program) == text
            if isinstance(first, Rejected) or isinstance(second, Rejected):
                assert first == second
            else:
                assert first.trace == second.trace


def _candidates(programs: Sequence[Program], target: Target) -> Iterator[Schedule]:
    for program in programs:
        bound = Space.default(target.kind).on(program, target)
        for number in range(min(len(bound.sketches), 3)):
            drawn = bound.draw(number, np.random.default_rng(number))
            if not isinstance(drawn, Rejected):
                yield drawn
