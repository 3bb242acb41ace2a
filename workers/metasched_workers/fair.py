"""Which job's work a host does next: by priority, then by shares of the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

_RECENT = 0.2
"""The weight of the latest item in the guess of how long the next one takes."""


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """An item whose turn it is, with the job that it belongs to and a guess of its seconds."""

    job: str
    item: T
    guess_s: float


@dataclass(slots=True)
class _Lane(Generic[T]):
    priority: int
    share: float
    used_s: float
    guess_s: float = 0.01
    items: deque[T] = field(default_factory=deque[T])


class FairQueue(Generic[T]):
    """Queues of several jobs that share a worker.

    A job of a higher priority goes first, always. Among those of one priority the one goes first
    that had the least time for its share; time that a job had no use for is not saved up.

    >>> queue = FairQueue[str]()
    >>> for job, share in (("a", 1.0), ("b", 2.0)):
    ...     queue.open(job, 0, share)
    ...     for _ in range(4):
    ...         queue.push(job, job)
    >>> done = []
    >>> for _ in range(6):
    ...     turn = queue.pop()
    ...     queue.charge(turn, 1.0)
    ...     done.append(turn.item)
    >>> sorted(done)
    ['a', 'a', 'b', 'b', 'b', 'b']
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane[T]] = {}

    def __len__(self) -> int:
        return sum(len(lane.items) for lane in self._lanes.values())

    def open(self, job: str, priority: int, share: float) -> None:
        """Let a job take part, or change its priority and share."""
        known = self._lanes.get(job)
        if known is None:
            self._lanes[job] = _Lane(priority, share, self._floor(priority))
        else:
            known.priority, known.share = priority, share

    def close(self, job: str) -> list[T]:
        """Forget a job and return what it still had in its queue."""
        lane = self._lanes.pop(job, None)
        return list(lane.items) if lane else []

    def push(self, job: str, item: T) -> None:
        """Add an item at the end of a job's queue."""
        lane = self._lanes[job]
        if not lane.items:
            lane.used_s = max(lane.used_s, self._floor(lane.priority))
        lane.items.append(item)

    def pop(self) -> Turn[T] | None:
        """Take the next item; `charge` tells later how long it took."""
        waiting = [job for job, lane in self._lanes.items() if lane.items]
        if not waiting:
            return None
        job = min(waiting, key=lambda name: (-self._lanes[name].priority, self._lanes[name].used_s))
        lane = self._lanes[job]
        lane.used_s += lane.guess_s / lane.share
        return Turn(job, lane.items.popleft(), lane.guess_s)

    def charge(self, turn: Turn[T], seconds: float) -> None:
        """Put the time of an item to its job's account, in place of the guess made by `pop`."""
        lane = self._lanes.get(turn.job)
        if lane is not None:
            lane.used_s += (seconds - turn.guess_s) / lane.share
            lane.guess_s += _RECENT * (seconds - lane.guess_s)

    def take(self, wanted: Callable[[T], bool]) -> list[T]:
        """Remove and return the items for which a condition holds."""
        taken: list[T] = []
        for lane in self._lanes.values():
            taken += [item for item in lane.items if wanted(item)]
            lane.items = deque(item for item in lane.items if not wanted(item))
        return taken

    def _floor(self, priority: int) -> float:
        """The account of the poorest job at work, where one that begins now starts."""
        used = [
            lane.used_s for lane in self._lanes.values() if lane.items and lane.priority == priority
        ]
        return min(used, default=0.0)
