"""Bulk scoring: what a candidate's features may depend on."""

from __future__ import annotations

import numpy as np
import pytest

from metasched.cost.machine import Machine
from metasched.search.structure_set import StructureSet
from metasched.space.space import Space
from metasched.testing import suite
from tests.core.space.outline import TARGET

MACHINE = Machine(2, 64, 32, 1e-9, 32768, 1 << 20, 1 << 25, 5e10, 2e10, 1e10)


@pytest.mark.parametrize("case", ["GMM-512", "DEP", "SFM", "DENSE"])
def test_features_of_a_candidate_do_not_depend_on_its_company(case: str) -> None:
    program = suite.program(case)
    bound = Space.default("cpu").on(program, TARGET)
    structures = StructureSet(program, [sketch.trace for sketch in bound.sketches], MACHINE)
    rng = np.random.default_rng(0)
    for structure in structures.seed(rng, 3):
        rows = structure.sample(rng, 12)
        together = structure.evaluate(rows)
        for k in range(len(rows)):
            alone = structure.evaluate(rows[k : k + 1])
            np.testing.assert_array_equal(together.features[k], alone.features[0])
            np.testing.assert_array_equal(together.prior_s[k], alone.prior_s[0])
