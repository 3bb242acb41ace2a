"""Measure callbacks: what happens with results as they come in.

A job calls all of them after each batch of results, in order: `add_to_database` and
`update_cost_model` always, then those that the user names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

from metasched.database import AbstractDatabase, TuningRecord
from metasched.errors import UsageError
from metasched.measure.records import Artefact
from metasched.registry import Registry
from metasched.search.records import Candidate, Outcome, Result
from metasched.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """One result.

    Attributes:
        task: the program that it belongs to.
        record: what goes on record; None for a duplicate, of which nothing is known.
        candidate: what was proposed; None for the default schedule, and for samples that come
            again to a record from before.
        outcome: how it ended.
        artefact: what was built, None where that failed.
    """

    task: Task
    record: TuningRecord | None
    candidate: Candidate | None
    outcome: Outcome
    artefact: Artefact | None = None


class AbstractMeasureCallback(ABC):
    """Hears of every result of a job.

    Lifecycle: one object serves one job, in the process of the job and in one thread. `start` comes
    once before the first result, `measured` whenever results are in, each result once, and `finish`
    once at the end, also when the job fails or is interrupted. The tuning loop waits for all of
    them. An exception ends the job; what was measured is on record then, since `add_to_database`
    comes first.
    """

    def start(self, database: AbstractDatabase, tasks: Sequence[Task]) -> None:
        """The job begins."""
        del database, tasks

    @abstractmethod
    def measured(self, results: Sequence[Measurement]) -> None:
        """Results are in, in the order in which they came."""

    def finish(self) -> None:
        """The job is over."""
        return


CallbackFactory: TypeAlias = Callable[[], AbstractMeasureCallback]
MEASURE_CALLBACKS = Registry[CallbackFactory]("measure callback")


@final
class AddToDatabase(AbstractMeasureCallback):
    """Puts every record into the job's database."""

    def __init__(self) -> None:
        self._database: AbstractDatabase | None = None
        self._unwritten: list[TuningRecord] = []

    def start(self, database: AbstractDatabase, tasks: Sequence[Task]) -> None:
        """Remember where to write."""
        del tasks
        self._database = database

    def measured(self, results: Sequence[Measurement]) -> None:
        """Write the records, together."""
        self._unwritten += [result.record for result in results if result.record is not None]
        self.finish()

    def finish(self) -> None:
        """Write what an interruption may have kept from being written."""
        if self._unwritten and self._database is not None:
            self._database.put_many(tuple(self._unwritten))
            self._unwritten.clear()


@final
class UpdateCostModel(AbstractMeasureCallback):
    """Tells each tuner what became of its candidates; it trains its model when enough came in."""

    def measured(self, results: Sequence[Measurement]) -> None:
        """Tell the tuners."""
        for result in results:
            if result.candidate is None:
                continue
            timed = result.record is not None and result.outcome is Outcome.OK
            time_s = result.record.time_s if timed and result.record is not None else None
            result.task.tuner.tell([Result(result.candidate.id, result.outcome, time_s)])


@final
class RemoveArtefacts(AbstractMeasureCallback):
    """Deletes built files as soon as they can no longer win, for long jobs on small disks.

    Files of candidates that may still be among the finalists stay to the end of the job.
    """

    def measured(self, results: Sequence[Measurement]) -> None:
        """Delete what failed, and what fell behind."""
        for result in results:
            if result.artefact is not None and result.outcome is not Outcome.OK:
                Path(result.artefact.path).unlink(missing_ok=True)
        for task in {id(result.task): result.task for result in results}.values():
            finalists = {record.program_hash for record in task.finalists()}
            for key in task.artefacts.keys() - finalists:
                Path(task.artefacts.pop(key).path).unlink(missing_ok=True)


def make_callbacks(
    given: Sequence[str | AbstractMeasureCallback],
) -> tuple[AbstractMeasureCallback, ...]:
    """The callbacks of a job: the two that it always has, then the given ones, by name or made.

    Raises:
        UsageError: a name is unknown, or an object is no measure callback.
    """
    names = ["add_to_database", "update_cost_model"]
    names += [item for item in given if isinstance(item, str) and item not in names]
    made = {name: MEASURE_CALLBACKS[name]() for name in names}
    for item in given:
        if not isinstance(item, str | AbstractMeasureCallback):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"callbacks are names or measure callbacks, got {item!r}")
    ordered = [made[item] if isinstance(item, str) else item for item in (*names[:2], *given)]
    return tuple(dict.fromkeys(ordered))


MEASURE_CALLBACKS.register("add_to_database", AddToDatabase)
MEASURE_CALLBACKS.register("update_cost_model", UpdateCostModel)
MEASURE_CALLBACKS.register("remove_artefacts", RemoveArtefacts)
