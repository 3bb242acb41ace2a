"""Whole tilings with symbolic factors agree with the concrete ones that they stand for."""

from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.printer import free_sizes
from metasched.ir.stmt import Block, Program
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from metasched.testing.round_trip import check_symbolic_replay
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import check

PROGRAMS: dict[str, Program] = {
    "c": ops.matmul(m=12, n=8, k=6),
    "conv": ops.conv2d(h=6, w=4, ci=4, co=6, k=3, s=2, p=1),
}


def multi_level_tiling(sch: Schedule, name: str, structure: str = "SSRSRS") -> None:
    """Tile every loop, reorder by levels, cache the result at the second level."""
    block = sch.get_block(name)
    tiled = sch.get(block)
    assert isinstance(tiled, Block)
    levels: dict[str, list[list[Ref]]] = {"S": [], "R": []}
    for loop, it in zip(sch.get_loops(block), tiled.iters, strict=True):
        kind = "S" if it.kind == "spatial" else "R"
        factors = sch.sample_perfect_tile(loop, structure.count(kind), max_innermost_factor=4)
        levels[kind].append(list(sch.split(loop, factors)))
    order = [[loops.pop(0) for loops in levels[kind]] for kind in structure]
    sch.reorder(*(loop for level in order for loop in level))
    cache = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(cache, order[1][-1], preserve_unit_loops=True)
    for producer in sch.get_producers(block):
        location = sch.sample_compute_location(producer)
        sch.compute_at(producer, location, preserve_unit_loops=True)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("seed", range(4))
def test_numbers_for_symbols_give_the_concrete_program(name: str, seed: int) -> None:
    sch = Schedule(PROGRAMS[name], seed=seed)
    multi_level_tiling(sch, name)
    check_symbolic_replay(sch)
    if seed == 0:
        check(sch)


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_symbolic_replay_has_no_guards_and_only_tiles_are_open(name: str) -> None:
    sch = Schedule(PROGRAMS[name], seed=1)
    multi_level_tiling(sch, name)
    symbolic = replay(sch.trace, PROGRAMS[name], choices=Symbolic(dict(sch.trace.decisions)))
    tiles = {str(f) for factors, _ in symbolic.state.tiles for f in factors}
    assert {v.name for v in free_sizes(symbolic.program)} <= tiles
    assert "where(" not in str(symbolic.program)
    assert set(symbolic.trace.decisions) < set(sch.trace.decisions) or name == "c"


def test_a_wrong_factor_is_noticed() -> None:
    sch = Schedule(PROGRAMS["c"], seed=0)
    block = sch.get_block("c")
    i, _, _ = sch.get_loops(block)
    sch.split(i, sch.sample_perfect_tile(i, 2, decision=[4, 3]))
    sch._decisions[2] = (3, 4)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(AssertionError, match="symbolic replay gives"):
        check_symbolic_replay(sch)


def test_draws_differ_between_seeds() -> None:
    decisions = set[str]()
    for seed in range(5):
        sch = Schedule(PROGRAMS["conv"], seed=seed)
        multi_level_tiling(sch, "conv")
        decisions.add(str(sch.trace.decisions))
    assert len(decisions) == 5
