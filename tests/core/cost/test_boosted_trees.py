"""The learned model: it starts as the prior, learns a residual, and refuses foreign texts."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from metasched.cost.accuracy import spearman
from metasched.cost.boosted_trees import BoostedTrees
from metasched.cost.model import FeatureLayout, Sample, predict_samples
from metasched.cost.pool import MOST, PER_TASK, decode, encode, merge
from metasched.cost.residual import TreeOptions, gradients, make_batch
from metasched.errors import UsageError

WIDTH = 24
LAYOUT = FeatureLayout(tuple(f"f{i}" for i in range(WIDTH)), version=3)


def synthetic(
    count: int, seed: int, task: str = "a", scale: float = 1.0, stores: int = 3
) -> list[Sample]:
    """Samples whose time is the prior times a residual of the first three features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, stores, WIDTH)).astype(np.float32)
    prior = np.exp(rng.normal(size=(count, stores)) * 0.3 - 9.0)
    residual = np.sin(1.5 * x[..., 0]) + 0.8 * (x[..., 1] > 0) * x[..., 2]
    time_s = scale * (prior * np.exp(residual)).sum(axis=1)
    return [Sample(task, x[i], prior[i], float(time_s[i])) for i in range(count)]


def rank(model: BoostedTrees, held_out: Sequence[Sample]) -> float:
    times = np.array([sample.time_s for sample in held_out], dtype=np.float64)
    return spearman(predict_samples(model, held_out), times)


def test_without_data_it_is_the_prior() -> None:
    samples = synthetic(10, seed=0)
    expected = [np.log(sample.prior_s.sum()) for sample in samples]
    np.testing.assert_allclose(predict_samples(BoostedTrees(LAYOUT), samples), expected)


def test_learns_a_residual_and_reports_accuracy_before_training() -> None:
    held_out = synthetic(200, seed=1)
    model = BoostedTrees(LAYOUT)
    before = rank(model, held_out)
    first = model.update(synthetic(160, seed=2))
    second = model.update(synthetic(100, seed=3))
    assert rank(model, held_out) > max(0.85, before + 0.3)
    assert first is not None
    assert second is not None
    assert first.spearman < 0.5 < 0.8 < second.spearman
    assert second.count == 100
    assert second.top_recall > first.top_recall


def test_few_samples_do_not_spoil_the_prior() -> None:
    held_out = synthetic(200, seed=1)
    model = BoostedTrees(LAYOUT)
    before = rank(model, held_out)
    model.update(synthetic(8, seed=4))
    assert rank(model, held_out) > before - 0.1


def test_scale_of_a_task_is_ignored() -> None:
    model = BoostedTrees(LAYOUT)
    model.update([*synthetic(100, seed=2), *synthetic(100, seed=5, task="b", scale=1e4, stores=2)])
    assert rank(model, synthetic(200, seed=1)) > 0.85


def test_failed_candidates_are_learned_as_slow() -> None:
    samples = [
        Sample("a", s.features, s.prior_s, None if s.features[0, 5] > 0 else 1e-4)
        for s in synthetic(200, seed=6, stores=1)
    ]
    model = BoostedTrees(LAYOUT)
    model.update(samples)
    probe = synthetic(100, seed=7, stores=1)
    flat = [Sample("a", s.features, np.array([1e-4]), None) for s in probe]
    bad = np.array([s.features[0, 5] > 0 for s in probe])
    scores = predict_samples(model, flat)
    assert scores[bad].mean() > scores[~bad].mean() + 0.5


def test_a_task_without_success_teaches_nothing() -> None:
    failed = [Sample("a", s.features, s.prior_s, None) for s in synthetic(20, seed=0)]
    assert make_batch(failed, 0.5) is None
    model = BoostedTrees(LAYOUT)
    assert model.update(failed) is None
    np.testing.assert_allclose(
        predict_samples(model, failed), [np.log(s.prior_s.sum()) for s in failed]
    )


def test_gradient_is_that_of_the_loss() -> None:
    batch = make_batch(synthetic(6, seed=8), fast_weight=0.5)
    assert batch is not None
    margin = np.random.default_rng(0).normal(size=len(batch.owner)) * 0.3

    def loss(r: np.ndarray) -> float:
        error = np.log(np.bincount(batch.owner, batch.prior_s * np.exp(r))) - batch.log_s
        offset = (batch.weight * error).sum() / batch.weight.sum()
        return float((batch.weight * (error - offset) ** 2).sum())

    gradient, curvature = gradients(batch, margin)
    step = 1e-6 * np.eye(len(margin))
    numeric = [(loss(margin + d) - loss(margin - d)) / 2e-6 for d in step]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-7)
    assert (curvature > 0).all()


def test_same_data_same_model() -> None:
    one, two = BoostedTrees(LAYOUT, seed=3), BoostedTrees(LAYOUT, seed=3)
    for model in (one, two):
        model.update(synthetic(50, seed=2))
    held_out = synthetic(50, seed=1)
    assert (predict_samples(one, held_out) == predict_samples(two, held_out)).all()


def test_keeps_the_newest_half_and_the_fastest_of_the_rest() -> None:
    model = BoostedTrees(LAYOUT, options=TreeOptions(rounds=5, samples=64))
    old, new = synthetic(100, seed=0), synthetic(32, seed=1)
    model.update(old)
    model.update(new)
    fastest = sorted(old, key=lambda s: s.time_s or 0.0)[:20]
    kept = {id(s) for s in model._samples}
    assert len(model._samples) == 64
    assert {id(s) for s in [*new, *fastest]} <= kept


