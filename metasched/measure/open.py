"""Opens workers by name: the local ones, or those of an installed package, by entry point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Final, TypeAlias, cast

from metasched.errors import UsageError, suggest
from metasched.measure.local import LocalWorkers
from metasched.measure.workers import AbstractWorkers
from metasched.target import Target

ENTRY_POINTS: Final = "metasched.workers"
"""Entry point group: a scheme to a function from the whole text and the targets to workers."""

LOCAL: Final = "local"

Opener: TypeAlias = Callable[[str, Sequence[Target]], AbstractWorkers]


def open_workers(spec: str, targets: Sequence[Target]) -> AbstractWorkers:
    """Start or join builders and runners; the caller closes them.

    Args:
        spec: ``"local"``, ``"ray"``, ``"ray://head:10001"``, or the scheme of an installed plug-in.
        targets: What will be built for and measured on.

    Raises:
        UsageError: Nothing implements the scheme, or it does not serve the targets.
        MeasureError: The workers cannot be started or joined.
    """
    opener = find_workers(spec)
    return opener(spec, targets)


def find_workers(spec: str) -> Opener:
    """Return what opens such workers; nothing is started.

    Raises:
        UsageError: Nothing implements the scheme.
    """
    scheme = spec.partition(":")[0]
    if spec == LOCAL:
        return _open_local
    points = entry_points(group=ENTRY_POINTS)
    if scheme not in points.names:
        raise UsageError(f"unknown workers '{spec}'{suggest(scheme, {LOCAL, *points.names})}")
    return cast(Opener, points[scheme].load())


def _open_local(spec: str, targets: Sequence[Target]) -> AbstractWorkers:
    if len(targets) != 1:
        raise UsageError(f"workers '{spec}' serve one target, got {len(targets)}; tune in turns")
    return LocalWorkers(targets[0])
