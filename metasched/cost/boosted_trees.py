"""Gradient-boosted trees that correct the analytic prior, store by store.

What other tasks taught is one forest, what this job adds to a share of it another one. With no data
the model is the prior. Read `residual` for the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from math import ceil
from typing import Any, final

import numpy as np

from metasched.cost.accuracy import Accuracy, judge
from metasched.cost.model import (
    COST_MODELS,
    AbstractCostModel,
    FeatureLayout,
    Features,
    Floats,
    Learning,
    Sample,
    predict_samples,
    read_model,
    write_model,
)
from metasched.cost.pool import decode, encode, merge
from metasched.cost.residual import Batch, TreeOptions, fit, make_batch, seconds_of

_TRAINER = ThreadPoolExecutor(1, thread_name_prefix="cost-model")
"""The one thread that trains; trees are grown outside the interpreter's lock."""
_MEMBER_SHARE = 0.6
"""Share of the stores that each tree of a member sees, and of the trees that a member has."""


@final
class BoostedTrees(AbstractCostModel):
    """The default model: xgboost on the residual of the analytic prior, one thread.

    What other tasks taught (see `metasched.cost.pool`) is trained once; trees for the results of
    this job start from a share of that, which falls as results come in.

    Args:
        layout: What the feature columns mean.
        seed: Of the column sampling.
        options: Settings of the trees.
    """

    def __init__(self, layout: FeatureLayout, seed: int = 0, options: TreeOptions | None = None):
        self._layout = layout
        self._seed = seed
        self._options = options or TreeOptions()
        self._samples: list[Sample] = []
        self._pool: list[Sample] = []
        self._base: Any = None
        self._own = _Own()
        self._accuracy: Accuracy | None = None

    def prepare(self) -> None:
        """Import xgboost and train on the pool."""
        import_module("xgboost")
        self._train_base()

    def predict(self, features: Features, prior_s: Floats) -> Floats:
        """Log of the corrected seconds, summed over stores."""
        start = self._start(features, prior_s)
        return _log_sum(prior_s, start + _margin(self._own.forest, features, prior_s))

    def uncertainty(self, features: Features, prior_s: Floats) -> Floats:
        """Standard deviation of the log-seconds that differently trained forests predict."""
        if not self._own.members or not len(features):
            return np.zeros(len(features))
        start = self._start(features, prior_s)
        found = [
            _log_sum(prior_s, start + _margin(one, features, prior_s)) for one in self._own.members
        ]
        return np.std(found, axis=0, ddof=1)

    def update(self, results: Sequence[Sample]) -> Accuracy | None:
        """Judge the model on the new results, then train it on all that are kept."""
        return self.begin(results)()

    def begin(self, results: Sequence[Sample]) -> Learning:
        """Judge the model on the new results, and train one beside it on all that are kept."""
        if not results:
            return lambda: None
        timed = [sample for sample in results if sample.time_s is not None]
        self._accuracy = judge(
            [sample.task for sample in timed],
            predict_samples(self, timed),
            np.array([sample.time_s for sample in timed], dtype=np.float64),
        )
        self._samples = _kept([*self._samples, *results], self._options.samples)
        batch = make_batch(self._samples, self._options.fast_weight)
        if batch is None:
            return lambda: self._accuracy
        self._train_base()
        weight = self._options.pool_weight / (self._options.pool_weight + len(self._samples))
        start = None
        if self._base is not None:
            start = weight * self._base.inplace_predict(batch.features, predict_type="margin")
        fitted = _TRAINER.submit(_fit_own, batch, self._options, self._seed, start, weight)

        def take_over() -> Accuracy | None:
            self._own = fitted.result()
            return self._accuracy

        return take_over

    def save(self, stored: str | None = None) -> str:
        """The samples of this job and of the pool, versions, and the last accuracy."""
        pool = self._pool if stored is None else self._read(stored)
        card = None if self._accuracy is None else asdict(self._accuracy)
        samples = encode(merge(pool, self._samples))
        return write_model("boosted_trees", self._layout, samples=samples, accuracy=card)

    def load(self, text: str) -> None:
        """Take over a saved pool; the trees are trained when they are first needed."""
        self._pool = self._read(text)
        self._samples = []
        self._base, self._own = None, _Own()

    def _read(self, text: str) -> list[Sample]:
        data = read_model(text, "boosted_trees", self._layout)
        return decode(data.get("samples", {}), len(self._layout.names))

    def _train_base(self) -> None:
        if self._base is not None or not self._pool:
            return
        batch = make_batch(self._pool, self._options.fast_weight)
        if batch is not None:
            self._base = fit(batch, self._options, self._seed)

    def _start(self, features: Features, prior_s: Floats) -> Floats:
        """The residual of each store that the pool taught, ``(n, stores)``."""
        self._train_base()
        return self._own.weight * _margin(self._base, features, prior_s)


COST_MODELS.register("boosted_trees", BoostedTrees)


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """What a job's own results taught: a forest, its members, and the weight left to the pool."""

    forest: Any = None
    members: tuple[Any, ...] = ()
    weight: float = 1.0


def _fit_own(
    batch: Batch, options: TreeOptions, seed: int, start: Floats | None, weight: float
) -> _Own:
    small = replace(options, rounds=ceil(_MEMBER_SHARE * options.rounds))
    members = tuple(
        fit(batch, small, seed + k, start=start, share=_MEMBER_SHARE)
        for k in range(1, options.members + 1)
    )
    return _Own(fit(batch, options, seed, start=start), members, weight)


def _margin(forest: Any, features: Features, prior_s: Floats) -> Floats:
    """The residual of each store, ``(n, stores)``; zeros without a forest."""
    if forest is None or not len(features):
        return np.zeros_like(prior_s)
    rows = features.reshape(-1, features.shape[2])
    return forest.inplace_predict(rows, predict_type="margin").reshape(prior_s.shape)


def _log_sum(prior_s: Floats, margin: Floats) -> Floats:
    return np.log(seconds_of(prior_s, margin).sum(axis=1))


def _kept(samples: list[Sample], limit: int) -> list[Sample]:
    """At most ``limit`` samples: the newer half, and of the rest the fastest in their task."""
    if len(samples) <= limit:
        return samples
    best: dict[str, float] = {}
    for sample in samples:
        time_s = math.inf if sample.time_s is None else sample.time_s
        best[sample.task] = min(time_s, best.get(sample.task, math.inf))
    old, new = samples[: -(limit // 2)], samples[-(limit // 2) :]
    old.sort(key=lambda s: math.inf if s.time_s is None else s.time_s / best[s.task])
    return [*old[: limit - len(new)], *new]
