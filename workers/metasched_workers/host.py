"""A host: the worker processes of one device or node, and whose work they do next.

The actor in `actors` is a thin shell around it, so that all of this is tested without Ray. What
runs candidates are isolated processes below it (`metasched.measure.process`), never the host.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from metasched.errors import MetaschedError
from metasched.measure.records import AnyResult, BuildRequest, BuildResult, Status
from metasched.measure.worker import resolve
from metasched.measure.workers import AbstractWorkers
from metasched.target.toolchain import describe_toolchain
from metasched_workers.artefacts import Arrivals, with_content
from metasched_workers.engines import parse_target
from metasched_workers.fair import FairQueue, Turn
from metasched_workers.health import Health
from metasched_workers.probe import probe
from metasched_workers.protocol import (
    PROTOCOL,
    Answer,
    Hello,
    HostSpec,
    JobInfo,
    Kind,
    Order,
    Reply,
    kind_of,
    this_machine,
)
from metasched_workers.registries import check

_LOG = logging.getLogger("metasched.workers.host")
_IDLE_S = 0.5


@dataclass(slots=True)
class _Desk:
    """What a host keeps for one job."""

    info: JobInfo
    is_near: bool
    modules: str = ""
    number: int = 0
    received: int = 0
    unsent: list[Answer] = field(default_factory=list[Answer])
    unconfirmed: Reply | None = None
    done: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class _Task:
    job: str
    order: Order
    kind: Kind
    arrived_s: float


@dataclass(frozen=True, slots=True)
class _Running:
    turn: Turn[_Task]
    began_s: float


class Host:
    """Serves the requests of several jobs on the workers of one device or node.

    A thread of its own feeds the workers; the methods are called from any thread.

    Args:
        spec: What it is made of.
    """

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._engine = cast(AbstractWorkers, resolve(spec.engine)(spec))
        self._slots = {Kind.BUILD: spec.builders, Kind.RUN: spec.runners}
        self._queues = {kind: FairQueue[_Task]() for kind in Kind}
        self._running: dict[int, _Running] = {}
        self._busy = Counter[Kind]()
        self._results = Counter[str]()
        self._desks: dict[str, _Desk] = {}
        self._arrivals = Arrivals()
        self._health = Health(self._arrivals.folder, self._probe, self._wake)
        self._count = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._work = threading.Event()
        self._closing = False
        self._failure = ""
        self._thread = threading.Thread(target=self._main, name="metasched-host", daemon=True)
        self._thread.start()

    # -- called by drivers and the broker --------------------------------------------------------

    def hello(self) -> Hello:
        """Say what this host is."""
        targets = map(parse_target, self._spec.targets)
        return Hello(
            self._spec.host_id,
            self._spec.node_id,
            this_machine(),
            PROTOCOL,
            {target.key(): target for target in targets},
            describe_toolchain(),
            self._slots,
        )

    def open(self, info: JobInfo) -> None:
        """Let a job send work.

        Raises:
            MeasureError: builders here do not know what the job relies on.
        """
        modules = ""
        if info.registries is not None and self._slots[Kind.BUILD]:
            modules = str(self._arrivals.folder / f"modules-{info.job_id}")
            check(info.registries, modules)
        with self._lock:
            is_near = info.machine == this_machine()
            self._desks.setdefault(info.job_id, _Desk(info, is_near, modules))
            for queue in self._queues.values():
                queue.open(info.job_id, info.priority, info.share)

    def missing(self, paths: Iterable[str]) -> list[str]:
        """Return the driver's files that are not here."""
        with self._lock:
            return self._arrivals.missing(paths)

    def submit(
        self, job: str, number: int, orders: bytes, parcels: Mapping[str, bytes] | None = None
    ) -> None:
        """Take in orders; a batch that comes again is not taken twice.

        Args:
            job: Whose they are.
            number: Of the batch, counted by the driver.
            orders: A pickled tuple of `Order`.
            parcels: Files of a driver on another machine, by its paths.
        """
        taken = cast("tuple[Order, ...]", pickle.loads(orders))
        with self._lock:
            self._arrivals.take(parcels or {})
            desk = self._desks.get(job)
            if desk is None or number <= desk.received:
                return
            desk.received = number
            now = time.monotonic()
            for order in taken:
                kind = kind_of(order.request)
                self._arrivals.pin(order.request)
                self._queues[kind].push(job, _Task(job, order, kind, now))
        self._wake()

    def poll(self, job: str, confirmed: int, timeout_s: float) -> bytes:
        """Return a pickled `Reply` with what ended, waiting so long for the first.

        Args:
            job: Whose answers.
            confirmed: The number of the last reply that the driver has; it is not sent again.
            timeout_s: The longest wait; the reply is then empty, and says that the host is alive.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            desk = self._desks.get(job)
            if desk is None:
                return pickle.dumps(Reply(confirmed, ()), 5)
            last = desk.unconfirmed
            if last is not None and last.number > confirmed:
                return pickle.dumps(last, 5)
            self._confirm(desk)
            while not desk.unsent and not self._closing:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return pickle.dumps(self._reply(desk), 5)

    def forget(self, job: str) -> None:
        """Drop what a job has here."""
        with self._lock:
            desk = self._desks.pop(job, None)
            for queue in self._queues.values():
                for task in queue.close(job):
                    self._arrivals.release(task.order.request)
            if desk is not None:
                self._confirm(desk)
            self._changed.notify_all()

    def state(self) -> dict[str, Any]:
        """Return figures for displays: slots and busy ones by kind, waiting requests, health."""
        with self._lock:
            return {
                "busy": {kind: self._busy[kind] for kind in Kind},
                "waiting": {kind: len(self._queues[kind]) for kind in Kind},
                "sick": self._failure or self._health.problem,
                "jobs": len(self._desks),
                "results": dict(self._results),
            }

    def close(self) -> None:
        """End the workers with what they started and remove their files."""
        self._closing = True
        self._wake()
        with self._lock:
            self._changed.notify_all()
        self._thread.join()

    # -- the thread ------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            while not self._closing:
                self._feed()
                self._take(self._engine.poll(_IDLE_S) if self._running else self._rest())
        except MetaschedError as error:
            with self._lock:
                self._failure = str(error)
                self._return_all(self._failure)
        finally:
            with contextlib.suppress(MetaschedError):
                self._engine.close()
            self._arrivals.close()

    def _probe(self) -> str:
        problems = (probe(target) for target in self._spec.targets)
        return next((problem for problem in problems if problem), "")

    def _rest(self) -> Sequence[AnyResult]:
        """Wait for work while there is none; a sick host looks whether it got well."""
        self._work.wait(_IDLE_S)
        self._work.clear()
        if self._health.problem and self._health.look_again():
            with self._lock:
                self._changed.notify_all()
        return ()

    def _wake(self) -> None:
        self._work.set()
        self._engine.wake()

    def _feed(self) -> None:
        """Give free workers the work whose turn it is."""
        with self._lock:
            if self._health.problem:
                self._return_all(self._health.problem)
                return
            for kind, queue in self._queues.items():
                if kind is Kind.RUN and self._health.is_probing:
                    continue
                while self._busy[kind] < self._slots[kind] and (turn := queue.pop()):
                    self._begin(turn)

    def _begin(self, turn: Turn[_Task]) -> None:
        task = turn.item
        self._count += 1
        request = replace(self._arrivals.localise(task.order.request), candidate_id=self._count)
        self._running[self._count] = _Running(turn, time.monotonic())
        self._busy[task.kind] += 1
        if isinstance(request, BuildRequest):
            desk = self._desks.get(task.job)
            self._engine.submit_build(replace(request, modules=desk.modules if desk else ""))
        else:
            self._engine.submit_run(request)

    def _take(self, results: Sequence[AnyResult]) -> None:
        if not results:
            return
        with self._lock:
            for result in results:
                running = self._running.pop(result.candidate_id)
                self._finish(running, result)
            self._changed.notify_all()

    def _finish(self, running: _Running, result: AnyResult) -> None:
        turn, now = running.turn, time.monotonic()
        task = turn.item
        self._busy[task.kind] -= 1
        self._queues[task.kind].charge(turn, now - running.began_s)
        self._arrivals.release(task.order.request)
        self._results[f"{task.kind}:{result.status}"] += 1
        if result.status is not Status.OK:
            self._log(task, result)
        desk = self._desks.get(task.job)
        if desk is None:
            _discard(result)
            return
        self._health.note(result)
        waited_s = running.began_s - task.arrived_s
        if self._health.problem and self._health.is_to_blame(result):
            _discard(result)
            answer = Answer(task.order.ticket, None, self._health.problem, began=True)
        else:
            result = replace(
                result,
                candidate_id=task.order.request.candidate_id,
                queue_s=result.queue_s + waited_s,
            )
            answer = Answer(task.order.ticket, result)
        desk.unsent.append(answer)

    def _log(self, task: _Task, result: AnyResult) -> None:
        ids = {"host": self._spec.host_id, "job": task.job}
        ids |= {"candidate": str(task.order.request.candidate_id), "kind": str(task.kind)}
        _LOG.info("%s", result.message, extra=ids | {"status": str(result.status)})

    def _return_all(self, reason: str) -> None:
        """Give what waits back to its drivers, who have other hosts."""
        for queue in self._queues.values():
            for task in queue.take(lambda _: True):
                desk = self._desks.get(task.job)
                self._arrivals.release(task.order.request)
                if desk is not None:
                    desk.unsent.append(Answer(task.order.ticket, None, reason))
        self._changed.notify_all()

    def _reply(self, desk: _Desk) -> Reply:
        answers = tuple(desk.unsent)
        desk.unsent = []
        if not desk.is_near:
            answers = tuple(with_content(answer) for answer in answers)
        desk.number += 1
        busy = {kind: self._busy[kind] for kind in Kind}
        problem = self._failure or self._health.problem
        desk.unconfirmed = Reply(desk.number, answers, problem, busy)
        return desk.unconfirmed

    def _confirm(self, desk: _Desk) -> None:
        """Remove what the driver has by now: it keeps artefacts itself."""
        reply, desk.unconfirmed = desk.unconfirmed, None
        for answer in reply.answers if reply else ():
            _discard(answer.result)


def _discard(result: AnyResult | None) -> None:
    """Remove the folder of a build."""
    if isinstance(result, BuildResult) and result.output is not None:
        folder = Path(result.output.artefact.path).parent
        if folder.parent.name == "builds":
            shutil.rmtree(folder, ignore_errors=True)
