"""The broker of a fleet: which hosts there are, and which jobs they work for.

It starts a host for every device and node as they join, and drops those that end. Work goes from
drivers to hosts directly, and hosts share their time among jobs (`metasched_workers.fair`), so the
broker is on no path that a trial takes. On a fleet it is a named actor; for Ray on one machine it
is an object of the driver.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from metasched_workers.engines import LOCAL
from metasched_workers.plan import Place
from metasched_workers.plan import plan as plan_node
from metasched_workers.protocol import Hello, HostSpec, JobInfo, refusal

_LOG: Final = logging.getLogger("metasched.workers.broker")
_TICK_S: Final = 0.5
_STARTING_TICK_S: Final = 0.02
_JOB_LEASE_S: Final = 30.0
_IDLE_S: Final = 60.0
_START_LIMIT_S: Final = 120.0
_SILENT_LIMIT_S: Final = 60.0
_RETRY_S: Final = 5.0


Planner: TypeAlias = Callable[[str, Mapping[str, float]], Sequence[Place]]


class AbstractCluster(ABC):
    """What a broker needs of Ray.

    A call returns a token at once; `take` returns its value once it is there.
    """

    @abstractmethod
    def nodes(self) -> Mapping[str, Mapping[str, float]]:
        """Return the resources of the nodes that are alive, by their ids."""

    @abstractmethod
    def start(self, spec: HostSpec, place: Place) -> Any:
        """Start the host of a place and return its handle."""

    @abstractmethod
    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """Call a method of a host and return a token."""

    @abstractmethod
    def take(self, token: Any) -> Any:
        """Return the value of a call.

        Raises:
            TimeoutError: it is not there yet.
            HostLost: the host has ended, or the call failed.
        """

    @abstractmethod
    def kill(self, handle: Any) -> None:
        """End a host at once."""


class HostLost(Exception):
    """A host ended or cannot be reached; the text says how.

    Attributes:
        may_return: Whether the same call may succeed later.
    """

    def __init__(self, reason: str, *, may_return: bool = False) -> None:
        super().__init__(reason)
        self.may_return = may_return


@dataclass(frozen=True, slots=True)
class Member:
    """A host that takes work: what it is, and the handle to call it by."""

    hello: Hello
    handle: Any


@dataclass(frozen=True, slots=True)
class Membership:
    """The hosts of a fleet at one moment.

    Attributes:
        version: Grows whenever anything else here changes.
        members: By host id.
        refused: Why others are not among them, by place.
    """

    version: int
    members: Mapping[str, Member]
    refused: Mapping[str, str]


@dataclass(slots=True)
class _Seat:
    """A place, and the host that serves it if there is one."""

    place: Place
    handle: Any = None
    token: Any = None
    asked_s: float = 0.0
    hello: Hello | None = None
    state: Mapping[str, Any] | None = None
    retry_at: float = 0.0
    problem: str = ""


@dataclass(slots=True)
class _Job:
    info: JobInfo
    seen_s: float


class Broker:
    """Keeps hosts running where a cluster has devices and cores, as long as there are jobs.

    Args:
        cluster: Where.
        engine: What hosts are made of, see `metasched_workers.engines`.
        plan: Which hosts a node gets.
    """

    def __init__(
        self, cluster: AbstractCluster, engine: str = LOCAL, plan: Planner = plan_node
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._plan = plan
        self._seats: dict[Place, _Seat] = {}
        self._jobs: dict[str, _Job] = {}
        self._version = 1
        self._names = itertools.count(1)
        self._busy_s = time.monotonic()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._main, name="metasched-broker", daemon=True)
        self._thread.start()

    def join(self, info: JobInfo) -> str:
        """Register a job; return why it is refused, or an empty text."""
        if reason := refusal(f"job {info.job_id}", info.protocol):
            return reason
        with self._lock:
            self._jobs[info.job_id] = _Job(info, time.monotonic())
        self._hurry.set()
        return ""

    def beat(self, job_id: str, version: int, timeout_s: float) -> Membership | None:
        """Renew a job's lease and return the members once they differ from a version.

        Args:
            job_id: The job.
            version: What it knows.
            timeout_s: The longest wait.

        Returns:
            The members, or None where nothing changed.

        Raises:
            KeyError: The job is not known: the broker was started anew, or the lease was over.
        """
        with self._lock:
            self._jobs[job_id].seen_s = time.monotonic()
            if self._version == version:
                self._changed.wait(timeout_s)
            return None if self._version == version else self._membership()

    def leave(self, job_id: str) -> None:
        """Forget a job, here and on all hosts."""
        with self._lock:
            self._drop_job(job_id)

    def state(self) -> dict[str, Any]:
        """Return figures of the fleet: jobs, hosts with their states, and refusals."""
        with self._lock:
            jobs = {
                name: {"priority": job.info.priority, "share": job.info.share}
                for name, job in self._jobs.items()
            }
            hosts = {
                seat.hello.host_id: {
                    "node": seat.hello.node_id,
                    "targets": [target.to_dict() for target in seat.hello.targets.values()],
                    "slots": dict(seat.hello.slots),
                    **(seat.state or {}),
                }
                for seat in self._seats.values()
                if seat.hello is not None
            }
            starting = sum(s.handle is not None and not s.hello for s in self._seats.values())
            refused = dict(self._membership().refused)
            return {"jobs": jobs, "hosts": hosts, "starting": starting, "refused": refused}

    def close(self) -> None:
        """End all hosts."""
        self._closing.set()
        self._hurry.set()
        self._thread.join()
        with self._lock:
            for seat in self._seats.values():
                self._dismiss(seat)

    # -- the thread ------------------------------------------------------------------------------

    def _main(self) -> None:
        while not self._closing.is_set():
            try:
                self._tick()
            except Exception:
                _LOG.exception("a round of the broker failed")
            starting = any(s.handle and not s.hello for s in self._seats.values())
            self._hurry.wait(_STARTING_TICK_S if starting else _TICK_S)
            self._hurry.clear()

    def _tick(self) -> None:
        nodes = self._cluster.nodes()
        with self._lock:
            self._expire_jobs()
            self._seat_places(nodes)
            now = time.monotonic()
            if self._jobs:
                self._busy_s = now
            for seat in self._seats.values():
                if seat.handle is not None:
                    self._attend(seat, now)
                elif self._jobs and now >= seat.retry_at:
                    self._staff(seat, now)
                if now - self._busy_s > _IDLE_S and seat.handle is not None:
                    self._dismiss(seat)

    def _expire_jobs(self) -> None:
        late = time.monotonic() - _JOB_LEASE_S
        for job_id in [name for name, job in self._jobs.items() if job.seen_s < late]:
            _LOG.warning("job %s did not renew its lease", job_id)
            self._drop_job(job_id)

    def _drop_job(self, job_id: str) -> None:
        if self._jobs.pop(job_id, None) is not None:
            for seat in self._seats.values():
                if seat.hello is not None:
                    self._cluster.call(seat.handle, "forget", job_id)

    def _seat_places(self, nodes: Mapping[str, Mapping[str, float]]) -> None:
        wanted = {p for node_id, resources in nodes.items() for p in self._plan(node_id, resources)}
        for place in wanted - self._seats.keys():
            self._seats[place] = _Seat(place)
        for place in self._seats.keys() - wanted:
            self._vacate(self._seats.pop(place), "its node has left")

    def _staff(self, seat: _Seat, now: float) -> None:
        """Start the host of a place."""
        host_id = f"{seat.place.label}-{os.getpid()}-{next(self._names)}"
        spec = seat.place.spec(host_id, self._engine)
        seat.handle = self._cluster.start(spec, seat.place)
        seat.token, seat.asked_s = self._cluster.call(seat.handle, "hello"), now

    def _attend(self, seat: _Seat, now: float) -> None:
        """See whether a host answers; it was asked who it is, and later how it is."""
        limit_s = _SILENT_LIMIT_S if seat.hello else _START_LIMIT_S
        try:
            answer = self._cluster.take(seat.token)
        except TimeoutError:
            if now - seat.asked_s > limit_s:
                self._cluster.kill(seat.handle)
                self._vacate(seat, f"it did not answer in {limit_s:g} s")
            return
        except HostLost as error:
            self._vacate(seat, str(error))
            return
        if isinstance(answer, Hello):
            self._welcome(seat, answer)
        else:
            seat.state = answer
        if seat.handle is not None and now - seat.asked_s > _TICK_S:
            seat.token, seat.asked_s = self._cluster.call(seat.handle, "state"), now

    def _welcome(self, seat: _Seat, hello: Hello) -> None:
        reason = refusal(f"host {hello.host_id}", hello.protocol)
        if reason:
            self._cluster.kill(seat.handle)
            self._vacate(seat, reason)
            return
        seat.hello, seat.problem = hello, ""
        self._note_change()

    def _vacate(self, seat: _Seat, reason: str) -> None:
        _LOG.warning("host of %s: %s", seat.place.label, reason)
        seat.handle = seat.token = seat.hello = seat.state = None
        seat.problem, seat.retry_at = reason, time.monotonic() + _RETRY_S
        self._note_change()

    def _dismiss(self, seat: _Seat) -> None:
        """End a host that is not needed."""
        if seat.handle is not None:
            self._cluster.kill(seat.handle)
            seat.handle = seat.token = seat.hello = seat.state = None
            self._note_change()

    def _note_change(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _membership(self) -> Membership:
        seats = self._seats.values()
        members = {s.hello.host_id: Member(s.hello, s.handle) for s in seats if s.hello}
        refused = {s.place.label: s.problem for s in seats if s.problem and not s.hello}
        return Membership(self._version, members, refused)