def test_saved_model_predicts_the_same_and_keeps_learning() -> None:
    held_out = synthetic(200, seed=1)
    model = BoostedTrees(LAYOUT)
    model.update(synthetic(90, seed=2))
    copy = BoostedTrees(LAYOUT)
    copy.load(model.save())
    np.testing.assert_array_equal(predict_samples(copy, held_out), predict_samples(model, held_out))
    saved = rank(copy, held_out)
    copy.update(synthetic(160, seed=9))
    assert rank(copy, held_out) > saved
    assert copy.save() != model.save()


def test_jobs_that_end_at_the_same_time_both_leave_what_they_learned() -> None:
    first, second = BoostedTrees(LAYOUT), BoostedTrees(LAYOUT)
    first.update(synthetic(40, seed=2, task="a"))
    second.update(synthetic(50, seed=3, task="b", scale=30.0))
    text = second.save(first.save())
    both = BoostedTrees(LAYOUT)
    both.load(text)
    assert [s.task for s in both._pool] == ["a"] * 40 + ["b"] * 50
    held_out = synthetic(200, seed=1)
    alone = BoostedTrees(LAYOUT)
    alone.load(first.save())
    assert rank(both, held_out) > rank(alone, held_out)


def test_a_pool_is_bounded_and_keeps_the_fastest_of_each_task() -> None:
    samples = synthetic(300, seed=4)
    kept = merge(samples, [*samples[:5], *synthetic(10, seed=5, task="b")])
    assert sum(s.task == "a" for s in kept) == PER_TASK
    fastest = sorted(samples, key=lambda s: s.time_s or 0.0)[: PER_TASK // 2]
    assert {s.time_s for s in fastest} <= {s.time_s for s in kept}
    for number in range(2 + MOST // PER_TASK):
        kept = merge(kept, synthetic(PER_TASK, seed=number, task=f"t{number}", stores=1))
    assert len(kept) == MOST
    assert "a" not in {s.task for s in kept}


def test_samples_survive_their_text() -> None:
    samples = [*synthetic(7, seed=1), *synthetic(3, seed=2, task="b", stores=1)]
    samples[2] = replace(samples[2], time_s=None)
    for old, new in zip(samples, decode(encode(samples), WIDTH), strict=True):
        assert (old.task, old.time_s) == (new.task, new.time_s)
        np.testing.assert_array_equal(old.features, new.features)
        np.testing.assert_array_equal(old.prior_s, new.prior_s)


@pytest.mark.parametrize(
    "change",
    [
        {"task": [5] * 7},
        {"task": [0] * 6},
        {"stores": [10**6] * 7},
        {"stores": [2] * 7},
        {"time_s": [-1.0] * 7},
        {"time_s": ["x"] * 7},
        {"features": "no base64!"},
        {"prior_s": base64.b64encode(zlib.compress(b"\0" * 10**6)).decode()},
        {"features": None},
        {"tasks": 3},
    ],
)
def test_malformed_samples_are_refused(change: dict[str, object]) -> None:
    data = encode(synthetic(7, seed=1)) | change
    with pytest.raises(UsageError, match="samples are malformed"):
        decode(data, WIDTH)


def test_untrained_model_survives_saving() -> None:
    model = BoostedTrees(LAYOUT)
    model.load(BoostedTrees(LAYOUT).save())
    assert model.update(synthetic(20, seed=0)) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not a saved cost model"),
        ("[]", "its format is missing"),
        (BoostedTrees(FeatureLayout(("x", *LAYOUT.names[1:]), 3)).save(), r"differ in f0, x"),
        (BoostedTrees(FeatureLayout(LAYOUT.names[::-1], 3)).save(), "another order"),
        (BoostedTrees(FeatureLayout(LAYOUT.names, 2)).save(), "feature version 2 and this one"),
        (json.dumps({"format": "metasched-cost-model", "kind": "mlp"}), "kind 'mlp'"),
    ],
)
def test_foreign_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BoostedTrees(LAYOUT).load(text)


def test_uncertainty_is_where_little_is_known() -> None:
    model = BoostedTrees(LAYOUT)
    held_out = synthetic(100, seed=1)
    features = np.stack([s.features for s in held_out])
    prior_s = np.stack([s.prior_s for s in held_out])
    assert not model.uncertainty(features, prior_s).any(), "nothing was learned"
    model.update(synthetic(80, seed=2))
    unsure = model.uncertainty(features, prior_s)
    assert unsure.shape == (100,)
    assert (unsure > 0).all()
    error = np.array([np.log(s.time_s or 1.0) for s in held_out]) - model.predict(features, prior_s)
    # Where the forests disagree most, predictions are further off than where they agree.
    order = np.argsort(unsure)
    assert np.abs(error[order[50:]]).mean() > np.abs(error[order[:50]]).mean()
    assert len(model.uncertainty(features[:0], prior_s[:0])) == 0


def test_what_others_taught_counts_less_the_more_is_known() -> None:
    teacher = BoostedTrees(LAYOUT)
    teacher.update(synthetic(90, seed=2))
    model = BoostedTrees(LAYOUT)
    model.load(teacher.save())
    assert model._own.weight == 1.0
    few, many = synthetic(8, seed=3, task="b"), synthetic(96, seed=4, task="b")
    model.update(few)
    early = model._own.weight
    model.update(many)
    assert 0.0 < model._own.weight < early < 1.0


def test_a_warm_start_helps_while_little_is_measured() -> None:
    teacher = BoostedTrees(LAYOUT)
    teacher.update(synthetic(90, seed=2))
    warm, cold = BoostedTrees(LAYOUT), BoostedTrees(LAYOUT)
    warm.load(teacher.save())
    held_out = synthetic(200, seed=1, task="b")
    for model in (warm, cold):
        model.update(synthetic(12, seed=5, task="b"))
    assert rank(warm, held_out) > rank(cold, held_out) + 0.1
