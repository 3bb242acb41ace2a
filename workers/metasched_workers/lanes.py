"""What a driver keeps of its requests and of the hosts that serve them; `dispatch` moves both."""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from metasched_workers.broker import Member
from metasched_workers.protocol import Hello, Kind, Request


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    """How a driver deals with hosts.

    Attributes:
        depth: Requests that a host has for each worker, the one at work included.
        poll_s: Seconds that a host may take to say that nothing happened.
        lease_s: Seconds of silence after which a host is given up.
        attempts: How often work is begun before it counts as lost.
        patience_s: Seconds that work waits for a host that could do it.
    """

    depth: int = 2
    poll_s: float = 2.0
    lease_s: float = 20.0
    attempts: int = 3
    patience_s: float = 120.0


class AbstractLink(ABC):
    """How a driver calls hosts; answers come back from any thread."""

    @abstractmethod
    def call(
        self, handle: Any, method: str, arguments: tuple[Any, ...], done: Callable[[Any], None]
    ) -> None:
        """Call a method of a host; ``done`` gets its value, or a `HostLost`."""

    @abstractmethod
    def ship(self, path: str) -> Any:
        """Return something by which a host on any machine gets the content of a file."""


@dataclass(slots=True)
class Work:
    """A request of the job, from submitting to its result."""

    request: Request
    kind: Kind
    lane: str
    submitted_s: float
    ticket: int = 0
    attempts: int = 0
    waited_s: float = 0.0


@dataclass(slots=True)
class HostRecord:
    """What the driver knows of a host.

    ``load`` counts the requests that it has by kind, ``out`` has them by their tickets.
    """

    member: Member
    is_near: bool
    heard_s: float
    out: dict[int, Work] = field(default_factory=dict[int, Work])
    load: Counter[Kind] = field(default_factory=Counter[Kind])
    unsent: list[Work] = field(default_factory=list[Work])
    is_sending: bool = False
    batch: int = 0
    confirmed: int = 0
    sick: str = ""
    busy: Mapping[Kind, int] = field(default_factory=dict[Kind, int])
    is_up: bool = False
    is_gone: bool = False

    @property
    def hello(self) -> Hello:
        """What the host said of itself."""
        return self.member.hello

    def room(self, kind: Kind, depth: int) -> int:
        """How many more requests it should have."""
        if self.sick or not self.is_up:
            return 0
        return depth * self.hello.slots.get(kind, 0) - self.load[kind]

    def fill(self, kind: Kind) -> float:
        """Requests for each worker."""
        return self.load[kind] / max(1, self.hello.slots.get(kind, 0))


class Lane:
    """Requests of one kind and target that wait, and the hosts that could serve them."""

    def __init__(self, kind: Kind, accepts: Callable[[Hello], bool]) -> None:
        self.kind = kind
        self.accepts = accepts
        self.waiting: deque[Work] = deque()
        self.hosts: list[HostRecord] = []
        self.deserted_s: float | None = None
        self._heap: list[tuple[float, int, HostRecord]] = []
        self._count = itertools.count()

    def note(self, host: HostRecord) -> None:
        """Take in that the load of a host changed."""
        if len(self._heap) > 4 * len(self.hosts) + 64:
            self.refill()
        heapq.heappush(self._heap, (host.fill(self.kind), next(self._count), host))

    def refill(self) -> None:
        """Start anew with the hosts that there are."""
        self._heap = [(h.fill(self.kind), next(self._count), h) for h in self.hosts]
        heapq.heapify(self._heap)

    def next_host(self, depth: int) -> HostRecord | None:
        """The host with the least to do that has room; entries of the past are dropped."""
        while self._heap:
            fill, _, host = heapq.heappop(self._heap)
            if fill == host.fill(self.kind) and host.room(self.kind, depth) > 0:
                return host
        return None
