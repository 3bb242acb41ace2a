"""What a tuning job knows of one program, and the snapshot that displays get of it.

`metasched.job` keeps a `Task` up to date while it runs; `metasched.tuning` makes one from what the
database holds and turns it into a result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from metasched.database import TuningRecord, Workload
from metasched.ir.stmt import Program
from metasched.measure.records import Artefact
from metasched.search.tuner import Tuner
from metasched.space.program_space import ProgramSpace
from metasched.target import Target

_FINALISTS: Final = 4
_CLOSE: Final = 1.15
"""Candidates within this factor of the best are measured again in the final."""


@dataclass(slots=True)
class Task:
    """One program of a job and all that is known of it while the job runs.

    Attributes:
        program: the unscheduled program.
        workload: its database key.
        target: what it is tuned for.
        tuner: proposes its candidates.
        space: its candidates, and what finishes them.
        weight: how often the program runs, for the shared budget.
        flops: operations of one call.
        reference: the plainly compiled program; results are compared with it.
        baseline_s: seconds of the default schedule; None until it is measured.
        best_s: seconds of the best candidate so far.
        trials: candidates that were built or failed to, over this and earlier jobs.
        resumed: those of earlier jobs.
        ended: why nothing more is proposed before the budget is spent, else empty.
        failures: candidates that failed, by status.
        reasons: the messages of failures, counted.
        curve: ``(trial, best seconds)`` at each improvement.
        hashes: of the programs and sources that need no measurement any more.
        artefacts: what was measured in this job, by program hash.
        measured: the records of it, by program hash.
        barren: candidates in a row that left nothing to measure.
        duplicates: candidates of this job that came to a program measured before.
    """

    program: Program
    workload: Workload
    target: Target
    tuner: Tuner
    space: ProgramSpace
    weight: float
    flops: float
    reference: Artefact | None = None
    baseline_s: float | None = None
    best_s: float | None = None
    trials: int = 0
    resumed: int = 0
    ended: str = ""
    failures: Counter[str] = field(default_factory=Counter[str])
    reasons: Counter[str] = field(default_factory=Counter[str])
    curve: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    hashes: set[str] = field(default_factory=set[str])
    artefacts: dict[str, Artefact] = field(default_factory=dict[str, Artefact])
    measured: dict[str, TuningRecord] = field(default_factory=dict[str, TuningRecord])
    barren: int = 0
    duplicates: int = 0

    def finalists(self) -> list[TuningRecord]:
        """The best records of this job that are close to each other, best first."""
        ranked = sorted(self.measured.values(), key=lambda record: record.time_s or math.inf)
        limit = _CLOSE * (self.best_s or 0.0)
        return [record for record in ranked[:_FINALISTS] if (record.time_s or 0.0) <= limit]

    @property
    def fresh_share(self) -> float:
        """The share of this job's candidates that came to a program of their own."""
        fresh = self.trials - self.resumed + 1
        return fresh / (fresh + self.duplicates)


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot for displays; seconds of phases are wall clock of this process or of workers."""

    task: Task
    tasks: int
    trials: int
    budget: int
    elapsed_s: float
    building: int
    running: int
    phases: Mapping[str, float]
    workers: str = ""
