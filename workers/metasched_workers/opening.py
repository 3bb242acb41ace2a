"""From the text that a user gives to workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from metasched.errors import MeasureError, UsageError
from metasched.measure.workers import Capacity
from metasched.target import Target
from metasched_workers.fleet import OwnFleet
from metasched_workers.ray_workers import RayWorkers

_INSTALL: Final = "Ray is not installed; install it with `pip install 'metasched[ray]'`"


def open_ray(spec: str, targets: Sequence[Target]) -> RayWorkers:
    """Return the workers that a text names, see `metasched_workers.open_workers`."""
    if find_spec("ray") is None:
        raise MeasureError(_INSTALL)
    if spec != "ray":
        raise UsageError(f"workers '{spec}' name no fleet; write 'ray' for this machine")
    cores = len(os.sched_getaffinity(0))
    return RayWorkers(lambda: OwnFleet(targets), targets, expected=Capacity(cores, 1))
