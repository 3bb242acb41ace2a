"""The driver's end of a fleet: who gets which request, and what becomes of it.

One thread owns all state; everything else sends it events. Each request that a host has is a
*lease*: it is out under a ticket, until it is answered or the host is given up. The work of a host
given up is queued again under a new ticket, a bounded number of times.
"""

from __future__ import annotations

import itertools
import logging
import pickle
import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from metasched.errors import MeasureError
from metasched.measure.records import (
    AnyResult,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    RunResult,
    Status,
)
from metasched.measure.workers import Capacity
from metasched.target import Target
from metasched_workers.artefacts import Store, artefacts_of
from metasched_workers.broker import HostLost, Membership
from metasched_workers.lanes import AbstractLink, DispatchConfig, HostRecord, Lane, Work
from metasched_workers.protocol import (
    Answer,
    Hello,
    JobInfo,
    Kind,
    Order,
    Reply,
    Request,
    kind_of,
)
from metasched_workers.results import Results

_LOG: Final = logging.getLogger("metasched.workers.driver")
_CHECK_S: Final = 0.25
_PAUSE_S: Final = 0.5
_MOST_EVENTS: Final = 512
_PATIENCE_IF_UNFIT_S: Final = 10.0
_MOST_FENCED: Final = 10_000
"""Tickets that are remembered after their host was given up."""


