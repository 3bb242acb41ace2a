"""What every measure callback promises, see `metasched.callbacks.AbstractMeasureCallback`."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from metasched import ops
from metasched.build import Candidate
from metasched.callbacks import AbstractMeasureCallback
from metasched.database import MemoryDatabase
from metasched.measure.records import BuildRequest, Status
from metasched.measure.simulated import Fate, SimulatedWorkers
from metasched.tuning import TuneResult, tune

_TRIALS = 12


class MeasureCallbackContract:
    """Override ``make``. The tests run jobs with simulated workers."""

    @pytest.fixture
    def make(self) -> Callable[[], AbstractMeasureCallback]:
        """Return what makes a fresh callback."""
        raise NotImplementedError("override the fixture `make`")

    def test_a_job_ends_as_without_it(self, make: Callable[[], AbstractMeasureCallback]) -> None:
        """It hears of results and failures, and changes neither the search nor the records."""
        keys = [_search(callbacks) for callbacks in ((), (make(),))]
        assert keys[0] == keys[1]
        assert len(keys[0]) == _TRIALS

    def test_one_object_serves_one_job(self, make: Callable[[], AbstractMeasureCallback]) -> None:
        """A fresh one is as good as new."""
        assert _search((make(),)) == _search((make(),))

    def test_nothing_to_hear_is_no_failure(
        self, make: Callable[[], AbstractMeasureCallback]
    ) -> None:
        """A job may end before its first result."""
        callback = make()
        with MemoryDatabase() as database:
            callback.start(database, ())
            callback.measured(())
            callback.finish()


def _search(callbacks: tuple[AbstractMeasureCallback, ...]) -> list[tuple[str, str]]:
    """Hashes and statuses of the records of a job."""
    with MemoryDatabase() as database:
        result = tune(
            ops.matmul(m=64, n=48, k=32), database=database, workers=SimulatedWorkers(_fate),
            trials=_TRIALS, model="analytic", callbacks=callbacks,
        )  # fmt: skip
        assert isinstance(result, TuneResult)
        return [(record.program_hash, record.status.value) for record in database.records()]


def _fate(request: BuildRequest) -> Fate:
    """One candidate in five fails; times follow from the trace."""
    payload = request.payload
    assert isinstance(payload, Candidate)
    text = payload.trace or "default"
    number = zlib.crc32(text.encode())
    if payload.trace is not None and number % 5 == 0:
        return Fate(f"{number}", status=Status.BUILD_ERROR, message="it does not build", trace=text)
    return Fate(f"{number}", (1e-3 + number % 1000 * 1e-6,) * 3, trace=payload.trace or "")
