"""Figures of a host for Ray's Prometheus endpoint; nobody pays for them where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from metasched_workers.protocol import Kind


class HostMetrics:
    """Counts the results of a host by kind and status, and shows how busy it is.

    Args:
        host_id: The host.
    """

    def __init__(self, host_id: str) -> None:
        metrics: Any = import_module("ray.util.metrics")
        self._host = {"host": host_id}
        by_kind = ("host", "kind")
        self._results = metrics.Counter(
            "metasched_results", "requests that ended", ("host", "kind", "status")
        )
        self._busy = metrics.Gauge("metasched_busy", "workers at work", by_kind)
        self._waiting = metrics.Gauge("metasched_waiting", "requests that wait here", by_kind)
        self._sick = metrics.Gauge("metasched_sick", "1 while the host is set aside", ("host",))
        self._told = Counter[str]()

    def update(self, state: Mapping[str, Any]) -> None:
        """Take in the state of the host, see `Host.state`."""
        for kind in Kind:
            tags = {**self._host, "kind": str(kind)}
            self._busy.set(state["busy"][kind], tags)
            self._waiting.set(state["waiting"][kind], tags)
        self._sick.set(int(bool(state["sick"])), self._host)
        for name, count in cast("Mapping[str, int]", state["results"]).items():
            if new := count - self._told[name]:
                kind, _, status = name.partition(":")
                self._results.inc(new, {**self._host, "kind": kind, "status": status})
                self._told[name] = count
