from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metasched import ops
from metasched.callbacks import (
    AbstractMeasureCallback,
    AddToDatabase,
    Measurement,
    RemoveArtefacts,
    UpdateCostModel,
    make_callbacks,
)
from metasched.database import AbstractDatabase, open_database
from metasched.errors import UsageError
from metasched.measure.records import BuildResult, Status
from metasched.search.budget import RoundRobin
from metasched.search.records import Outcome
from metasched.task import Task
from metasched.tuning import tune
from tests.core.stub_workers import StubWorkers

pytestmark = pytest.mark.cc

MATMUL = ops.matmul(m=64, n=48, k=32)


class Listener(AbstractMeasureCallback):
    """Keeps what it hears, and how many records the database held then."""

    def __init__(self, fail_after: int = 1000) -> None:
        self.heard: list[Measurement] = []
        self.on_record: list[int] = []
        self.finished = 0
        self._fail_after = fail_after

    def start(self, database: AbstractDatabase, tasks: Sequence[Task]) -> None:
        self._database = database
        self.tasks = tuple(tasks)

    def measured(self, results: Sequence[Measurement]) -> None:
        self.heard += results
        self.on_record.append(len(list(self._database.records())))
        if len(self.heard) >= self._fail_after:
            raise RuntimeError("the listener fails")

    def finish(self) -> None:
        self.finished += 1


def run(database: AbstractDatabase, trials: int = 12, **settings: Any) -> Any:
    workers = settings.pop("workers", None) or StubWorkers()
    return tune(
        settings.pop("program", MATMUL), database=database, workers=workers, trials=trials,
        model="analytic", **settings,
    )  # fmt: skip


def test_a_callback_hears_each_result_once_after_it_is_on_record() -> None:
    listener = Listener()
    with open_database("memory:") as database:
        run(database, callbacks=[listener])
        keys = [record.program_hash for record in database.records()]
    fresh = [m for m in listener.heard if m.candidate is not None and m.record is not None]
    assert [m.record.program_hash for m in fresh if m.record] == keys[1:]
    assert listener.heard[0].candidate is None, "the default schedule comes first"
    assert all(m.task is listener.tasks[0] for m in listener.heard)
    assert listener.on_record[0] == 1
    assert listener.on_record[-1] == len(keys)
    assert listener.finished == 1


def test_failures_and_duplicates_are_heard_of() -> None:
    def fail_odd(number: int, result: BuildResult) -> BuildResult:
        failed = BuildResult(result.candidate_id, Status.BUILD_ERROR, "no")
        return failed if number % 2 else result

    listener = Listener()
    with open_database("memory:") as database:
        run(database, callbacks=[listener], workers=StubWorkers(on_build=fail_odd))
    outcomes = {m.outcome for m in listener.heard}
    assert {Outcome.OK, Outcome.FAILED} <= outcomes
    assert all(m.artefact is None for m in listener.heard if m.outcome is Outcome.FAILED)


def test_a_callback_that_fails_ends_the_job_with_everything_on_record() -> None:
    listener = Listener(fail_after=5)
    with open_database("memory:") as database:
        with pytest.raises(RuntimeError, match="the listener fails"):
            run(database, callbacks=[listener])
        assert len(list(database.records())) >= 5
        (job,) = database.jobs()
        assert job.status == "failed"
    assert listener.finished == 1


def test_built_files_go_once_they_cannot_win(tmp_path: Path) -> None:
    from metasched.measure.local import LocalWorkers
    from metasched.target import Target

    listener = Listener()
    with LocalWorkers(Target("cpu")) as workers, open_database("memory:") as database:
        tune(
            ops.matmul(m=32, n=32, k=32), database=database, workers=workers, trials=8,
            model="analytic", callbacks=["remove_artefacts", listener],
        )  # fmt: skip
        built = [m for m in listener.heard if m.artefact is not None]
        kept = [m for m in built if m.artefact and Path(m.artefact.path).exists()]
        (task,) = listener.tasks
        assert len(task.artefacts) <= 4
        assert 1 <= len(kept) <= 4 < len(built)


def test_names_and_objects_make_the_callbacks_of_a_job() -> None:
    listener = Listener()
    made = make_callbacks(["update_cost_model", listener, "remove_artefacts"])
    kinds = [type(callback) for callback in made]
    assert kinds == [AddToDatabase, UpdateCostModel, Listener, RemoveArtefacts]
    with pytest.raises(
        UsageError, match="unknown measure callback 'remove_artefact'; did you mean"
    ):
        make_callbacks(["remove_artefact"])
    with pytest.raises(UsageError, match="names or measure callbacks, got 3"):
        make_callbacks([3])  # type: ignore[list-item]


def test_the_task_scheduler_is_chosen_by_name_or_made() -> None:
    programs = [ops.matmul(m=64, n=48, k=32), ops.matmul(m=32, n=48, k=64)]
    made: list[RoundRobin] = []

    def scheduler(weights: Sequence[float]) -> RoundRobin:
        made.append(RoundRobin(weights))
        return made[-1]

    with open_database("memory:") as database:
        first, second = run(database, 40, program=programs, scheduler=scheduler)
        assert abs(first.trials - second.trials) <= 16
        assert made[0].weights == (1.0, 1.0)
        with pytest.raises(UsageError, match="unknown task scheduler 'gradiant'"):
            run(database, 40, scheduler="gradiant")
