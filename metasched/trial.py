"""Builds, checks and times given schedules, without a search: for verifying records and for shapes.

The caller gives traces and waits for all of them; `metasched.job` is the loop that overlaps.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from metasched.build import BUILD_CANDIDATE, BUILD_REFERENCE, Candidate
from metasched.errors import MeasureError
from metasched.ir.stmt import Program
from metasched.measure.records import (
    Artefact,
    BuildOutput,
    BuildRequest,
    BuildResult,
    MeasureConfig,
    RunRequest,
    RunResult,
    Status,
)
from metasched.measure.workers import AbstractWorkers
from metasched.target import Target

_IDS: Final = itertools.count(1 << 40)
"""Apart from those of jobs, which may use the same workers."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one schedule; ``output`` and ``run`` are there as far as it came."""

    status: Status
    message: str = ""
    output: BuildOutput | None = None
    run: RunResult | None = None


class Trials:
    """Tries schedules on workers.

    Args:
        workers: builders and runners; the caller closes them.
        target: what is built for.
        seed: of the inputs.
        config: how kernels are measured.
    """

    def __init__(
        self,
        workers: AbstractWorkers,
        target: Target,
        *,
        seed: int = 0,
        config: MeasureConfig | None = None,
    ) -> None:
        self.seed = seed
        self._workers, self._target = workers, target
        self._config = config or MeasureConfig()
        self._references: dict[str, Artefact] = {}

    def of(self, program: Program, traces: Sequence[str | None]) -> list[Tried]:
        """Try schedules of one program, each by the JSON of its trace; None is the default one.

        Raises:
            MeasureError: the unscheduled program itself cannot be built.
        """
        text = str(program)
        reference = self._reference(program.name, text)
        builds = self._build_all(
            [(BUILD_CANDIDATE, Candidate(text, trace, (), self._target)) for trace in traces]
        )
        # Kernels are timed one after the other, with nothing else under way.
        return [self._run(build, reference) for build in builds]

    def reference_hash(self, program: Program) -> str:
        """The source hash of what results are compared with."""
        return self._reference(program.name, str(program)).source_hash

    def _reference(self, name: str, text: str) -> Artefact:
        if text not in self._references:
            (build,) = self._build_all([(BUILD_REFERENCE, Candidate(text, None, (), self._target))])
            if build.output is None:
                raise MeasureError(f"'{name}' cannot be built: {build.message}")
            self._references[text] = build.output.artefact
        return self._references[text]

    def _build_all(self, wanted: Sequence[tuple[str, Candidate]]) -> list[BuildResult]:
        numbers = [next(_IDS) for _ in wanted]
        for number, (task, candidate) in zip(numbers, wanted, strict=True):
            self._workers.submit_build(BuildRequest(number, task, candidate))
        done: dict[int, BuildResult] = {}
        while len(done) < len(numbers):
            for result in self._workers.poll(0.5):
                if isinstance(result, BuildResult) and result.candidate_id in numbers:
                    done[result.candidate_id] = result
        return [done[number] for number in numbers]

    def _run(self, build: BuildResult, reference: Artefact) -> Tried:
        if build.output is None:
            return Tried(build.status, build.message)
        number = next(_IDS)
        self._workers.submit_run(
            RunRequest(number, build.output.artefact, reference, self.seed, self._config)
        )
        while True:
            for result in self._workers.poll(0.5):
                if isinstance(result, RunResult) and result.candidate_id == number:
                    return Tried(result.status, result.message, build.output, result)
