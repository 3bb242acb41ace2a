"""What every tensor intrinsic promises, see `metasched.target.intrinsics.TensorIntrin`."""

from __future__ import annotations

import numpy as np
import pytest

from metasched.ir.reference import evaluate
from metasched.schedule.schedule import Schedule
from metasched.target.intrinsics import TensorIntrin
from metasched.testing.intrinsics import check_intrin, random_operands


class IntrinsicContract:
    """Override ``intrin`` with a registered intrinsic. No test needs a processor that has it."""

    @pytest.fixture
    def intrin(self) -> TensorIntrin:
        """Return the intrinsic."""
        raise NotImplementedError("override the fixture `intrin`")

    def test_it_computes_what_it_describes(self, intrin: TensorIntrin) -> None:
        """On random operands, over the whole range of integers."""
        for seed in range(3):
            check_intrin(intrin, seed=seed)

    def test_its_description_can_be_tensorized(self, intrin: TensorIntrin) -> None:
        """The tile alone is a program in which the intrinsic is found."""
        schedule = Schedule(intrin.description)
        outer = schedule.get_loops(schedule.get_block(intrin.pattern.name))[0]
        schedule.tensorize(outer, intrin.name)
        inputs = random_operands(intrin, seed=5)
        wanted = evaluate(intrin.description, inputs)
        for name, array in evaluate(schedule.program, inputs).items():
            np.testing.assert_array_equal(array, wanted[name])

    def test_a_target_without_its_features_lacks_it(self, intrin: TensorIntrin) -> None:
        """What it needs is named, so that it is picked only where it runs."""
        assert intrin.missing(()) == intrin.features
        assert intrin.missing(intrin.features) == ()
