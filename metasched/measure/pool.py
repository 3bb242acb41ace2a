"""Worker processes that serve requests, with a deadline for each and no lock between them.

A pool is passive: it starts no thread, and moves on only in `step`. It knows nothing of builds
or runs. `process` is one worker, `driver` moves the pools.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import Any

from metasched.errors import MeasureError
from metasched.measure.process import WorkerProcess, WorkerSpec
from metasched.measure.weight import default_limit_bytes, excess
from metasched.measure.worker import Reply

_STARTUP_TIMEOUT_S = 60.0
_STARTUP_ATTEMPTS = 3
_WEIGH_S = 0.2
"""Seconds between two looks at what a busy worker takes."""


class Ending(StrEnum):
    """How a request ended in its worker.

    A worker overgrew when it took more memory or processes than it may, and was killed when
    somebody else ended it: an operator, or the system for want of memory.
    """

    ANSWERED = "answered"
    RAISED = "raised"
    TIMED_OUT = "timed out"
    DIED = "died"
    OVERGREW = "overgrew"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Job:
    """A request with its deadline in seconds and the time at which it was submitted."""

    request: Any
    timeout_s: float
    submitted_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        request: The request.
        ending: How it ended.
        value: What the worker answered, if it did.
        message: Why there is no value.
        queue_s: Seconds from submitting to sending.
        busy_s: Seconds from sending to the end, without those in which the pool was paused.
    """

    request: Any
    ending: Ending
    value: Any
    message: str
    queue_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """The size of a pool, and when a worker is replaced by a fresh one.

    Attributes:
        spec: What each worker is.
        size: Number of workers.
        requests: Requests that a worker serves at most.
        rss_bytes: Resident memory above which a worker is replaced after a request.
        limit_bytes: What it may take during a request, with all that it started; half of the
            machine's memory when 0.
    """

    spec: WorkerSpec
    size: int
    requests: int = 500
    rss_bytes: int = 4 << 30
    limit_bytes: int = 0


class Pool:
    """Worker processes and the requests that wait for them.

    A worker that crashes, hangs or grows is replaced; only the request it was serving is hit.
    """

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._waiting: deque[Job] = deque()
        self._paused_at: float | None = None
        self._slots = [_Slot(config) for _ in range(config.size)]

    @property
    def connections(self) -> list[Connection]:
        """What becomes readable when `step` has something to do."""
        return [slot.process.connection for slot in self._slots]

    @property
    def is_paused(self) -> bool:
        """Whether the workers are stopped."""
        return self._paused_at is not None

    @property
    def is_busy(self) -> bool:
        """Whether a worker is serving a request."""
        return any(slot.job for slot in self._slots)

    @property
    def can_start(self) -> bool:
        """Whether a request is waiting and a worker is ready for it."""
        return bool(self._waiting) and any(slot.is_idle for slot in self._slots)

    def submit(self, request: Any, timeout_s: float) -> None:
        """Queue a request; `start` sends it."""
        self._waiting.append(Job(request, timeout_s, time.monotonic()))

    def start(self) -> None:
        """Send waiting requests to idle workers."""
        for slot in self._slots:
            if slot.is_idle and self._waiting:
                if slot.fits(self._waiting[0]):
                    slot.begin(self._waiting.popleft())
                else:
                    slot.renew()

    def step(self) -> list[Outcome]:
        """Take in answers, end what is past its deadline and replace what died.

        Raises:
            MeasureError: workers fail to start, time and again.
        """
        if self._paused_at is not None:
            return []
        return [outcome for slot in self._slots if (outcome := slot.step())]

    def next_deadline(self) -> float:
        """Return the monotonic time at which `step` has to be called at the latest."""
        if self._paused_at is not None:
            return float("inf")
        return min((slot.next_look for slot in self._slots), default=float("inf"))

    def pause(self) -> None:
        """Stop all workers with what they started; the time does not count for deadlines."""
        if self._paused_at is None:
            self._paused_at = time.monotonic()
            for slot in self._slots:
                slot.process.pause()

    def resume(self) -> None:
        """Continue the workers."""
        if self._paused_at is not None:
            paused_s = time.monotonic() - self._paused_at
            self._paused_at = None
            for slot in self._slots:
                slot.shift(paused_s)
                slot.process.resume()

    def close(self) -> None:
        """Kill all workers with what they started; requests that wait are forgotten."""
        self._waiting.clear()
        for slot in self._slots:
            slot.process.kill()


