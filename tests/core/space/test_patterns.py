from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.ir.expr import Load, Var, int_value
from metasched.ir.stmt import Block, Program
from metasched.ir.walk import expr_loads, stores
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import (
    consumers,
    domain_size,
    has_condition,
    has_reuse,
    intrinsics,
    is_injective_read,
    is_ordered_read,
    iter_loops,
    post_order,
    producers,
    same_point,
    stride,
    writes_output,
)
from metasched.testing import suite


def block(program: Program, name: str) -> Block:
    return State(program).block(name)


def load(program: Program, name: str, buffer: str) -> tuple[Load, dict[str, Var]]:
    found = block(program, name)
    (store,) = stores(found.body)
    loads = [x for x in expr_loads(store.value) if x.buffer.name == buffer]
    return loads[0], {it.var.name: it.var for it in found.iters}


def test_post_order_visits_readers_first_and_the_root_last() -> None:
    assert post_order(State(ops.softmax(m=2, n=4))) == ("o", "s", "e", "mx", "root")


def test_consumers_and_producers() -> None:
    state = State(ops.softmax(m=2, n=4))
    exp = state.block("e")
    assert [b.name for b in consumers(state, exp)] == ["s", "o"]
    assert [b.name for b in producers(state, exp)] == ["mx"]
    assert writes_output(state, state.block("o"))
    assert not writes_output(state, exp)


@pytest.mark.parametrize(
    ("name", "block_name", "expected"),
    [("GMM-128", "z", True), ("DEP", "depthwise", True), ("NRM", "s", False), ("SFM", "s", False)],
)
def test_has_reuse(name: str, block_name: str, expected: bool) -> None:
    assert has_reuse(block(suite.program(name), block_name)) is expected


def test_a_value_per_row_is_no_reuse() -> None:
    x, m = te.placeholder((8, 16), name="x"), te.placeholder((8,), name="m")
    k = te.reduce_axis(16, name="k")
    s = te.compute((8,), lambda i: te.sum(x[i, k] - m[i], axis=k), name="s")
    assert not has_reuse(block(te.program([x, m, s]), "s"))


def test_iter_loops_in_order_of_the_variables() -> None:
    schedule = Schedule(ops.matmul(m=4, n=6, k=8))
    handle = schedule.get_block("c")
    loops = schedule.get_loops(handle)
    schedule.reorder(*reversed(loops))
    found = iter_loops(schedule.state, schedule.state.block("c"))
    assert found is not None
    assert [loop.var.name for loop in found] == ["i", "j", "k"]


def test_iter_loops_of_a_split_block() -> None:
    schedule = Schedule(ops.matmul(m=4, n=6, k=8))
    schedule.split(schedule.get_loops(schedule.get_block("c"))[0], (2, 2))
    assert iter_loops(schedule.state, schedule.state.block("c")) is None


def test_domain_size() -> None:
    conv = block(ops.matmul(m=4, n=6, k=8), "c")
    assert (domain_size(conv, "spatial"), domain_size(conv, "reduce")) == (24, 8)


def test_strides_in_elements() -> None:
    access, at = load(ops.attention_scores(h=2, l=32, d=8), "o", "k")
    assert [int_value(s) for v in at.values() if (s := stride(access, v)) is not None] == [
        256, 0, 8, 1,
    ]  # fmt: skip


def test_a_stride_that_varies_is_none() -> None:
    x = te.placeholder((8,), name="x")
    program = te.program([x, te.compute((16,), lambda i: x[i // 2], name="o")])
    access, at = load(program, "o", "x")
    assert stride(access, next(iter(at.values()))) is None


def test_same_point() -> None:
    program = ops.dense(m=4, n=6, k=8, bias=True, activation="relu")
    add = next(b for b in State(program).tree.blocks.values() if "z" in _reads(b))
    assert same_point(add, program.buffer("z"))
    assert not same_point(add, add.reads[1].buffer)


def _reads(found: Block) -> set[str]:
    return {r.buffer.name for r in found.reads}


def test_reads_by_distinct_variables() -> None:
    q_t = block(suite.program("TBG"), "q_t")
    assert is_injective_read(q_t.reads[0])
    assert not is_ordered_read(q_t.reads[0], q_t.iters)
    conv = block(suite.program("C2D"), "conv")
    assert not is_injective_read(conv.reads[0])


def test_conditions_and_intrinsics() -> None:
    assert has_condition(block(suite.program("C2D"), "pad"))
    assert not has_condition(block(suite.program("C2D"), "conv"))
    assert intrinsics(block(ops.softmax(m=2, n=4), "e")) == {"exp"}
