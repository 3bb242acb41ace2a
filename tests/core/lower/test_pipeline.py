from __future__ import annotations

from metasched import te
from metasched.ir.stmt import Block
from metasched.ir.walk import walk
from metasched.lower import lower
from metasched.testing.suite import SUITE, small
from tests.core.lower.programs import Machine


def test_lowered_programs_hold_no_blocks_and_flat_buffers() -> None:
    for name in SUITE:
        lowered = lower(small(name), Machine())
        assert not any(isinstance(node, Block) for node in walk(lowered.body))
        assert all(len(p.shape) == 1 for p in lowered.params)


def test_sizes_come_in_order_of_first_appearance() -> None:
    n, m = te.var("n"), te.var("m")
    x = te.placeholder((m, n), "float32", name="x")
    y = te.compute((n, m), lambda i, j: x[j, i], name="y")
    lowered = lower(te.program([x, y], name="t"), Machine())
    assert [v.name for v in lowered.sizes] == ["m", "n"]
