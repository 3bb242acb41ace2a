"""Builder and runner workers on Ray, for tuning jobs that outgrow one machine.

`metasched.tune(..., workers="ray")` finds this package by its entry points. Read `protocol` for
who tells whom what, `host` for the workers' end and `dispatch` for the job's.
"""

from __future__ import annotations

from collections.abc import Sequence

from metasched.measure.workers import AbstractWorkers
from metasched.target import Target

__all__ = ["open_workers"]


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
