from __future__ import annotations

from dataclasses import replace

from metasched.analysis.access import simplify_indices, single_store, with_regions
from metasched.ir.expr import Var, const, less, select
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, seq
from metasched.ir.walk import blocks
from tests.core.schedule.primitives.stages import chain, row_sums


def block(name: str) -> Block:
    program = row_sums() if name == "s" else chain()
    return next(b for b in blocks(program.root) if b.name == name)


def test_regions_are_read_off_the_body() -> None:
    for name in ("b", "d", "s"):
        found = block(name)
        assert with_regions(found) == found


def test_the_only_store() -> None:
    assert str(single_store(block("b"))) == "b[v_i] = a[v_i] + float32(1.0)"
    pair = block("b")
    assert single_store(replace(pair, body=seq(pair.body, pair.body))) is None


def test_indices_and_conditions_on_them_are_simplified() -> None:
    buffer = block("c").reads[0].buffer
    i = Var("i")
    simplify = Simplifier({i: const(4)})
    value = select(less(i, 9), buffer[(i * 8 + 3) // 8], buffer[0])
    assert simplify_indices(value, simplify) == buffer[i]
    value = select(less(i, 3), buffer[i % 8], buffer[0])
    assert simplify_indices(value, simplify) == select(less(i, 3), buffer[i], buffer[0])


def test_conditions_on_data_stay() -> None:
    buffer = block("c").reads[0].buffer
    i = Var("i")
    value = select(less(buffer[i % 8], 1.0), buffer[i], buffer[0])
    simplified = simplify_indices(value, Simplifier({i: const(4)}))
    assert simplified == select(less(buffer[i], 1.0), buffer[i], buffer[0])
