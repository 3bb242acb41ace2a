"""Builder and runner workers on Ray, for tuning jobs that outgrow one machine.

`metasched.tune(..., workers="ray")` finds this package by its entry points. Read `protocol` for
who tells whom what, `host` for the workers' end and `dispatch` for the job's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metasched.measure.workers import AbstractWorkers
from metasched.target import Target

__all__ = ["fleet_state", "fleet_targets", "open_workers"]


def open_workers(spec: str, targets: Sequence[Target]) -> AbstractWorkers:
    """Start Ray on this machine, or join a fleet; the caller closes the workers.

    Args:
        spec: ``"ray"`` for this machine; ``"ray://HOST:10001"`` for a cluster, by the port of Ray's
            client server; ``"ray:HOST:6379"`` or ``"ray:auto"`` on a node of a cluster. Behind any
            of them ``"?priority=1&share=2"``: how the job stands beside others.
        targets: What will be built for and measured on.

    Raises:
        UsageError: the text names no fleet.
    """
    from metasched_workers.opening import open_ray

    return open_ray(spec, targets)


def fleet_targets(spec: str) -> tuple[Target, ...]:
    """Return what the runners of a fleet measure for; hosts are started to ask them.

    Args:
        spec: An address as for `open_workers`.

    Raises:
        UsageError: the text names no fleet.
        MeasureError: the fleet does not answer.
    """
    from metasched_workers.opening import fleet_targets_of

    return fleet_targets_of(spec)


def fleet_state(spec: str) -> dict[str, Any]:
    """Return figures of a fleet as JSON values: its jobs, its hosts, and which were refused why.

    Args:
        spec: An address as for `open_workers`.

    Raises:
        UsageError: the text names no fleet.
        MeasureError: the fleet does not answer.
    """
    from metasched_workers.opening import fleet_state_of

    return fleet_state_of(spec)
