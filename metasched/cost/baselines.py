"""Cost models that learn nothing: the analytic prior, and random scores.

They are what a learned model has to beat, and the smallest examples of `AbstractCostModel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from metasched.cost.accuracy import Accuracy
from metasched.cost.model import (
    COST_MODELS,
    AbstractCostModel,
    FeatureLayout,
    Features,
    Floats,
    Sample,
    read_model,
    write_model,
)


@final
class AnalyticModel(AbstractCostModel):
    """The analytic prior alone: the log of the summed seconds of all stores."""

    def __init__(self, layout: FeatureLayout, seed: int = 0) -> None:
        del seed  # it has no randomness; every member is made from the same arguments
        self._layout = layout

    def predict(self, features: Features, prior_s: Floats) -> Floats:
        """Log of the summed prior."""
        del features
        return np.log(prior_s.sum(axis=1))

    def update(self, results: Sequence[Sample]) -> Accuracy | None:
        """Learn nothing."""
        del results
        return None

    def save(self, stored: str | None = None) -> str:
        """Kind and layout; there is nothing else."""
        return write_model("analytic", self._layout)

    def load(self, text: str) -> None:
        """Check kind and layout."""
        read_model(text, "analytic", self._layout)


@final
class RandomModel(AbstractCostModel):
    """Scores without meaning, for judging how much a search owes to its model."""

    def __init__(self, layout: FeatureLayout, seed: int) -> None:
        self._layout = layout
        self._seed = seed

    def predict(self, features: Features, prior_s: Floats) -> Floats:
        """Uniform in [0, 1), and always the same for the same features."""
        bits = np.ascontiguousarray(features, dtype=np.float32).reshape(len(prior_s), -1)
        mixers = np.random.default_rng(self._seed).integers(2**62, size=bits.shape[1] + 1)
        codes = bits.view(np.uint32).astype(np.uint64) @ mixers[1:].astype(np.uint64)
        codes = (codes ^ (codes >> np.uint64(29))) * np.uint64(2 * int(mixers[0]) + 1)
        return (codes >> np.uint64(11)).astype(np.float64) / 2**53

    def update(self, results: Sequence[Sample]) -> Accuracy | None:
        """Learn nothing."""
        del results
        return None

    def save(self, stored: str | None = None) -> str:
        """Kind and layout; there is nothing else."""
        return write_model("random", self._layout)

    def load(self, text: str) -> None:
        """Check kind and layout."""
        read_model(text, "random", self._layout)


COST_MODELS.register("analytic", AnalyticModel)
COST_MODELS.register("random", RandomModel)
