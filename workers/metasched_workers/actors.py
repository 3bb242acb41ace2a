"""The actor around a `Host`, and Ray as a broker sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, final

from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from metasched_workers.broker import AbstractCluster, Broker, HostLost, Membership
from metasched_workers.host import Host
from metasched_workers.logs import log_to_file
from metasched_workers.metrics import HostMetrics
from metasched_workers.plan import Place
from metasched_workers.protocol import PROTOCOL, Hello, HostSpec, JobInfo
from metasched_workers.scratch import claim_folder
from metasched_workers.session import load_ray

_ray: Final = load_ray()

NAMESPACE: Final = "metasched"
BROKER: Final = f"metasched-broker-{PROTOCOL[1]}"
"""The name of the broker's actor; releases that cannot talk to each other have one each."""
_MOST_CALLS: Final = 64
"""Calls of one host at the same time: each job needs two."""


class HostActor:
    """A `Host` that gets files from the object store.

    Args:
        spec: What the host is made of.
    """

    def __init__(self, spec: HostSpec) -> None:
        # Candidates run below this process, and have no business with the cluster.
        os.environ.pop("RAY_AUTH_TOKEN", None)
        claim_folder()
        log_to_file(spec.host_id)
        self._metrics = HostMetrics(spec.host_id)
        self._host = Host(spec)

    def hello(self) -> Hello:
        """See `Host.hello`."""
        return self._host.hello()

    def open(self, info: JobInfo) -> None:
        """See `Host.open`."""
        self._host.open(info)

    def submit(self, job: str, number: int, orders: bytes, parcels: Mapping[str, Any]) -> None:
        """Take in orders; ``parcels`` are references to the driver's files, by path."""
        wanted = self._host.missing(parcels)
        contents: list[bytes] = _ray.get([parcels[path] for path in wanted])
        self._host.submit(job, number, orders, dict(zip(wanted, contents, strict=True)))

    def poll(self, job: str, confirmed: int, timeout_s: float) -> bytes:
        """See `Host.poll`."""
        return self._host.poll(job, confirmed, timeout_s)

    def forget(self, job: str) -> None:
        """See `Host.forget`."""
        self._host.forget(job)

    def state(self) -> dict[str, Any]:
        """See `Host.state`; the broker asks now and then, which is when metrics are told."""
        found = self._host.state()
        self._metrics.update(found)
        return found


@final
class RayCluster(AbstractCluster):
    """The cluster that this process is connected to."""

    def nodes(self) -> dict[str, dict[str, float]]:
        """Return the resources of the nodes that are alive."""
        nodes: list[dict[str, Any]] = _ray.nodes()
        return {n["NodeID"]: n["Resources"] for n in nodes if n["Alive"]}

    def start(self, spec: HostSpec, place: Place) -> Any:
        """Start the actor of a host on its node; Ray lets nothing else have its device."""
        options: dict[str, Any] = {
            "num_cpus": place.cpus,
            "num_gpus": place.gpus,
            "resources": {place.device: 1} if place.device else {},
            "max_concurrency": _MOST_CALLS,
            "max_restarts": 0,
            "namespace": NAMESPACE,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(spec.node_id, soft=False),
        }
        actor: Any = _ray.remote(HostActor)
        return actor.options(**options).remote(spec)

    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """Call a method of the actor."""
        return getattr(handle, method).remote(*arguments)

    def take(self, token: Any) -> Any:
        """Return the value of a call, see `AbstractCluster.take`."""
        try:
            return _ray.get(token, timeout=0)
        except GetTimeoutError:
            raise TimeoutError from None
        except RayError as error:
            raise HostLost(str(error).strip().splitlines()[0]) from error

    def kill(self, handle: Any) -> None:
        """End the actor; its worker processes end when they notice."""
        _ray.kill(handle)


class BrokerActor:
    """The `Broker` of a cluster; Ray starts it anew where it ends, and its hosts with it."""

    def __init__(self) -> None:
        log_to_file("broker")
        self._broker = Broker(RayCluster())

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


def find_broker() -> Any:
    """Return the broker of the cluster, started now where there is none."""
    options: dict[str, Any] = {
        "name": BROKER,
        "namespace": NAMESPACE,
        "get_if_exists": True,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": -1,
        "max_concurrency": _MOST_CALLS,
    }
    actor: Any = _ray.remote(BrokerActor)
    return actor.options(**options).remote()