class _Slot:
    """One place of a pool: a worker process, and the request it is serving."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._failed_starts = 0
        self.job: Job | None = None
        self._open()

    @property
    def next_look(self) -> float:
        return min(self.deadline, self._weighed_at) if self.job else self.deadline

    @property
    def is_idle(self) -> bool:
        return self._is_ready and self.job is None

    def begin(self, job: Job) -> None:
        self.process.clear_log()
        self.job = job
        self._modules = _modules_of(job)
        self._begun = time.monotonic()
        self.deadline = self._begun + job.timeout_s
        self._weighed_at = self._begun + _WEIGH_S
        self.process.send(job.request)

    def fits(self, job: Job) -> bool:
        """Whether the process has not imported the modules of another job."""
        return self._modules in (None, _modules_of(job))

    def renew(self) -> None:
        """Take a fresh process; it is ready in a moment."""
        self._reopen()

    def shift(self, paused_s: float) -> None:
        """Move everything that is measured from now on by the time of a pause."""
        self._begun += paused_s
        self.deadline += paused_s

    def step(self) -> Outcome | None:
        if self.process.connection.poll():
            return self._receive()
        if time.monotonic() < self.deadline:
            return self._weigh()
        if not self._is_ready:
            self._restart_failed_start(f"not ready after {_STARTUP_TIMEOUT_S:g} s")
            return None
        assert self.job is not None
        message = f"no answer in {self.job.timeout_s:g} s{self.process.log_tail()}"
        outcome = self._outcome(Ending.TIMED_OUT, message=message)
        self._reopen()
        return outcome

    def _weigh(self) -> Outcome | None:
        """End a worker that takes too much, before the machine has none left."""
        now = time.monotonic()
        if self.job is None or now < self._weighed_at:
            return None
        self._weighed_at = now + _WEIGH_S
        limit_bytes = self._config.limit_bytes or default_limit_bytes()
        problem = excess(self.process.pid, limit_bytes)
        if not problem:
            return None
        outcome = self._outcome(Ending.OVERGREW, message=f"{problem}{self.process.log_tail()}")
        self._reopen()
        return outcome

    def _open(self) -> None:
        self.process = WorkerProcess(self._config.spec)
        self.job = None
        self._is_ready = False
        self._modules: str | None = None
        self._served = 0
        self._begun = time.monotonic()
        self.deadline = self._begun + _STARTUP_TIMEOUT_S
        self._weighed_at = self.deadline

    def _reopen(self) -> None:
        self.process.kill()
        self._open()

    def _receive(self) -> Outcome | None:
        try:
            reply = pickle.loads(self.process.connection.recv_bytes())
        except (EOFError, OSError):
            return self._bury()
        except Exception as error:
            reply = Reply(problem=f"the answer cannot be read: {type(error).__name__}: {error}")
        if not self._is_ready:
            self._is_ready, self._failed_starts = True, 0
            self.deadline = float("inf")
            return None
        return self._finish(reply)

    def _finish(self, reply: Reply) -> Outcome | None:
        if self.job is None:
            return None
        ending = Ending.RAISED if reply.problem else Ending.ANSWERED
        outcome = self._outcome(ending, value=reply.value, message=reply.problem)
        self.job, self.deadline = None, float("inf")
        self._served += 1
        large = reply.rss_bytes > self._config.rss_bytes
        if large or reply.is_spent or self._served >= self._config.requests:
            self._reopen()
        return outcome

    def _bury(self) -> Outcome | None:
        cause = self.process.cause_of_death()
        if not self._is_ready:
            self._restart_failed_start(cause)
            return None
        ending = Ending.KILLED if self.process.was_killed else Ending.DIED
        outcome = self._outcome(ending, message=cause) if self.job else None
        self._reopen()
        return outcome

    def _restart_failed_start(self, cause: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _STARTUP_ATTEMPTS:
            factory = self._config.spec.factory
            raise MeasureError(f"worker processes for {factory} do not start: {cause}")
        self._reopen()

    def _outcome(self, ending: Ending, *, value: Any = None, message: str = "") -> Outcome:
        assert self.job is not None
        return Outcome(
            self.job.request,
            ending,
            value,
            message,
            queue_s=self._begun - self.job.submitted_s,
            busy_s=time.monotonic() - self._begun,
        )


def _modules_of(job: Job) -> str:
    return str(getattr(job.request, "modules", ""))
