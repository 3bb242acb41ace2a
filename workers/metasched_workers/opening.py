"""From the text that a user gives to workers."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import parse_qsl

from metasched.errors import MeasureError, UsageError
from metasched.measure.workers import Capacity
from metasched.registry import foreign_modules
from metasched.target import Target
from metasched_workers.broker import HostLost
from metasched_workers.fleet import JoinedFleet, OwnFleet
from metasched_workers.protocol import JobInfo, this_machine
from metasched_workers.ray_workers import JobOptions, RayWorkers
from metasched_workers.registries import collect

_FORMS: Final = (
    "write 'ray' for this machine, 'ray://HOST:10001', 'ray:HOST:6379' or 'ray:auto' on a node"
    " of a cluster, with '?priority=1&share=2' behind it if you like"
)
_LOOK_S: Final = 60.0
_INSTALL: Final = "Ray is not installed; install it with `pip install 'metasched[ray]'`"


def open_ray(spec: str, targets: Sequence[Target]) -> RayWorkers:
    """Return the workers that a text names, see `metasched_workers.open_workers`."""
    if find_spec("ray") is None:
        raise MeasureError(_INSTALL)
    address, options = parse_spec(spec)
    cores = len(os.sched_getaffinity(0))
    if not address:
        # The same installation: only what the user registered may be missing in its builders.
        return RayWorkers(
            lambda: OwnFleet(targets),
            targets,
            options=options,
            expected=Capacity(cores, 1),
            registries=collect() if foreign_modules() else None,
        )
    return RayWorkers(lambda: JoinedFleet(address), targets, options=options, registries=collect())


def parse_spec(spec: str) -> tuple[str, JobOptions]:
    """Return the address of a fleet, empty for this machine, and how the job stands on it.

    Raises:
        UsageError: the text is no fleet, or has an option that there is not.

    >>> parse_spec("ray://head:10001?priority=2")[0]
    'ray://head:10001'
    >>> parse_spec("ray:10.0.0.5:6379")[0], parse_spec("ray:auto")[0], parse_spec("ray")[0]
    ('10.0.0.5:6379', 'auto', '')
    """
    place, _, query = spec.partition("?")
    scheme, colon, rest = place.partition(":")
    if scheme != "ray" or (colon and not rest.strip("/")):
        raise UsageError(f"workers '{spec}' name no fleet; {_FORMS}")
    address = place if rest.startswith("//") else rest
    given = dict(parse_qsl(query, keep_blank_values=True))
    try:
        options = JobOptions(int(given.pop("priority", "0")), float(given.pop("share", "1")))
    except ValueError as error:
        raise UsageError(f"workers '{spec}': {error}; {_FORMS}") from error
    if given:
        raise UsageError(f"workers '{spec}' have no option '{next(iter(given))}'; {_FORMS}")
    return address, options


def fleet_state_of(spec: str) -> dict[str, Any]:
    """See `metasched_workers.fleet_state`."""
    fleet = _join(spec)
    try:
        return fleet.state()
    finally:
        fleet.close()


def fleet_targets_of(spec: str) -> tuple[Target, ...]:
    """See `metasched_workers.fleet_targets`."""
    fleet = _join(spec)
    info = JobInfo(f"look-{uuid.uuid4().hex[:8]}", this_machine())
    try:
        if reason := fleet.join(info):
            raise MeasureError(reason)
        deadline = time.monotonic() + _LOOK_S
        state: dict[str, Any] = {}
        while time.monotonic() < deadline:
            fleet.beat(info.job_id, 0, 0.0)
            state = fleet.state()
            if state["hosts"] and not state["starting"]:
                break
            time.sleep(0.2)
        found = [Target.from_dict(t) for host in state["hosts"].values() for t in host["targets"]]
        return tuple({target.key(): target for target in found}.values())
    except HostLost as error:
        raise MeasureError(f"the fleet '{spec}' does not answer: {error}") from error
    finally:
        fleet.leave(info.job_id)
        fleet.close()


def _join(spec: str) -> JoinedFleet:
    address, _ = parse_spec(spec)
    if not address:
        raise UsageError(f"'{spec}' is this machine, where nothing runs between jobs; {_FORMS}")
    return JoinedFleet(address)
