"""Training samples that outlive a job: merged over tasks, bounded, and kept as JSON values.

A model is kept as what it learned from, not as its trees: samples of several jobs can be joined,
and the trees that come of them are the same wherever they are trained.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from metasched.cost.model import Sample
from metasched.errors import UsageError

PER_TASK = 96
"""Samples that a pool keeps of one task: the faster half of them the fastest, the rest spread."""
MOST = 3072
"""Samples that a pool keeps in all; tasks that were added first go first."""
_WIDEST = 64
"""Stores of one candidate that a text may claim."""


def merge(old: Iterable[Sample], new: Sequence[Sample]) -> list[Sample]:
    """One pool of two; of a task that is in both the samples are joined.

    Tasks keep their order, those of ``new`` last.
    """
    tasks: dict[str, list[Sample]] = {}
    for sample in old:
        tasks.setdefault(sample.task, []).append(sample)
    for name in dict.fromkeys(sample.task for sample in new):
        tasks[name] = tasks.pop(name, [])
    for sample in new:
        tasks[sample.task].append(sample)
    kept = [_spread(_distinct(samples)) for samples in tasks.values()]
    while len(kept) > 1 and sum(map(len, kept)) > MOST:
        kept.pop(0)
    return [sample for samples in kept for sample in samples]


def _distinct(samples: list[Sample]) -> list[Sample]:
    """The last sample of each candidate."""
    found = {(s.features.tobytes(), s.prior_s.tobytes()): s for s in samples}
    return list(found.values())


def _spread(samples: list[Sample]) -> list[Sample]:
    if len(samples) <= PER_TASK:
        return samples
    ranked = sorted(samples, key=lambda s: np.inf if s.time_s is None else s.time_s)
    fast, rest = ranked[: PER_TASK // 2], ranked[PER_TASK // 2 :]
    steps = np.linspace(0, len(rest) - 1, PER_TASK - len(fast)).round().astype(int)
    return [*fast, *(rest[i] for i in steps)]


def encode(samples: Sequence[Sample]) -> dict[str, Any]:
    """Samples as JSON values; arrays are compressed and in base64."""
    names = list(dict.fromkeys(sample.task for sample in samples))
    return {
        "tasks": names,
        "task": [names.index(sample.task) for sample in samples],
        "stores": [len(sample.prior_s) for sample in samples],
        "time_s": [sample.time_s for sample in samples],
        "features": _pack([s.features.astype("<f4") for s in samples]),
        "prior_s": _pack([s.prior_s.astype("<f8") for s in samples]),
    }


def decode(data: Mapping[str, Any], width: int) -> list[Sample]:
    """Samples of `encode`, checked; ``width`` is the number of features.

    Raises:
        UsageError: the values are not those of `encode`.
    """
    try:
        tasks, stores = list(data["tasks"]), [int(n) for n in data["stores"]]
        task, time_s = [int(k) for k in data["task"]], list(data["time_s"])
        count = len(task)
        if not count == len(stores) == len(time_s) or count > MOST:
            raise ValueError(f"{count} samples in {len(stores)} and {len(time_s)} rows")
        if any(not 0 <= k < len(tasks) for k in task) or any(not 0 < n <= _WIDEST for n in stores):
            raise ValueError("a task or a count of stores is out of range")
        if any(t is not None and not 0.0 < t < np.inf for t in time_s):
            raise ValueError("a time is not above zero")
        features = _unpack(data["features"], "<f4", sum(stores) * width).reshape(-1, width)
        prior = _unpack(data["prior_s"], "<f8", sum(stores))
        if not (np.isfinite(features).all() and (prior > 0).all() and np.isfinite(prior).all()):
            raise ValueError("a feature or prior is not finite")
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error) as error:
        raise UsageError(f"not a saved cost model: its samples are malformed ({error})") from error
    ends = np.cumsum(stores)
    return [
        Sample(str(tasks[k]), features[end - n : end], prior[end - n : end], seconds)
        for k, n, end, seconds in zip(task, stores, ends, time_s, strict=True)
    ]


def _pack(arrays: Sequence[np.ndarray]) -> str:
    raw = b"".join(array.tobytes() for array in arrays)
    return base64.b64encode(zlib.compress(raw, 6)).decode()


def _unpack(text: str, dtype: str, count: int) -> np.ndarray:
    wanted = count * np.dtype(dtype).itemsize
    # Never more than what the other fields account for, whatever a text claims.
    raw = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), wanted + 1)
    if len(raw) != wanted:
        raise ValueError(f"{len(raw)} bytes where {wanted} are expected")
    return np.frombuffer(raw, dtype=dtype).astype(dtype[1:])