class Dispatcher:
    """Sends the requests of one job to hosts and collects what becomes of them.

    Args:
        job: Who asks.
        targets: What the job builds for and measures on.
        link: How hosts are called.
        store: Where built kernels are kept.
        config: How hosts are dealt with.
    """

    def __init__(
        self,
        job: JobInfo,
        targets: Sequence[Target],
        link: AbstractLink,
        store: Store,
        config: DispatchConfig | None = None,
    ) -> None:
        self._job = job
        self._targets = {target.key(): target for target in targets}
        self._link = link
        self._store = store
        self._config = config or DispatchConfig()
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.results = Results()
        self._hosts: dict[str, HostRecord] = {}
        self._refused: Mapping[str, str] = {}
        self._lanes: dict[tuple[Kind, str], Lane] = {}
        self._open: dict[int, Work] = {}
        self._tickets = itertools.count(1)
        self._given_up: OrderedDict[int, int] = OrderedDict()
        self._late: dict[int, list[RunResult]] = {}
        self._dirty: dict[str, HostRecord] = {}
        self._turned_away: dict[str, str] = {}
        self._began_s = time.monotonic()
        self.counts = Counter[str]()
        self.capacity = Capacity(0, 0)
        self.runners: Mapping[str, int] = {}
        self.shares_cores = False
        for key in self._targets:
            self._lane(Kind.BUILD, key)
            self._lane(Kind.RUN, key)
        self._thread = threading.Thread(target=self._main, name="metasched-fleet", daemon=True)
        self._thread.start()

    # -- called by the job -----------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Queue a request."""
        now = time.monotonic()
        self._events.put(lambda: self._submitted(request, now))

    def set_members(self, membership: Membership) -> None:
        """Take in which hosts there are."""
        self._events.put(lambda: self._meet(membership))

    def summary(self) -> str:
        """Say in a line how the fleet is doing; from any thread."""
        hosts = list(self._hosts.values())
        up = [host for host in hosts if host.is_up and not host.sick]
        parts = [f"{len(up)} of {len(hosts)} hosts"]
        for kind, name in ((Kind.BUILD, "builders"), (Kind.RUN, "runners")):
            slots = sum(host.hello.slots.get(kind, 0) for host in up)
            busy = sum(host.busy.get(kind, 0) for host in up)
            share = f" {100 * busy // slots} % busy" if slots else ""
            parts.append(f"{slots} {name}{share}")
        for kind in Kind:
            lanes = [lane for (k, _), lane in list(self._lanes.items()) if k is kind]
            if waiting := sum(len(lane.waiting) for lane in lanes):
                parts.append(f"{waiting} {kind}s wait")
        passed_s = time.monotonic() - self._began_s
        ended = sum(n for name, n in list(self.counts.items()) if name.startswith(Kind.RUN))
        parts.append(f"{ended / passed_s:.1f} runs/s")
        parts += [
            f"{self.counts[name]} {name}" for name in ("requeued", "late") if self.counts[name]
        ]
        parts += sorted({f"{host.hello.host_id}: {host.sick}" for host in hosts if host.sick})
        return ", ".join(parts)

    def close(self) -> None:
        """End the thread; nothing is sent any more."""
        self._events.put(None)
        self._thread.join()

    # -- the thread ------------------------------------------------------------------------------

    def _main(self) -> None:
        checked_s = 0.0
        while True:
            events = self._next_events()
            for event in events:
                if event is None:
                    return
                event()
            now = time.monotonic()
            if now - checked_s > _CHECK_S:
                checked_s = now
                self._check_leases(now)
                self._check_lanes(now)
            self._assign()
            self._send()

    def _next_events(self) -> list[Callable[[], None] | None]:
        """Wait for an event and return it with those behind it."""
        try:
            events = [self._events.get(timeout=_CHECK_S)]
        except queue.Empty:
            return []
        while len(events) < _MOST_EVENTS and not self._events.empty():
            events.append(self._events.get())
        return events

    def _submitted(self, request: Request, now: float) -> None:
        kind = kind_of(request)
        key = request.target or next(iter(self._targets))
        self._queue(Work(request, kind, key, now))
        self._open[request.candidate_id] = self._lane(kind, key).waiting[-1]

    def _lane(self, kind: Kind, key: str) -> Lane:
        known = self._lanes.get((kind, key))
        if known is None:
            known = self._lanes[kind, key] = Lane(kind, self._acceptance(kind, key))
            known.hosts = [h for h in self._hosts.values() if known.accepts(h.hello)]
            known.refill()
        return known

    def _acceptance(self, kind: Kind, key: str) -> Callable[[Hello], bool]:
        """What hosts can do work of a kind for a target: those with a compiler or device alike."""
        target = self._targets.get(key)

        def accepts(hello: Hello) -> bool:
            if not hello.slots.get(kind):
                return False
            if kind is Kind.RUN:
                return key in hello.targets
            is_cpu = target is not None and target.kind == "cpu"
            return target is None or not is_cpu or hello.toolchain == target.toolchain

        return accepts

    def _queue(self, work: Work, *, first: bool = False) -> None:
        waiting = self._lane(work.kind, work.lane).waiting
        if first:
            waiting.appendleft(work)
        else:
            waiting.append(work)

    # -- hosts -----------------------------------------------------------------------------------

    def _meet(self, membership: Membership) -> None:
        """Greet the hosts that are new and give up those that have left."""
        self._refused = membership.refused
        for host_id in [name for name in self._hosts if name not in membership.members]:
            self._lose(self._hosts[host_id], "it left the fleet")
        now = time.monotonic()
        for host_id, member in membership.members.items():
            if host_id not in self._hosts and host_id not in self._turned_away:
                is_near = member.hello.machine == self._job.machine
                host = self._hosts[host_id] = HostRecord(member, is_near, now)
                self._call(host, "open", (self._job,), self._opened)
        self._recount()

    def _opened(self, host: HostRecord, value: Any) -> None:
        if isinstance(value, HostLost):
            self._turned_away[host.hello.host_id] = str(value)
            self._lose(host, str(value))
            return
        self._revive(host)
        self._poll(host)

    def _revive(self, host: HostRecord) -> None:
        host.is_up, host.heard_s = True, time.monotonic()
        self._note(host)
        self._recount()

    def _recount(self) -> None:
        up = [h for h in self._hosts.values() if h.is_up]
        for lane in self._lanes.values():
            lane.hosts = [h for h in up if lane.accepts(h.hello)]
            lane.refill()
        used = {h.hello.host_id: h for lane in self._lanes.values() for h in lane.hosts}
        slots = Counter[Kind]()
        for host in used.values():
            slots.update(host.hello.slots)
        self.capacity = Capacity(slots[Kind.BUILD], slots[Kind.RUN])
        self.runners = {
            key: sum(h.hello.slots.get(Kind.RUN, 0) for h in lane.hosts)
            for (kind, key), lane in self._lanes.items()
            if kind is Kind.RUN
        }
        self.shares_cores = any(h.is_near and _times_on_cores(h.hello) for h in used.values())

    def _call(
        self,
        host: HostRecord,
        method: str,
        arguments: tuple[Any, ...],
        then: Callable[[HostRecord, Any], None],
    ) -> None:
        def done(value: Any) -> None:
            self._events.put(lambda: None if host.is_gone else then(host, value))

        self._link.call(host.member.handle, method, arguments, done)

    def _poll(self, host: HostRecord) -> None:
        arguments = (self._job.job_id, host.confirmed, self._config.poll_s)
        self._call(host, "poll", arguments, self._heard)

    def _heard(self, host: HostRecord, value: Any) -> None:
        """Take in a reply; a host that was given up for its silence works again."""
        if isinstance(value, HostLost):
            if not value.may_return:
                self._lose(host, str(value))
            elif host.is_up or time.monotonic() - host.heard_s < 10 * self._config.lease_s:
                threading.Timer(_PAUSE_S, self._poll, (host,)).start()
            return
        if not host.is_up:
            self._revive(host)
        reply: Reply = pickle.loads(value)
        host.heard_s, host.busy = time.monotonic(), reply.busy
        if reply.number > host.confirmed:
            host.confirmed = reply.number
            for answer in reply.answers:
                self._answered(host, answer)
        if reply.sick != host.sick:
            _LOG.warning("host %s: %s", host.hello.host_id, reply.sick or "is well again")
            host.sick = reply.sick
            self._note(host)
        self._poll(host)

    def _note(self, host: HostRecord) -> None:
        for lane in self._lanes.values():
            if host.hello.slots.get(lane.kind) and lane.accepts(host.hello):
                lane.note(host)

    def _lose(self, host: HostRecord, reason: str) -> None:
        """Forget a host for good."""
        self._give_up(host, reason)
        host.is_gone = True
        self._hosts.pop(host.hello.host_id, None)
        self._recount()

    def _give_up(self, host: HostRecord, reason: str) -> None:
        """End the leases of a host: what it has is done elsewhere."""
        if host.is_up:
            _LOG.warning("host %s is given up: %s", host.hello.host_id, reason)
        host.is_up = False
        works, host.out = list(host.out.values()), {}
        host.unsent.clear()
        host.load.clear()
        for work in works:
            self._given_up[work.ticket] = work.request.candidate_id
            self._again(work, f"{host.hello.host_id}: {reason}")
        while len(self._given_up) > _MOST_FENCED:
            self._given_up.popitem(last=False)

    def _check_leases(self, now: float) -> None:
        for host in list(self._hosts.values()):
            silent_s = now - host.heard_s
            if host.is_up and silent_s > self._config.poll_s + self._config.lease_s:
                self._give_up(host, f"it was silent for {silent_s:.0f} s")
                self._recount()

    def _check_lanes(self, now: float) -> None:
        """Fail when work waits that nobody here can do."""
        for (kind, key), lane in self._lanes.items():
            if not lane.waiting or any(lane.accepts(h.hello) for h in self._hosts.values()):
                lane.deserted_s = None
            elif lane.deserted_s is None:
                lane.deserted_s = now
            elif now - lane.deserted_s > self._patience_s():
                lane.deserted_s = now
                self.results.fail(MeasureError(self._why_deserted(kind, key)))

    def _patience_s(self) -> float:
        """Hosts that do not fit will not change; others may join."""
        longest_s = self._config.patience_s
        return min(_PATIENCE_IF_UNFIT_S, longest_s) if self._turned_away else longest_s

    def _why_deserted(self, kind: Kind, key: str) -> str:
        target = self._targets.get(key)
        worker = "builder" if kind is Kind.BUILD else "runner"
        hosts = self._hosts.values()
        offered = sorted({str(target) for h in hosts for target in h.hello.targets.values()})
        parts = [
            f"no {worker} for '{target}' in {self._config.patience_s:g} s",
            f"the fleet measures on: {'; '.join(offered) or 'nothing'}",
            *(f"{place} has no host: {why}" for place, why in self._refused.items()),
            *(f"{host} does not fit: {why}" for host, why in self._turned_away.items()),
        ]
        return "; ".join(parts)

    # -- work ------------------------------------------------------------------------------------

    def _assign(self) -> None:
        """Give waiting work to hosts that have room; targets take turns at the builders."""
        lanes = [lane for lane in self._lanes.values() if lane.waiting]
        while lanes:
            lanes = [lane for lane in lanes if self._assign_one(lane)]

    def _assign_one(self, lane: Lane) -> bool:
        if not lane.waiting:
            return False
        host = lane.next_host(self._config.depth)
        if host is None:
            return False
        work = lane.waiting.popleft()
        work.ticket = next(self._tickets)
        work.attempts += 1
        work.waited_s = time.monotonic() - work.submitted_s
        host.out[work.ticket] = work
        host.load[work.kind] += 1
        host.unsent.append(work)
        self._dirty[host.hello.host_id] = host
        self._note(host)
        return True

    def _send(self) -> None:
        for host in [h for h in self._dirty.values() if not h.is_sending]:
            del self._dirty[host.hello.host_id]
            works, host.unsent = host.unsent, []
            if not works or host.is_gone:
                continue
            host.batch += 1
            orders = pickle.dumps(tuple(Order(w.ticket, w.request) for w in works), 5)
            parcels = {} if host.is_near else self._parcels(works)
            host.is_sending = True
            self._submit_batch(host, (self._job.job_id, host.batch, orders, parcels))

    def _submit_batch(self, host: HostRecord, arguments: tuple[Any, ...]) -> None:
        def then(host: HostRecord, value: Any) -> None:
            if isinstance(value, HostLost):
                if not value.may_return:
                    self._lose(host, str(value))
                else:
                    # The same batch again: the host takes none twice.
                    threading.Timer(_PAUSE_S, self._submit_batch, (host, arguments)).start()
                return
            host.is_sending = False
            if host.unsent:
                self._dirty[host.hello.host_id] = host

        self._call(host, "submit", arguments, then)

    def _parcels(self, works: Sequence[Work]) -> dict[str, Any]:
        paths = {a.path for work in works for a in artefacts_of(work.request)}
        return {path: self._link.ship(path) for path in sorted(paths)}

    def _answered(self, host: HostRecord, answer: Answer) -> None:
        work = host.out.pop(answer.ticket, None)
        if work is None:
            self._came_late(answer)
            return
        host.load[work.kind] -= 1
        self._note(host)
        if answer.result is None:
            work.attempts -= not answer.began
            self._again(work, answer.returned)
        elif answer.result.status is Status.LOST:
            self._again(work, answer.result.message)
        else:
            self._ended(work, answer.result, answer.content)

    def _ended(self, work: Work, result: AnyResult, content: bytes | None) -> None:
        if isinstance(result, BuildResult):
            try:
                result = self._store.keep(result, content)
            except FileNotFoundError:
                self._again(work, "what it built is gone")
                return
            except OSError as error:
                text = f"the driver cannot keep a kernel: {error.strerror}; free some space"
                self.results.fail(MeasureError(text))
                return
        self._finish(work, replace(result, queue_s=result.queue_s + work.waited_s))

    def _finish(self, work: Work, result: AnyResult) -> None:
        number = work.request.candidate_id
        self._open.pop(number, None)
        self.counts[f"{work.kind}:{result.status}"] += 1
        self.results.put(result)
        for late in self._late.pop(number, ()):
            self.results.put(late)

    def _again(self, work: Work, reason: str) -> None:
        """Queue work anew, in front, or let it end as lost."""
        if work.attempts < self._config.attempts:
            self.counts["requeued"] += 1
            self._queue(work, first=True)
            return
        message = f"begun {work.attempts} times and lost each time, the last time so: {reason}"
        number = work.request.candidate_id
        if isinstance(work.request, BuildRequest):
            self._finish(work, BuildResult(number, Status.LOST, message))
        elif isinstance(work.request, CompareRequest):
            self._finish(work, CompareResult(number, Status.LOST, message))
        else:
            self._finish(work, RunResult(number, Status.LOST, message))

    def _came_late(self, answer: Answer) -> None:
        """Keep a measurement of a host that was given up, beside the one that counts."""
        number = self._given_up.pop(answer.ticket, None)
        result = answer.result
        if number is None or not isinstance(result, RunResult) or result.status is not Status.OK:
            return
        self.counts["late"] += 1
        late = replace(result, is_late=True)
        if number in self._open:
            self._late.setdefault(number, []).append(late)
        else:
            self.results.put(late)


def _times_on_cores(hello: Hello) -> bool:
    is_cpu = any(target.kind == "cpu" for target in hello.targets.values())
    return is_cpu and bool(hello.slots.get(Kind.RUN))
