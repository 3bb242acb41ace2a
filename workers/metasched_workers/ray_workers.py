"""`RayWorkers`: the builders and runners of a Ray cluster behind the interface of local ones."""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from metasched.errors import MeasureError, MetaschedError
from metasched.measure.records import AnyResult, AnyRun, BuildRequest
from metasched.measure.workers import AbstractWorkers, Capacity
from metasched.target import Target
from metasched_workers.artefacts import Store
from metasched_workers.broker import HostLost
from metasched_workers.dispatch import Dispatcher
from metasched_workers.fleet import AbstractFleet, RayLink
from metasched_workers.lanes import AbstractLink, DispatchConfig
from metasched_workers.protocol import JobInfo, this_machine
from metasched_workers.registries import Registries

_BEAT_S: Final = 1.0
_BROKER_AWAY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job stands beside others on a fleet.

    Attributes:
        priority: Work of a job of a higher priority goes first, always.
        share: How much of the time it gets beside jobs of its priority.
        dispatch: How the driver deals with hosts.
    """

    priority: int = 0
    share: float = 1.0
    dispatch: DispatchConfig = field(default_factory=DispatchConfig)


@final
class RayWorkers(AbstractWorkers):
    """Builders and runners on a Ray cluster.

    Ray starts in the background, so that the caller prepares its work meanwhile; what is submitted
    before that waits. A failure to start is raised by `poll`.

    Args:
        open_fleet: Starts or joins a cluster; called in a thread.
        targets: What the job builds for and measures on; the first one is that of requests which
            name none.
        options: How the job stands beside others.
        expected: What `capacity` says until the cluster has said it.
        link: How hosts are called.
        registries: What builders must know; None where they have it anyway.
    """

    def __init__(
        self,
        open_fleet: Callable[[], AbstractFleet],
        targets: Sequence[Target],
        *,
        options: JobOptions | None = None,
        expected: Capacity | None = None,
        link: AbstractLink | None = None,
        registries: Registries | None = None,
    ) -> None:
        chosen = options or JobOptions()
        info = JobInfo(
            uuid.uuid4().hex[:12], this_machine(), chosen.priority, chosen.share,
            registries=registries,
        )  # fmt: skip
        self.job_id = info.job_id
        self._expected = expected or Capacity(1, 1)
        self._out = 0
        self._store = Store()
        self._dispatcher = Dispatcher(
            info, targets, link or RayLink(), self._store, chosen.dispatch
        )
        self._member = _Member(info, open_fleet, self._dispatcher)
        # Also closes workers that were dropped without `close`, and those left at exit.
        self._finalizer = weakref.finalize(
            self, _close, self._member, self._dispatcher, self._store
        )

    @property
    def capacity(self) -> Capacity:
        """The workers of all hosts that serve the job now."""
        found = self._dispatcher.capacity
        return found if found.builders or found.runners else self._expected

    def runners_of(self, target: str) -> int:
        """The runners that measure for a target."""
        return self._dispatcher.runners.get(target, 1)

    @property
    def shares_cores(self) -> bool:
        """Whether a host measures on the cores of this process."""
        return self._dispatcher.shares_cores

    def submit_build(self, request: BuildRequest) -> None:
        """Queue a build; see `AbstractWorkers.submit_build`."""
        self._submit(request)

    def submit_run(self, request: AnyRun) -> None:
        """Queue a run or a comparison; see `AbstractWorkers.submit_run`."""
        self._submit(request)

    def poll(self, timeout_s: float = 0.0) -> list[AnyResult]:
        """Return results; see `AbstractWorkers.poll`."""
        self._check_open()
        results = self._dispatcher.results.collect(timeout_s if self._out else 0.0)
        self._out -= sum(not getattr(result, "is_late", False) for result in results)
        return results

    def describe(self) -> str:
        """How the fleet is doing, see `AbstractWorkers.describe`."""
        return self._dispatcher.summary()

    def wake(self) -> None:
        """Let `poll` return; see `AbstractWorkers.wake`."""
        self._dispatcher.results.wake()

    def close(self) -> None:
        """Leave the cluster, and end it where it was started for this job."""
        self._finalizer()

    def _submit(self, request: BuildRequest | AnyRun) -> None:
        self._check_open()
        self._out += 1
        self._dispatcher.submit(request)

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise MeasureError("the workers are closed; open new ones")


class _Member:
    """Starts or joins a cluster, and stays a member of it until told to leave."""

    def __init__(
        self, info: JobInfo, open_fleet: Callable[[], AbstractFleet], dispatcher: Dispatcher
    ) -> None:
        self._info = info
        self._open_fleet = open_fleet
        self._dispatcher = dispatcher
        self._closing = threading.Event()
        self._fleet: AbstractFleet | None = None
        self._thread = threading.Thread(target=self._main, name="metasched-member", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave, and wait until that is done."""
        self._closing.set()
        fleet = self._fleet
        if fleet is not None:
            fleet.leave(self._info.job_id)
        self._thread.join()

    def _main(self) -> None:
        try:
            self._fleet = self._open_fleet()
        except MetaschedError as error:
            self._dispatcher.results.fail(MeasureError(str(error)))
            return
        except Exception as error:
            text = f"the workers cannot be started: {type(error).__name__}: {error}"
            self._dispatcher.results.fail(MeasureError(text))
            return
        try:
            self._stay(self._fleet)
        except MeasureError as error:
            self._dispatcher.results.fail(error)
        except Exception as error:
            text = f"the fleet is gone: {type(error).__name__}: {error}"
            self._dispatcher.results.fail(MeasureError(text))
        finally:
            self._fleet.close()

    def _stay(self, fleet: AbstractFleet) -> None:
        """Join, and join again where the broker was started anew: its hosts are others then."""
        heard_s = time.monotonic()
        while not self._closing.is_set():
            try:
                if reason := fleet.join(self._info):
                    raise MeasureError(reason)
                heard_s = time.monotonic()
                self._beat(fleet)
            except KeyError:
                continue
            except HostLost as error:
                if time.monotonic() - heard_s > _BROKER_AWAY_S:
                    raise MeasureError(f"the fleet does not answer: {error}") from error
                self._closing.wait(_BEAT_S)

    def _beat(self, fleet: AbstractFleet) -> None:
        version = 0
        while not self._closing.is_set():
            found = fleet.beat(self._info.job_id, version, _BEAT_S)
            if found is not None:
                version = found.version
                self._dispatcher.set_members(found)


def _close(member: _Member, dispatcher: Dispatcher, store: Store) -> None:
    dispatcher.close()
    member.close()
    store.close()
