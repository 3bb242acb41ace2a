"""A cluster as a driver sees it: its own on this machine, or one that it joins."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, final

from metasched.target import Target
from metasched_workers import session
from metasched_workers.artefacts import read_files
from metasched_workers.broker import Broker, HostLost, Membership, Planner
from metasched_workers.engines import LOCAL
from metasched_workers.lanes import AbstractLink
from metasched_workers.plan import own_plan
from metasched_workers.protocol import JobInfo

_CALL_S: Final = 30.0
_SHIPPED: Final = 512
"""Files that stay in the object store; those longest unused leave it."""


class AbstractFleet(ABC):
    """The broker of a cluster, and how its hosts are called."""

    @abstractmethod
    def join(self, info: JobInfo) -> str:
        """See `Broker.join`."""

    @abstractmethod
    def beat(self, job_id: str, version: int, timeout_s: float) -> Membership | None:
        """See `Broker.beat`."""

    @abstractmethod
    def leave(self, job_id: str) -> None:
        """See `Broker.leave`."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """See `Broker.state`."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect."""


@final
class RayLink(AbstractLink):
    """Calls the actors of hosts."""

    def __init__(self) -> None:
        self._shipped: OrderedDict[str, Any] = OrderedDict()

    def call(
        self, handle: Any, method: str, arguments: tuple[Any, ...], done: Callable[[Any], None]
    ) -> None:
        """Call a method of a host, see `AbstractLink.call`."""
        try:
            future = getattr(handle, method).remote(*arguments).future()
        except Exception as error:
            done(_lost(error))
        else:
            future.add_done_callback(partial(_hand_on, done))

    def ship(self, path: str) -> Any:
        """Put a file into the object store, from where each node gets it once."""
        if path not in self._shipped:
            self._shipped[path] = session.load_ray().put(read_files(path))
        self._shipped.move_to_end(path)
        while len(self._shipped) > _SHIPPED:
            self._shipped.popitem(last=False)
        return self._shipped[path]


def _hand_on(done: Callable[[Any], None], future: Any) -> None:
    error = future.exception()
    done(future.result() if error is None else _lost(error))


def _lost(error: BaseException) -> HostLost:
    from ray.exceptions import ActorUnavailableError

    cause = getattr(error, "cause", None) or error  # what a call raised, not where
    text = (str(cause).strip() or repr(cause)).splitlines()[0]
    return HostLost(text, may_return=isinstance(error, ActorUnavailableError))


@final
class JoinedFleet(AbstractFleet):
    """A cluster that others started, with a broker that all its jobs share.

    Args:
        address: See `metasched_workers.session.join`.
    """

    def __init__(self, address: str) -> None:
        self._session = session.join(address)
        from metasched_workers.actors import find_broker

        self._broker = find_broker()

    def join(self, info: JobInfo) -> str:
        """See `Broker.join`."""
        return str(self._ask("join", info))

    def beat(self, job_id: str, version: int, timeout_s: float) -> Membership | None:
        """See `Broker.beat`; also raises `HostLost` while the broker is away."""
        found: Membership | None = self._ask("beat", job_id, version, timeout_s)
        return found

    def leave(self, job_id: str) -> None:
        """See `Broker.leave`; a broker that is away finds out by itself."""
        with contextlib.suppress(HostLost):
            self._ask("leave", job_id)

    def state(self) -> dict[str, Any]:
        """See `Broker.state`."""
        return dict(self._ask("state"))

    def close(self) -> None:
        """Disconnect; the cluster goes on."""
        self._session.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        ray = session.load_ray()
        try:
            return ray.get(getattr(self._broker, method).remote(*arguments), timeout=_CALL_S)
        except KeyError:
            raise
        except Exception as error:
            raise _lost(error) from error


@final
class OwnFleet(AbstractFleet):
    """Ray on this machine, started for one job and ended with it.

    Args:
        targets: What this machine measures for.
        engine: What hosts are made of.
        planner: Which hosts the machine gets, see `own_plan`.
        cores: What builders take; all cores by default.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        engine: str = LOCAL,
        planner: Planner | None = None,
        cores: int | None = None,
    ) -> None:
        number = cores or len(os.sched_getaffinity(0))
        self._session = session.start(number)
        from metasched_workers.actors import RayCluster

        self._broker = Broker(RayCluster(), engine, planner or own_plan(targets))

    def join(self, info: JobInfo) -> str:
        """See `Broker.join`."""
        return self._broker.join(info)

    def beat(self, job_id: str, version: int, timeout_s: float) -> Membership | None:
        """See `Broker.beat`."""
        return self._broker.beat(job_id, version, timeout_s)

    def leave(self, job_id: str) -> None:
        """See `Broker.leave`."""
        self._broker.leave(job_id)

    def state(self) -> dict[str, Any]:
        """See `Broker.state`."""
        return self._broker.state()

    def close(self) -> None:
        """End all hosts, then Ray."""
        self._broker.close()
        self._session.close()
