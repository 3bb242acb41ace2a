from __future__ import annotations

import numpy as np
import pytest

from metasched.cost.evaluation import layout_of
from metasched.cost.gpu import GPU_FEATURE_NAMES
from metasched.cost.machine import machine_of
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from metasched.search.structure import Structure
from metasched.search.structure_set import StructureSet
from metasched.space.space import Space
from metasched.target import Target
from metasched.testing import suite

GPU = Target("cuda:sm_90")
SPACE = Space.default("cuda")


def structures(program: Program, count: int = 1) -> list[Structure]:
    sketches = [sketch.trace for sketch in SPACE.on(program, GPU).sketches]
    return StructureSet(program, sketches, machine_of(GPU)).seed(np.random.default_rng(0), count)


def test_the_layout_follows_the_target() -> None:
    assert layout_of(GPU).names == GPU_FEATURE_NAMES
    assert layout_of(Target("cpu")).names != GPU_FEATURE_NAMES


@pytest.mark.parametrize("name", ["GMM-1024", "C2D", "SFM", "T2D"])
def test_limits_on_the_matrix_are_those_of_finished_candidates(name: str) -> None:
    program = suite.program(name)
    bound = SPACE.on(program, GPU)
    (structure,) = structures(program)
    rows = structure.sample(np.random.default_rng(1), 400)
    valid = structure.evaluate(rows).valid
    assert valid.any()
    picked = [*np.flatnonzero(valid)[:6], *np.flatnonzero(~valid)[:6]]
    found = [bound.finish(replay(structure.trace(rows[k]), program)) for k in picked]
    kept = [isinstance(one, Schedule) for one in found]
    assert all(kept[:6])
    # Where an operand is read by quotients, symbolic tiles of it are only bounded from above.
    assert name == "T2D" or not any(kept[6:])


@pytest.mark.parametrize("name", ["GMM-1024", "CBR", "SFM"])
def test_one_candidate_has_the_features_that_it_has_in_a_population(name: str) -> None:
    for structure in structures(suite.program(name), 3):
        rows = structure.sample(np.random.default_rng(2), 50)
        many = structure.evaluate(rows)
        assert np.isfinite(many.features).all()
        for k in (0, 17, 49):
            one = structure.evaluate(rows[k : k + 1])
            np.testing.assert_array_equal(one.features[0], many.features[k])
            np.testing.assert_array_equal(one.prior_s[0], many.prior_s[k])


def column(structure: Structure, rows: list[list[int]], block: str, name: str) -> list[float]:
    """A feature of some candidates at the store of a block, as a plain number."""
    number = [store.block for store in structure.summary.stores].index(block)
    matrix = np.array(rows, dtype=np.int64)
    values = structure.evaluate(matrix).features[:, number, GPU_FEATURE_NAMES.index(name)]
    return [float(v) for v in values]


def test_what_a_tile_of_a_product_takes_and_moves() -> None:
    (structure,) = structures(suite.program("GMM-1024"))
    tiles = [(8, 2, 16, 1, 4), (8, 2, 16, 1, 4), (64, 16, 1)]
    row = [
        int(np.flatnonzero((table == np.array(tile)).all(axis=1))[0])
        for table, tile in zip(structure.tables[:3], tiles, strict=True)
    ]
    rows = [[*row, *(0,) * (len(structure.tables) - 3)]]
    block = structure.summary.stores[-2].block

    def number(name: str, at: str = block) -> float:
        return 2.0 ** column(structure, rows, at, name)[0] - 1.0

    assert number("blocks") == pytest.approx(64)
    assert number("threads") == pytest.approx(256)
    assert number("local_words") == pytest.approx(64)
    assert number("shared_bytes") == pytest.approx(2 * 128 * 16 * 4)
    assert number("executions") == pytest.approx(1024**3, rel=1e-5)
    copies = [store.block for store in structure.summary.stores if store.block.endswith("_shared")]
    for copy in copies:
        assert number("executions", copy) == pytest.approx(64 * 64 * 128 * 16, rel=1e-5)
        assert number("global_bytes", copy) == pytest.approx(64 * 64 * 128 * 16 * 4, rel=1e-5)
    assert structure.evaluate(np.array(rows, dtype=np.int64)).valid.all()


def test_the_prior_prefers_register_tiles_to_single_sums() -> None:
    (structure,) = structures(suite.program("GMM-1024"))
    good = [(8, 2, 16, 1, 4), (8, 2, 16, 1, 4), (64, 16, 1)]
    poor = [(64, 1, 16, 1, 1), (64, 1, 16, 1, 1), (64, 16, 1)]
    rows = [
        [
            *(
                int(np.flatnonzero((table == np.array(tile)).all(axis=1))[0])
                for table, tile in zip(structure.tables[:3], tiles, strict=True)
            ),
            *(0,) * (len(structure.tables) - 3),
        ]
        for tiles in (good, poor)
    ]  # fmt: skip
    fast, slow = structure.evaluate(np.array(rows, dtype=np.int64)).prior_s.sum(axis=1)
    assert fast < slow / 1.5
