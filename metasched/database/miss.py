"""Says why a lookup found nothing: the workload, the target or the outcome of the records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from metasched.database.records import Workload
from metasched.target import Target
from metasched.target.target import NOT_IN_KEY

if TYPE_CHECKING:
    from metasched.database.database import AbstractDatabase, ProgramOrHash

_COMPARED = 2000
"""Characters of a printed program that are compared: the search for a near one stays short."""


def explain_miss(database: AbstractDatabase, program: ProgramOrHash, target: Target) -> str:
    """Return one line that says which part of the key a lookup missed on.

    The parts are tried in the order a lookup uses them: no such workload, no record for this
    target, no record that may be served.
    """
    asked = Workload(program, "") if isinstance(program, str) else Workload.from_program(program)
    known = {workload.hash: workload for workload in database.workloads()}
    if asked.hash not in known:
        return _explain_workload(asked, tuple(known.values()))
    name = _describe(known[asked.hash])
    targets = {other.key(): other for other in database.targets(asked.hash)}
    if target.key() not in targets:
        return _explain_target(name, target, tuple(targets.values()))
    stats = database.stats(asked.hash, target)
    if stats.servable:
        return f"no miss: {name} has {stats.servable} servable records for target {target}"
    counts = ", ".join(f"{count} {status}" for status, count in stats.by_status.items())
    return (
        f"{name} has {stats.records} records for target {target} but none may be served: {counts};"
        " a served record is ok, timed and checked"
    )


def _describe(workload: Workload) -> str:
    return f"workload '{workload.name}' ({workload.hash[:12]})"


def _explain_workload(asked: Workload, known: tuple[Workload, ...]) -> str:
    name = _describe(asked) if asked.name else f"workload {asked.hash[:12]}"
    if not known:
        return f"no {name}: the database is empty; tune first"
    if not asked.name:
        return f"no {name}: the database holds {len(known)} workloads; tune it first"
    closest = closest_workload(asked, known)
    assert closest is not None
    return (
        f"no {name}; the closest is {_describe(closest)}{_first_difference(asked, closest)};"
        " tune it first"
    )


def closest_workload(asked: Workload, known: Sequence[Workload]) -> Workload | None:
    """Return the workload itself where it is known, else the one most like it."""
    same = next((other for other in known if other.hash == asked.hash), None)
    return same or max(known, key=lambda other: _likeness(asked, other), default=None)


def closest_target(asked: Target, known: Sequence[Target]) -> Target | None:
    """Return the target that differs in the fewest fields."""
    return min(known, key=lambda other: len(_differences(asked, other)), default=None)


def _likeness(asked: Workload, other: Workload) -> tuple[float, float]:
    """Order by name, then by text; an upper bound of the text's ratio is enough and fast."""
    return (
        SequenceMatcher(None, asked.name, other.name).ratio(),
        SequenceMatcher(None, asked.text[:_COMPARED], other.text[:_COMPARED]).quick_ratio(),
    )


def _first_difference(asked: Workload, other: Workload) -> str:
    pairs = zip(asked.text.splitlines(), other.text.splitlines(), strict=False)
    for mine, theirs in pairs:
        if mine != theirs:
            return f", which has `{theirs.strip()}` where yours has `{mine.strip()}`"
    return ""


def _explain_target(name: str, asked: Target, known: tuple[Target, ...]) -> str:
    if not known:
        return f"{name} is known but has no records; tune it first"
    closest = closest_target(asked, known)
    assert closest is not None
    parts = "; ".join(_differences(asked, closest))
    return (
        f"{name} has no records for target {asked}; the closest of {len(known)} with records is"
        f" {closest}, which differs in {parts}; tune for this target first"
    )


def target_fields(asked: Target, other: Target) -> Iterator[tuple[str, Any, Any, bool]]:
    """Yield each field of two targets: its name, both values, and whether it decides the key.

    The limits of a GPU are fields of their own; what only one of the two has is None in the other.
    """
    mine, theirs = _flat(asked), _flat(other)
    for name in {**mine, **theirs}:
        yield name, mine.get(name), theirs.get(name), name not in NOT_IN_KEY


def _flat(target: Target) -> dict[str, Any]:
    fields = target.to_dict()
    limits = fields.pop("gpu", {})
    return {**fields, **{f"gpu {name}": value for name, value in limits.items()}}


def _differences(asked: Target, other: Target) -> list[str]:
    """Name the fields that decide the key and differ, each with what it is and what was asked."""
    return [
        f"{name} {theirs!r} (asked {mine!r})"
        for name, mine, theirs, decides in target_fields(asked, other)
        if decides and mine != theirs
    ]
