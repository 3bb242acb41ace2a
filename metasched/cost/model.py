"""What a cost model is: it predicts log-seconds of candidates and learns from measured ones.

A candidate is a matrix of features, one row per store, and an analytic guess of the seconds each
store takes. Read `boosted_trees` for the default member, `accuracy` for how models are judged.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from metasched.cost.accuracy import Accuracy
from metasched.errors import UsageError
from metasched.registry import Registry

Features: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]

FORMAT = "metasched-cost-model"
FORMAT_VERSION = 1
"""Version of the text that `AbstractCostModel.save` writes."""


@dataclass(frozen=True, slots=True)
class FeatureLayout:
    """What the feature columns mean; a model serves only the layout it was trained on.

    Attributes:
        names: One name per column.
        version: Raised whenever the meaning of a column changes under the same name.
    """

    names: tuple[str, ...]
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One measured candidate, as a model sees it.

    Attributes:
        task: The program and target it belongs to; times are compared within one task only.
        features: ``(stores, F)`` float32.
        prior_s: ``(stores,)`` float64, the analytic seconds of each store, all above zero.
        time_s: Measured seconds, None when it failed.
    """

    task: str
    features: Features
    prior_s: Floats
    time_s: float | None


Learning: TypeAlias = Callable[[], Accuracy | None]
"""Ends a training: waits for it and takes it over."""


class AbstractCostModel(ABC):
    """Predicts how long candidates take, without running them.

    Lifecycle: a tuner owns one model and calls it from one thread. ``predict`` is called several
    times per batch of proposals with thousands of candidates of one structure at a time; it must
    be vectorised and must not change the model. ``update`` is called every few results with the
    new results only; the model keeps what it wants of them. ``save`` and ``load`` carry a model
    from one job to the next; a database holds one model of a kind for a target. A fresh model must
    already give a usable order.
    """

    def prepare(self) -> None:  # noqa: B027  (most models need nothing)
        """Load what the first ``update`` needs; called once, while a tuner waits for builds."""

    @abstractmethod
    def predict(self, features: Features, prior_s: Floats) -> Floats:
        """Predicted log-seconds, lower is better; comparable within one task only.

        Args:
            features: ``(n, stores, F)`` float32.
            prior_s: ``(n, stores)`` float64 seconds.

        Returns:
            ``(n,)`` float64.
        """

    def uncertainty(self, features: Features, prior_s: Floats) -> Floats:
        """How far off predictions may be: a standard deviation in log-seconds, ``(n,)``.

        Zeros where a model does not know. The arguments are those of ``predict``.
        """
        del prior_s
        return np.zeros(len(features))

    @abstractmethod
    def update(self, results: Sequence[Sample]) -> Accuracy | None:
        """Learn from new results; return how well they were predicted before, if that is known."""

    def begin(self, results: Sequence[Sample]) -> Learning:
        """Begin to learn, on a thread of one's own where that pays.

        Until the returned function is called ``predict`` answers as before; nothing else may be
        called meanwhile. Calling it does what ``update`` would have done.
        """
        return lambda: self.update(results)

    @abstractmethod
    def save(self, stored: str | None = None) -> str:
        """The model as JSON text.

        Args:
            stored: the text that is to be replaced, which another job may have written meanwhile;
                a model that learns from several tasks takes over what it knows.

        Raises:
            UsageError: ``stored`` is no saved model of this kind and feature layout.
        """

    @abstractmethod
    def load(self, text: str) -> None:
        """Replace the model by a saved one.

        Raises:
            UsageError: The text is not a saved model of this kind and feature layout.
        """


ModelFactory: TypeAlias = Callable[[FeatureLayout, int], AbstractCostModel]
COST_MODELS = Registry[ModelFactory]("cost model")
"""Members by name; each is called with the feature layout and a seed."""


def predict_samples(model: AbstractCostModel, samples: Sequence[Sample]) -> Floats:
    """Predicted log-seconds of single samples, ``(len(samples),)``; stores may differ in number."""
    scores = np.empty(len(samples))
    by_stores: dict[int, list[int]] = {}
    for i, sample in enumerate(samples):
        by_stores.setdefault(len(sample.prior_s), []).append(i)
    for index in by_stores.values():
        features = np.stack([samples[i].features for i in index])
        scores[index] = model.predict(features, np.stack([samples[i].prior_s for i in index]))
    return scores


def write_model(kind: str, layout: FeatureLayout, **content: object) -> str:
    """The text form shared by all members: kind, versions and feature names beside the content."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind}
    names = {"feature_names": layout.names, "feature_version": layout.version}
    return json.dumps({**head, **names, **content})


def read_model(text: str, kind: str, layout: FeatureLayout) -> Mapping[str, Any]:
    """Read what `write_model` wrote.

    Raises:
        UsageError: It is no model, or one of another kind, format or feature layout.
    """
    data = _as_object(text)
    _expect("kind", data.get("kind"), kind)
    _expect("format version", data.get("format_version"), FORMAT_VERSION)
    _expect("feature version", data.get("feature_version"), layout.version)
    names = tuple(cast("list[str]", data.get("feature_names")))
    if names != layout.names:
        odd = sorted(set(names) ^ set(layout.names)) or ["another order"]
        raise UsageError(
            f"cost model was saved with {len(names)} features and {len(layout.names)} are in use "
            f"(they differ in {', '.join(odd[:4])}); train a new model"
        )
    return data


def _as_object(text: str) -> dict[str, Any]:
    try:
        data: object = json.loads(text)
    except json.JSONDecodeError as e:
        raise UsageError(f"not a saved cost model: {e}; expected the text of save()") from e
    if isinstance(data, dict):
        fields = cast("dict[str, Any]", data)
        if fields.get("format") == FORMAT:
            return fields
    raise UsageError("not a saved cost model: its format is missing; expected the text of save()")


def _expect(what: str, given: object, expected: object) -> None:
    if given != expected:
        raise UsageError(
            f"cost model was saved with {what} {given!r} and this one has {expected!r}; "
            "train a new model"
        )
