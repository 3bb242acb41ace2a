"""Why a lookup hits or misses, part by part of the key; `miss` says the same in one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from metasched.database.miss import closest_target, closest_workload, explain_miss, target_fields
from metasched.database.records import TuningRecord, Workload, steady_winner
from metasched.database.spelling import parsed
from metasched.measure.statistics import relative_half_width
from metasched.target import Target

if TYPE_CHECKING:
    from metasched.database.database import AbstractDatabase
    from metasched.ir.stmt import Program

_SHOWN = 8
"""Fastest records that a hit is compared with."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field: what was asked, what is on record, and whether that is the same."""

    name: str
    asked: str
    found: str
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to a lookup and its reasons."""

    is_hit: bool
    summary: str
    parts: tuple[Part, ...]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON values."""
        return {
            "hit": self.is_hit,
            "summary": self.summary,
            "parts": [asdict(part) for part in self.parts],
        }


def explain(database: AbstractDatabase, program: Program, target: Target) -> Explanation:
    """Say why a lookup gives its record, or which parts of the key are of no record.

    A miss is compared with the closest workload and, of its targets, the closest one.
    """
    asked = Workload.from_program(program)
    fastest = database.top(asked.hash, target, _SHOWN)
    winner = steady_winner(fastest)
    if winner is not None:
        key = (*_workload(asked, winner.workload), *_target(target, winner.target))
        parts = (*key, *_standing(database, winner, fastest), *_evidence(winner))
        summary = f"hit: candidate {winner.program_hash[:12]} of '{winner.workload.name}'"
        return Explanation(True, summary, parts)
    summary = explain_miss(database, program, target)
    near = closest_workload(asked, database.workloads())
    if near is None:
        return Explanation(False, summary, ())
    other = closest_target(target, database.targets(near.hash))
    of_target = () if other is None else tuple(_target(target, other))
    return Explanation(False, summary, (*_workload(asked, near), *of_target))


def _workload(asked: Workload, found: Workload) -> Iterator[Part]:
    yield _part("workload", asked.hash[:12], found.hash[:12])
    yield _part("name", asked.name, found.name, matters=False)
    mine, theirs = _params(asked.text), _params(found.text)
    for place in range(max(len(mine), len(theirs))):
        pair = [params[place] if place < len(params) else "-" for params in (mine, theirs)]
        yield _part(f"parameter {place + 1}", *pair)
    if asked.hash != found.hash and mine == theirs:
        yield _part("text", *first_difference(asked.text, found.text))


def _params(text: str) -> list[str]:
    program = parsed(text)
    if program is None:
        return []
    outputs = program.outputs
    return [
        f"{'out' if p in outputs else 'in'} {p.dtype}({', '.join(map(str, p.shape))})"
        for p in program.params
    ]


def first_difference(asked: str, found: str) -> tuple[str, str]:
    """Return the first line that differs, of each text."""
    pairs = zip(asked.splitlines(), found.splitlines(), strict=False)
    return next(((a.strip(), b.strip()) for a, b in pairs if a != b), ("", ""))


def _target(asked: Target, found: Target) -> Iterator[Part]:
    for name, mine, theirs, decides in target_fields(asked, found):
        yield _part(f"target {name}", _text(mine), _text(theirs), matters=decides)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value)


def _part(name: str, asked: str, found: str, *, matters: bool = True) -> Part:
    verdict = "same" if asked == found else "differs" if matters else "differs, does not matter"
    return Part(name, asked, found, verdict)


def _standing(
    database: AbstractDatabase, winner: TuningRecord, fastest: tuple[TuningRecord, ...]
) -> Iterator[Part]:
    held = database.stats(winner.workload.hash, winner.target)
    place = fastest.index(winner) + 1
    verdict = "the fastest" if place == 1 else "earlier, and within the noise of the fastest"
    yield Part("place", "", f"{place} of {held.servable} servable, {held.records} in all", verdict)
    others = [record for record in fastest if record is not winner and record.time_s]
    if others and winner.time_s and others[0].time_s:
        share = others[0].time_s / winner.time_s - 1
        yield Part("next", "", f"candidate {others[0].program_hash[:12]}, {share:+.2%} of its time")


def _evidence(record: TuningRecord) -> Iterator[Part]:
    noise = relative_half_width(record.samples_s)
    time_us = (record.time_s or 0.0) * 1e6
    yield Part("time", "", f"{time_us:.3f} us, +-{noise:.2%}, {len(record.samples_s)} samples")
    for name, value in record.evidence.items():
        is_share = name in ("noise", "noise_floor") and isinstance(value, float)
        yield Part(name, "", f"{value:.2%}" if is_share else str(value))
    checked = "" if record.verified_at is None else f" ({record.verified_at:%Y-%m-%d %H:%M})"
    note = f": {record.trust_note}" if record.trust_note else ""
    yield Part("trust", "", f"{record.trust}{checked}{note}")
    yield Part(
        "measured", "", f"{record.created_at:%Y-%m-%d %H:%M} UTC, job {record.job_id or '-'}"
    )
    for name, samples in record.sources.items():
        yield Part("merged from", "", f"{name}, {len(samples)} samples")
