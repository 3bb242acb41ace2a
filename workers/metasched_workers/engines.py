"""What hosts are made of: local workers, or simulated ones.

An engine is any `AbstractWorkers` of one machine; a host is told its name, ``"module:function"``.
"""

from __future__ import annotations

import heapq
import itertools
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final, cast, final

from metasched.errors import UsageError
from metasched.measure.local import LocalWorkers
from metasched.measure.records import (
    AnyResult,
    AnyRun,
    Artefact,
    BuildOutput,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    RunResult,
    Status,
)
from metasched.measure.workers import AbstractWorkers, Capacity
from metasched.target import Target
from metasched_workers.protocol import HostSpec

LOCAL: Final = "metasched_workers.engines:local"
SIMULATED: Final = "metasched_workers.engines:simulated"


def local(spec: HostSpec) -> AbstractWorkers:
    """Isolated processes of this machine."""
    target = parse_target(spec.targets[0] if spec.targets else "cpu")
    return LocalWorkers(
        target,
        builders=spec.builders,
        runners=spec.runners,
        limit_bytes=spec.limit_bytes,
    )


def simulated(spec: HostSpec) -> AbstractWorkers:
    """Workers that wait instead of working, for tests of fleets that are not there.

    The payload of a build is ``(build seconds, run seconds)``.
    """
    return RealTime(spec.builders, spec.runners)


def parse_target(text: str) -> Target:
    """Return the target that a node's resource names, such as ``"cpu"`` or ``"cpu:cores=4"``.

    A target is also read from its JSON, which nothing on this machine adds to.

    Raises:
        UsageError: it names no target, or a field that a target does not have.

    >>> parse_target("cpu:cores=1").cores
    1
    """
    if text.startswith("{"):
        return Target.from_dict(json.loads(text))
    parts = text.split(":")
    fields: dict[str, Any] = {}
    for part in parts:
        name, given, value = part.partition("=")
        if given:
            fields[name] = int(value) if value.isdecimal() else value
    kind = ":".join(part for part in parts if "=" not in part)
    if fields and not kind:
        raise UsageError(f"target '{text}' has no kind; write for example 'cpu:{text}'")
    return Target(kind, **cast(Any, fields))


@final
class RealTime(AbstractWorkers):
    """Builders and runners that wait instead of working, any number of them in one process.

    Args:
        builders: How many builds proceed at the same time.
        runners: How many runs do.
    """

    def __init__(self, builders: int, runners: int) -> None:
        self._capacity = Capacity(builders, runners)
        self._due: list[tuple[float, int, AnyResult]] = []
        self._numbers = itertools.count()
        self._bell = threading.Event()
        self._file = Path(tempfile.mkdtemp(prefix="metasched-simulated-")) / "kernel.so"
        self._file.touch()

    @property
    def capacity(self) -> Capacity:
        """As given."""
        return self._capacity

    def submit_build(self, request: BuildRequest) -> None:
        """Start a build."""
        build_s, run_s = cast("tuple[float, float]", request.payload)
        name = f"simulated-{request.candidate_id}"
        artefact = Artefact(str(self._file), repr(run_s), name, (), 0, 0.0)
        output = BuildOutput(artefact, name, "")
        self._begin(
            build_s, BuildResult(request.candidate_id, Status.OK, output=output, build_s=build_s)
        )

    def submit_run(self, request: AnyRun) -> None:
        """Start a run."""
        number = request.candidate_id
        if isinstance(request, CompareRequest):
            times = [float(artefact.entry) for artefact in request.artefacts]
            samples = tuple((time_s,) * request.rounds for time_s in times)
            self._begin(sum(times), CompareResult(number, Status.OK, samples_s=samples))
            return
        run_s = float(request.artefact.entry)
        self._begin(run_s, RunResult(number, Status.OK, samples_s=(run_s,) * 3, run_s=run_s))

    def poll(self, timeout_s: float = 0.0) -> list[AnyResult]:
        """Wait for the next end."""
        if self._due and (left := min(timeout_s, self._due[0][0] - time.monotonic())) > 0:
            self._bell.wait(left)
            self._bell.clear()
        ended: list[AnyResult] = []
        while self._due and self._due[0][0] <= time.monotonic():
            ended.append(heapq.heappop(self._due)[2])
        return ended

    def wake(self) -> None:
        """Let `poll` return."""
        self._bell.set()

    def close(self) -> None:
        """Drop what is queued."""
        self._due.clear()
        shutil.rmtree(self._file.parent, ignore_errors=True)

    def _begin(self, seconds: float, result: AnyResult) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), result))
