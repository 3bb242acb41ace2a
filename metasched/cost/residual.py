"""The loss that cost models train on, and trees fitted to it.

The predicted time of a candidate is ``T = sum over stores of prior_s * exp(r(features))``; trees
learn ``r``. Only the order and the ratios of times within a task matter. Read `gradients` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metasched.cost.model import Features, Floats, Sample

_MAX_RESIDUAL = 6.0
"""Bound of ``|r|``: the prior is never corrected by more than a factor of 400."""
_FAILED_FACTOR = 4.0
"""A failed candidate counts as at least this much slower than the slowest of its task."""


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """Settings of the trees.

    Attributes:
        rounds: Trees of a training.
        depth: Levels of a tree.
        eta: Learning rate.
        l2: Ridge on leaf values, in samples.
        least: Least weight of a leaf, in samples.
        columns: Share of the features each tree sees.
        fast_weight: Exponent of ``fastest / time`` in the weight of a sample; 0 weighs all alike.
        members: Smaller forests, each trained on another draw of the samples, whose disagreement
            tells how sure a prediction is.
        pool_weight: So many samples of a task count as much as what other tasks taught.
        samples: How many samples are kept; beyond it the slowest of the older
            half go first, relative to the best of their task.
    """

    rounds: int = 80
    depth: int = 3
    eta: float = 0.2
    l2: float = 2.0
    least: float = 0.5
    columns: float = 0.5
    fast_weight: float = 0.5
    members: int = 3
    pool_weight: float = 32.0
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
    seconds = seconds_of(batch.prior_s, margin)
    total = np.bincount(batch.owner, seconds)
    error = np.log(total) - batch.log_s
    sure = np.where(batch.failed, 0.0, batch.weight)
    offset = np.bincount(batch.task, sure * error) / np.bincount(batch.task, sure)
    error = error - offset[batch.task]
    error = np.where(batch.failed, np.minimum(error, 0.0), error)
    share = 2.0 * batch.weight[batch.owner] * seconds / total[batch.owner]
    return error[batch.owner] * share, share


def fit(
    batch: Batch,
    options: TreeOptions,
    seed: int,
    *,
    start: Floats | None = None,
    share: float = 1.0,
) -> Any:
    """Train a booster on one thread; it costs about ``rounds`` times the stores.

    Args:
        batch: what it learns.
        options: settings of the trees.
        seed: of the drawing of columns and samples.
        start: residuals ``(S,)`` to start from; the booster learns what is missing to them.
        share: share of the stores that each tree sees.
    """
    import xgboost as xgb

    data = xgb.QuantileDMatrix(batch.features, max_bin=64, nthread=1, base_margin=start)

    def objective(margin: NDArray[Any], _: Any) -> tuple[Floats, Floats]:
        return gradients(batch, margin.astype(np.float64))

    params: dict[str, Any] = {
        "nthread": 1,
        "tree_method": "hist",
        "max_bin": 64,
        "max_depth": options.depth,
        "eta": options.eta,
        "reg_lambda": options.l2,
        "min_child_weight": options.least,
        "colsample_bytree": options.columns,
        "subsample": share,
        "base_score": 0.0,
        "seed": seed,
    }
    return xgb.train(params, data, options.rounds, obj=objective)


def seconds_of(prior_s: Floats, margin: Floats) -> Floats:
    """What stores take: the prior corrected by the bounded residual, both of one shape."""
    return prior_s * np.exp(np.clip(margin, -_MAX_RESIDUAL, _MAX_RESIDUAL))
