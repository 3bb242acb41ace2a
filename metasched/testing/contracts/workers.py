"""What builders and runners promise, see `metasched.measure.workers.AbstractWorkers`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from metasched import ops
from metasched.build import BUILD_CANDIDATE, BUILD_REFERENCE, Candidate
from metasched.errors import MeasureError
from metasched.measure.records import (
    AnyResult,
    BuildRequest,
    BuildResult,
    MeasureConfig,
    RunRequest,
    RunResult,
    Status,
)
from metasched.measure.workers import AbstractWorkers
from metasched.target import Target

_PROGRAM = ops.matmul(m=8, n=8, k=8)
_PATIENCE_S = 60.0


class WorkersContract:
    """Override ``workers``, and ``target`` where it is not this host."""

    @pytest.fixture
    def workers(self) -> Iterator[AbstractWorkers]:
        """Yield open workers and close them afterwards."""
        raise NotImplementedError("override the fixture `workers`")

    @pytest.fixture
    def target(self) -> Target:
        """Return what they build and measure for."""
        return Target("cpu")

    def test_they_say_how_much_they_do_at_a_time(
        self, workers: AbstractWorkers, target: Target
    ) -> None:
        """At least one of each kind."""
        assert workers.capacity.builders >= 1
        assert workers.capacity.runners >= 1
        assert workers.runners_of(target.key()) >= 1

    def test_nothing_under_way_gives_nothing_at_once(self, workers: AbstractWorkers) -> None:
        """A poll does not wait for what cannot come."""
        began = time.perf_counter()
        assert list(workers.poll(30.0)) == []
        assert time.perf_counter() - began < 10.0

    def test_what_is_built_runs(self, workers: AbstractWorkers, target: Target) -> None:
        """Timed, and compared with the program as it is."""
        payload = Candidate(str(_PROGRAM), None, (), target)
        for number, function in ((1, BUILD_REFERENCE), (2, BUILD_CANDIDATE)):
            workers.submit_build(BuildRequest(number, function, payload, target.key()))
        built = {result.candidate_id: result for result in _collect(workers, 2)}
        outputs = [built[number] for number in (1, 2)]
        artefacts = [r.output.artefact for r in outputs if isinstance(r, BuildResult) and r.output]
        assert len(artefacts) == 2, outputs
        config = MeasureConfig()
        workers.submit_run(RunRequest(3, artefacts[1], artefacts[0], 0, config, None, target.key()))
        (result,) = _collect(workers, 1)
        assert isinstance(result, RunResult)
        assert (result.candidate_id, result.status) == (3, Status.OK), result.message
        assert result.samples_s
        assert min(result.samples_s) > 0.0

    def test_what_does_not_build_is_a_result(
        self, workers: AbstractWorkers, target: Target
    ) -> None:
        """With a status and a message; later requests are served all the same."""
        wrong = Candidate("this is no program", None, (), target)
        right = Candidate(str(_PROGRAM), None, (), target)
        for number, payload in ((4, wrong), (5, right)):
            workers.submit_build(BuildRequest(number, BUILD_CANDIDATE, payload, target.key()))
        results = {result.candidate_id: result for result in _collect(workers, 2)}
        assert results[4].status is not Status.OK
        assert isinstance(results[4], BuildResult)
        assert results[4].message
        assert results[5].status is Status.OK

    def test_closed_workers_say_so(self, workers: AbstractWorkers, target: Target) -> None:
        """Closing twice does nothing."""
        workers.close()
        workers.close()
        payload = Candidate(str(_PROGRAM), None, (), target)
        with pytest.raises(MeasureError, match="closed"):
            workers.submit_build(BuildRequest(6, BUILD_CANDIDATE, payload, target.key()))


def _collect(workers: AbstractWorkers, count: int) -> list[AnyResult]:
    found: list[AnyResult] = []
    until = time.perf_counter() + _PATIENCE_S
    while len(found) < count and time.perf_counter() < until:
        found += workers.poll(0.5)
    return found
