"""Ranking with the saved model alone: what is compiled, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import pytest

from metasched import ops
from metasched.database import AbstractDatabase, open_database
from metasched.errors import ScheduleError, UsageError
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import AbstractPostproc, Rejected
from metasched.space.space import Space
from metasched.target import Target
from metasched.tuning import TuneResult, tune
from tests.core.stub_workers import StubWorkers

pytestmark = pytest.mark.cc


@pytest.fixture(scope="module")
def taught() -> Iterator[AbstractDatabase]:
    """A database whose model learned from another program."""
    with open_database("memory:") as database:
        tune(ops.matmul(m=64, n=48, k=32), database=database, workers=StubWorkers(), trials=20)
        yield database


def test_an_unseen_program_is_compiled_without_measuring(taught: AbstractDatabase) -> None:
    program = ops.matmul(m=40, n=56, k=24)
    before = len(list(taught.records()))
    result = tune(program, database=taught, trials=0)
    assert isinstance(result, TuneResult)
    assert result.kernel is not None
    assert (result.trials, result.measured, result.best) == (0, 0, None)
    assert len(list(taught.records())) == before
    a, b = (np.random.default_rng(k).random((n, m), np.float32) for k, n, m in
            ((0, 40, 24), (1, 24, 56)))  # fmt: skip
    np.testing.assert_allclose(result.kernel(a, b), a @ b, rtol=1e-5)
    assert result.kernel.record is None
    assert result.kernel.scheduled != program


def test_several_programs_and_the_same_kernel_again(taught: AbstractDatabase) -> None:
    programs = [ops.relu(m=64, n=64), ops.matmul(m=40, n=56, k=24)]
    first, again = (tune(programs, database=taught, trials=0, seed=5) for _ in range(2))
    assert isinstance(first, tuple) and isinstance(again, tuple)  # noqa: PT018
    sources = [[r.kernel.source for r in found if r.kernel] for found in (first, again)]
    assert sources[0] == sources[1]
    assert len(sources[0]) == 2


def test_without_a_model_the_remedy_is_named() -> None:
    with open_database("memory:") as database:
        with pytest.raises(UsageError, match=r"no 'boosted_trees' for cpu.*metasched model train"):
            tune(ops.relu(m=8, n=8), database=database, trials=0)


@final
@dataclass(frozen=True)
class RefuseAll(AbstractPostproc):
    """Refuses every candidate."""

    name: ClassVar[str] = "refuse_all"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        return Rejected(self.name, "all are refused")


def test_a_space_without_a_buildable_candidate_ends_with_the_reason(
    taught: AbstractDatabase,
) -> None:
    space = replace(Space.default("cpu"), postprocs=(RefuseAll(),))
    with pytest.raises(ScheduleError, match=r"none of \d+ candidates of 'relu'.*all are refused"):
        tune(ops.relu(m=8, n=8), database=taught, trials=0, space=space)
