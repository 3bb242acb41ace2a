"""What every cost model promises, see `metasched.cost.model.AbstractCostModel`."""

from __future__ import annotations

import numpy as np
import pytest

from metasched.cost.model import FeatureLayout, ModelFactory, Sample, predict_samples
from metasched.errors import UsageError
from metasched.search.population import sample_rows
from metasched.testing.fake_space import LAYOUT, FakeSpace


class CostModelContract:
    """Override ``make``."""

    @pytest.fixture
    def make(self) -> ModelFactory:
        """Return what makes a model of a feature layout and a seed."""
        raise NotImplementedError("override the fixture `make`")

    def test_it_predicts_before_it_has_learned(self, make: ModelFactory) -> None:
        """A finite number for each candidate, and how sure it is."""
        samples = _samples(16)
        features = np.stack([s.features for s in samples])
        prior_s = np.stack([s.prior_s for s in samples])
        model = make(LAYOUT, 0)
        predicted = model.predict(features, prior_s)
        assert predicted.shape == (16,)
        assert np.isfinite(predicted).all()
        assert (model.uncertainty(features, prior_s) >= 0).all()

    def test_predicting_changes_nothing(self, make: ModelFactory) -> None:
        """One candidate alone is predicted as among others."""
        model, samples = make(LAYOUT, 0), _samples(48)
        model.prepare()
        model.update(samples)
        whole = predict_samples(model, samples)
        np.testing.assert_allclose(predict_samples(model, samples), whole, rtol=1e-5)

    def test_it_learns_from_failures_too(self, make: ModelFactory) -> None:
        """Candidates without a time are results like others, also when there is nothing else."""
        model = make(LAYOUT, 0)
        failed = [Sample(s.task, s.features, s.prior_s, None) for s in _samples(20)]
        model.update(failed)
        model.update([*_samples(20), *failed])
        assert np.isfinite(predict_samples(model, failed)).all()

    def test_beginning_to_learn_is_learning(self, make: ModelFactory) -> None:
        """What `begin` returns does what `update` does."""
        samples = _samples(64)
        one, other = make(LAYOUT, 3), make(LAYOUT, 3)
        one.update(samples)
        other.begin(samples)()
        wanted = predict_samples(one, samples)
        np.testing.assert_allclose(predict_samples(other, samples), wanted, rtol=1e-5)

    def test_it_comes_back_from_text(self, make: ModelFactory) -> None:
        """A loaded model predicts as the saved one, and goes on learning."""
        model, samples = make(LAYOUT, 0), _samples(64)
        model.update(samples)
        text = model.save()
        other = make(LAYOUT, 0)
        other.load(text)
        assert other.save(text)
        wanted = predict_samples(model, samples)
        np.testing.assert_allclose(np.argsort(predict_samples(other, samples)), np.argsort(wanted))
        other.update(samples[:16])

    def test_text_of_something_else_is_refused(self, make: ModelFactory) -> None:
        """Other features, and what is no model."""
        text = make(LAYOUT, 0).save()
        strange = make(FeatureLayout(("a", "b"), 1), 0)
        for wrong in (text, "{}", "no model"):
            with pytest.raises(UsageError):
                strange.load(wrong)


def _samples(count: int) -> list[Sample]:
    """Measured candidates of the landscape without programs."""
    structure = next(iter(FakeSpace().all.values()))
    rows = sample_rows(structure, count, np.random.default_rng(2))
    seen, seconds = structure.evaluate(rows), structure.seconds(rows)
    return [
        Sample("task", seen.features[k], seen.prior_s[k], float(seconds[k])) for k in range(count)
    ]
