"""Gradient-boosted trees that correct the analytic prior, store by store.

The predicted time of a candidate is ``T = sum over stores of prior_s * exp(r(features))`` and the
trees learn ``r``. With no data ``r`` is 0 and the model is the prior. Read `fit` for the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

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

_TRAINER = ThreadPoolExecutor(1, thread_name_prefix="cost-model")
"""The one thread that trains; trees are grown outside the interpreter's lock."""
_MAX_RESIDUAL = 6.0
"""Bound of ``|r|``: the prior is never corrected by more than a factor of 400."""
_FAILED_FACTOR = 4.0
"""A failed candidate counts as at least this much slower than the slowest of its task."""

_MANY = 96
"""With fewer samples than this the trees are fewer and flatter."""


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """Settings of the trees.

    Attributes:
        rounds: Trees of a training, with enough samples.
        depth: Levels of a tree.
        eta: Learning rate.
        l2: Ridge on leaf values, in samples.
        columns: Share of the features each tree sees.
        fast_weight: Exponent of ``fastest / time`` in the weight of a sample; 0 weighs all alike.
        samples: How many samples are kept; beyond it the slowest of the older
            half go first, relative to the best of their task.
    """

    rounds: int = 80
    depth: int = 4
    eta: float = 0.2
    l2: float = 2.0
    columns: float = 0.5
    fast_weight: float = 0.5
    samples: int = 768


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples laid out as arrays: ``S`` stores of ``N`` samples of ``K`` tasks.

    Attributes:
        features: ``(S, F)`` float32.
        prior_s: ``(S,)`` seconds.
        owner: ``(S,)`` sample of each store, ascending.
        task: ``(N,)`` task of each sample.
        log_s: ``(N,)`` measured log-seconds; for a failed sample a lower bound.
        failed: ``(N,)`` whether it failed.
        weight: ``(N,)`` importance, at most 1.
    """

    features: Features
    prior_s: Floats
    owner: NDArray[np.int64]
    task: NDArray[np.int64]
    log_s: Floats
    failed: NDArray[np.bool_]
    weight: Floats


@final
class BoostedTrees(AbstractCostModel):
    """The default model: xgboost on the residual of the analytic prior, one thread.

    What other tasks taught (see `metasched.cost.pool`) is trained first; trees for the results of
    this job are added to that.

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
        self._base: Any = None  # trained on the pool; training continues from it
        self._booster: Any = None
        self._accuracy: Accuracy | None = None

    def prepare(self) -> None:
        """Import xgboost and train on the pool."""
        import_module("xgboost")
        self._train_base()

    def predict(self, features: Features, prior_s: Floats) -> Floats:
        """Log of the corrected seconds, summed over stores."""
        n, stores, width = features.shape
        self._train_base()
        if self._booster is None or not n:
            return np.log(prior_s.sum(axis=1))
        margin = self._booster.inplace_predict(
            features.reshape(n * stores, width), predict_type="margin"
        )
        return np.log((prior_s * np.exp(_residual(margin)).reshape(n, stores)).sum(axis=1))

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
        fitted = _TRAINER.submit(fit, batch, self._options, self._seed, self._base)

        def take_over() -> Accuracy | None:
            self._booster = fitted.result()
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
        self._base = self._booster = None

    def _read(self, text: str) -> list[Sample]:
        data = read_model(text, "boosted_trees", self._layout)
        return decode(data.get("samples", {}), len(self._layout.names))

    def _train_base(self) -> None:
        if self._base is not None or not self._pool:
            return
        batch = make_batch(self._pool, self._options.fast_weight)
        if batch is not None:
            self._base = self._booster = fit(batch, self._options, self._seed)


COST_MODELS.register("boosted_trees", BoostedTrees)


def make_batch(samples: Sequence[Sample], fast_weight: float) -> Batch | None:
    """Arrays for training; samples of tasks without a single success are left out."""
    names = list(dict.fromkeys(s.task for s in samples if s.time_s is not None))
    used = [s for s in samples if s.task in names]
    if not used:
        return None
    task = np.array([names.index(s.task) for s in used])
    time_s = np.array([np.nan if s.time_s is None else s.time_s for s in used], dtype=np.float64)
    best, worst = (np.empty(len(names)) for _ in range(2))
    for k in range(len(names)):
        best[k], worst[k] = np.nanmin(time_s[task == k]), np.nanmax(time_s[task == k])
    failed = np.isnan(time_s)
    time_s = np.where(failed, _FAILED_FACTOR * worst[task], time_s)
    return Batch(
        features=np.concatenate([s.features for s in used]).astype(np.float32),
        prior_s=np.concatenate([s.prior_s for s in used]),
        owner=np.repeat(np.arange(len(used)), [len(s.prior_s) for s in used]),
        task=task,
        log_s=np.log(time_s),
        failed=failed,
        weight=(best[task] / time_s) ** fast_weight,
    )


def gradients(batch: Batch, margin: Floats) -> tuple[Floats, Floats]:
    """Gradient and curvature of the loss at the residuals ``margin``, ``(S,)`` each.

    The loss is the weighted square of ``e = log T - log y - offset`` with the offset fitted per
    task, so that only the order and the ratios within a task matter. A failed candidate pulls only
    while it is predicted faster than its bound. With ``w = prior_s exp(r) / T`` the gradient of a
    store is ``2 e w``. Its curvature is taken as ``2 w``: since the ``w`` of a sample sum to 1, the
    quadratic form they span bounds the true one from above (Jensen), so that several stores of
    one candidate in one leaf never overshoot together.
    """
    seconds = batch.prior_s * np.exp(_residual(margin))
    total = np.bincount(batch.owner, seconds)
    error = np.log(total) - batch.log_s
    sure = np.where(batch.failed, 0.0, batch.weight)
    offset = np.bincount(batch.task, sure * error) / np.bincount(batch.task, sure)
    error = error - offset[batch.task]
    error = np.where(batch.failed, np.minimum(error, 0.0), error)
    share = 2.0 * batch.weight[batch.owner] * seconds / total[batch.owner]
    return error[batch.owner] * share, share


def fit(batch: Batch, options: TreeOptions, seed: int, base: Any = None) -> Any:
    """Train a booster, from scratch or on top of ``base``; fewer and flatter trees on few samples.

    Costs about ``rounds`` times the stores; the trees see every store as one row.
    """
    import xgboost as xgb

    options = _for_count(options, len(batch.log_s))
    data = xgb.QuantileDMatrix(batch.features, max_bin=64, nthread=1)

    def objective(margin: NDArray[Any], _: Any) -> tuple[Floats, Floats]:
        return gradients(batch, margin.astype(np.float64))

    return xgb.train(_params(options, seed), data, options.rounds, obj=objective, xgb_model=base)


def _params(options: TreeOptions, seed: int) -> dict[str, Any]:
    return {
        "nthread": 1,
        "tree_method": "hist",
        "max_bin": 64,
        "max_depth": options.depth,
        "eta": options.eta,
        "reg_lambda": options.l2,
        "min_child_weight": 2.0,
        "colsample_bytree": options.columns,
        "base_score": 0.0,
        "seed": seed,
    }


def _for_count(options: TreeOptions, samples: int) -> TreeOptions:
    if samples >= _MANY:
        return options
    rounds = max(4, options.rounds * samples // _MANY)
    return replace(options, rounds=rounds, depth=min(options.depth, 3))


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


def _residual(margin: NDArray[Any]) -> NDArray[Any]:
    return np.clip(margin, -_MAX_RESIDUAL, _MAX_RESIDUAL)
