from __future__ import annotations

from math import ceil, prod

import pytest

from metasched import ops
from metasched.ir.expr import int_value
from metasched.ir.stmt import Program
from metasched.schedule.state import State
from metasched.space.default_tiles import default_tiles
from metasched.space.patterns import iter_loops
from metasched.testing import suite
from tests.core.space.outline import TARGET


def tiles(program: Program, block: str) -> dict[str, tuple[int, ...]]:
    """The factors of every loop with what is left filled in."""
    state = State(program)
    found = default_tiles(state, state.block(block), TARGET)
    extents = {loop.var.name: int_value(loop.extent) or 0 for loop in state.tree.loops.values()}
    result: dict[str, tuple[int, ...]] = {}
    for name, factors in found.items():
        left = ceil(extents[name] / prod(f for f in factors if f is not None))
        result[name] = tuple(left if f is None else f for f in factors)
    return result


CASES = [("GMM-128", "z"), ("GMM-1024", "z"), ("C2D", "conv"), ("DEP", "depthwise"), ("DENSE", "z")]


@pytest.mark.parametrize(("name", "block"), CASES)
def test_every_loop_is_covered_with_little_waste(name: str, block: str) -> None:
    program = suite.program(name)
    state = State(program)
    loops = iter_loops(state, state.block(block)) or ()
    found = tiles(program, block)
    assert set(found) == {loop.var.name for loop in loops}
    for loop in loops:
        extent, covered = int_value(loop.extent) or 0, prod(found[loop.var.name])
        assert extent <= covered <= 1.25 * extent


@pytest.mark.parametrize(("name", "block"), CASES)
def test_accumulators_fit_the_registers(name: str, block: str) -> None:
    factors = tiles(suite.program(name), block).values()
    inner = prod(f[3] for f in factors if len(f) == 4)
    assert 4 * 16 <= inner <= TARGET.vector_registers * 16


@pytest.mark.parametrize(("name", "block"), CASES)
def test_there_is_work_for_all_cores(name: str, block: str) -> None:
    factors = tiles(suite.program(name), block).values()
    assert prod(f[0] for f in factors if len(f) == 4) >= TARGET.cores


def test_a_vector_of_results_has_no_rows() -> None:
    found = tiles(ops.matmul(m=1, n=64, k=64), "c")
    assert found["i"] == (1, 1, 1, 1)
    assert found["j"][3] >= 16
