"""Whether two series of samples of one kernel agree: two stores, or then and now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from metasched.database.records import Trust, TuningRecord, now
from metasched.measure.records import Status
from metasched.measure.statistics import median_interval

SAME: Final = 0.05
"""Medians within this share are taken for equal: machines of one key differ by as much."""


def time_ratio(
    old: Sequence[float], new: Sequence[float], noise_floor: float = 0.0
) -> float | None:
    """Return the ratio of the medians where the samples disagree, ``None`` where they do not.

    They disagree when the 95 % intervals of the medians do not meet and the medians differ by more
    than `SAME` and than the noise floor, that of the noisier of the two workers.

    >>> time_ratio([1.0, 1.1, 1.05], [1.08, 1.02])
    >>> time_ratio([1.0, 1.1, 1.0], [2.0, 2.1, 2.0])
    2.0
    """
    if not old or not new or median(old) <= 0:
        return None
    (low, high), (low_new, high_new) = median_interval(old), median_interval(new)
    ratio = median(new) / median(old)
    apart = low_new > high or high_new < low
    most = 1 + max(SAME, noise_floor)
    return ratio if apart and not 1 / most <= ratio <= most else None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A candidate whose times in two stores are not of one kernel on one kind of machine."""

    workload: str
    program_hash: str
    here_s: float
    there_s: float
    ratio: float


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What merging another store came to.

    Attributes:
        source: what the other store is called in the provenance of records.
        records: how many it held.
        shared: candidates that both had timed.
        disagreements: those of them whose times do not agree; their records are suspect now.
    """

    source: str
    records: int
    shared: int
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record of another store as it is put here."""

    record: TuningRecord
    is_shared: bool = False
    disagreement: Disagreement | None = None


def from_source(record: TuningRecord, known: TuningRecord | None, source: str) -> Incoming:
    """Return a record of another store with its provenance, and suspect where the times disagree.

    Args:
        record: the record there.
        known: the one of the same candidate here.
        source: what the other store is called.
    """
    is_timed = record.status is Status.OK and bool(record.samples_s)
    own = own_samples(record)
    if is_timed and own:
        record = replace(record, sources={**record.sources, source: own})
    here = () if known is None or known.status is not Status.OK else own_samples(known)
    if not is_timed or not here or not own or here == own:
        return Incoming(record, bool(here) and is_timed)
    floors = [one.noise_floor for one in (record, known) if one is not None]
    ratio = time_ratio(here, own, max(floors))
    if ratio is None:
        return Incoming(record, True)
    found = Disagreement(
        record.workload.name, record.program_hash, median(here), median(own), ratio
    )
    note = f"{source} timed it {ratio:.2f} times of what it is here"
    if known is not None and known.trust is Trust.SUSPECT and known.trust_note == note:
        return Incoming(record, True, found)
    marked = replace(record, trust=Trust.SUSPECT, trust_note=note, verified_at=now())
    return Incoming(marked, True, found)


def own_samples(record: TuningRecord) -> tuple[float, ...]:
    """Return the samples that were measured here, not merged from another store."""
    left = list(record.samples_s)
    for samples in record.sources.values():
        for sample in samples:
            if sample in left:
                left.remove(sample)
    return tuple(left)
