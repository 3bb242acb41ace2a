"""What drivers, hosts and the broker of a fleet tell each other: frozen, picklable records.

A *host* is an actor with the worker processes of one device, or of the cores of a node. A
*driver* is the process of a tuning job. Read `host` for one end and `dispatch` for the other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from metasched.errors import UsageError
from metasched.measure.records import AnyResult, AnyRun, BuildRequest
from metasched.target import Target
from metasched_workers.registries import Registries

PROTOCOL: Final = (1, 1)
"""The oldest and the latest version of these records that this release speaks."""

Request: TypeAlias = BuildRequest | AnyRun


class Kind(StrEnum):
    """What a worker does."""

    BUILD = "build"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """What a host is made of.

    Attributes:
        host_id: Its name, never used twice.
        node_id: Ray's name of the node.
        engine: ``"module:function"``, called with this record; returns the workers of the host.
        targets: What its runner measures for, as texts for `parse_target`; none without a runner.
        builders: Builds at the same time.
        runners: Runs at the same time: 1, or 0; more only where they are simulated.
        limit_bytes: Memory that one candidate may take with all it starts.
    """

    host_id: str
    node_id: str
    engine: str
    targets: tuple[str, ...]
    builders: int
    runners: int
    limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Hello:
    """What a host says of itself when it is ready.

    Attributes:
        host_id: Its name.
        node_id: Ray's name of its node.
        machine: See `this_machine`.
        protocol: The versions that it speaks.
        targets: What its runner measures for, by their keys.
        toolchain: What it compiles with.
        slots: Workers by kind.
    """

    host_id: str
    node_id: str
    machine: str
    protocol: tuple[int, int]
    targets: dict[str, Target]
    toolchain: str
    slots: dict[Kind, int]


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What a fleet knows of a job.

    Attributes:
        job_id: Its name.
        machine: Where its driver is; see `this_machine`.
        priority: Work of a higher one goes first, always.
        share: How much of the time it gets beside others of its priority.
        protocol: The versions that it speaks.
        registries: What its builders must know; None where they have it anyway.
    """

    job_id: str
    machine: str
    priority: int = 0
    share: float = 1.0
    protocol: tuple[int, int] = PROTOCOL
    registries: Registries | None = None

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise UsageError(f"share is {self.share}, expected a number above 0")


@dataclass(frozen=True, slots=True)
class Order:
    """A request under a ticket: the fencing number of a lease.

    A ticket is used once. Work that is given to another host gets a new one, so that a result of
    the host given up is told apart from the one that counts.
    """

    ticket: int
    request: Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order.

    Attributes:
        ticket: Of the order.
        result: How it ended; None when it is given back, to be done elsewhere.
        returned: Why it is given back.
        began: Whether it was begun before it was given back.
        content: The file of what was built, for a driver on another machine.
    """

    ticket: int
    result: AnyResult | None
    returned: str = ""
    began: bool = False
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a host tells a job: answers since the last reply, and how it is.

    Attributes:
        number: Counts replies; a reply is repeated until the driver confirms its number.
        answers: What ended.
        sick: Why the host takes no work now; empty when it does.
        busy: Workers at work, for whichever job, by kind.
    """

    number: int
    answers: tuple[Answer, ...]
    sick: str = ""
    busy: dict[Kind, int] = field(default_factory=dict[Kind, int])


def kind_of(request: Request) -> Kind:
    """Return what kind of worker serves a request."""
    return Kind.BUILD if isinstance(request, BuildRequest) else Kind.RUN


def negotiate(ours: tuple[int, int], theirs: tuple[int, int]) -> int | None:
    """Return the latest version that both speak, None where there is none.

    >>> negotiate((1, 3), (2, 5)), negotiate((1, 1), (2, 5))
    (3, None)
    """
    latest = min(ours[1], theirs[1])
    return latest if latest >= max(ours[0], theirs[0]) else None


def refusal(who: str, theirs: tuple[int, int], ours: tuple[int, int] = PROTOCOL) -> str:
    """Return why two ends cannot work together; empty when they can."""
    if negotiate(ours, theirs) is not None:
        return ""
    return (
        f"{who} speaks protocol {_range(theirs)}, this release {_range(ours)};"
        " install the same metasched on both"
    )


def _range(versions: Sequence[int]) -> str:
    first, last = versions
    return str(first) if first == last else f"{first} to {last}"


def this_machine() -> str:
    """Return a name of this machine and its file system, as far as processes here share them."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/mnt")
    if boot.exists() and namespace.exists():
        return f"{boot.read_text().strip()}:{os.readlink(namespace)}:{os.getuid()}"
    return f"{os.uname().nodename}:{os.getuid()}"
