from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metasched import te
from metasched.errors import UsageError
from metasched.ir.reference import evaluate
from metasched.ir.verify import verify
from metasched.ir.walk import blocks

CHAIN = """\
@program
def main(a: Buffer((8,), "float32"), i_1: Buffer((6,), "float32"), out: Buffer((6,), "float32")):
    mid = alloc((8,), "float32")
    for j in serial(8):
        with block("mid"):
            v_j = spatial(8, j)
            reads(a[v_j])
            writes(mid[v_j])
            mid[v_j] = a[v_j] * float32(2.0)
    for out_j in serial(6):
        with block("out"):
            v_out_j = spatial(6, out_j)
            reads(mid[v_out_j:v_out_j + 3], i_1[v_out_j])
            writes(out[v_out_j])
            out[v_out_j] = mid[v_out_j + 2] + mid[v_out_j] + i_1[v_out_j]"""


def test_stages_in_order_with_unique_names_and_joined_regions() -> None:
    a = te.placeholder((8,), name="a")
    b = te.placeholder((6,), name="i_1")
    mid = te.compute((8,), lambda j: a[j] * 2, name="mid")
    out = te.compute((6,), lambda j: mid[j + 2] + mid[j] + b[j], name="out")
    program = te.program([a, b, out])
    assert str(program) == CHAIN
    verify(program)


def test_one_description_gives_equal_programs() -> None:
    a = te.placeholder((8,), name="a")
    out = te.compute((8,), lambda i: a[i] + 1, name="out")
    assert te.program([a, out]) == te.program([a, out])


def test_repeated_names_get_a_suffix() -> None:
    a, b = (te.placeholder((4,), name="x") for _ in range(2))
    c = te.compute((4,), lambda i: a[i] - b[i], name="x")
    program = te.program([a, b, c])
    verify(program)
    assert [p.name for p in program.params] == ["x", "x_1", "x_2"]
    four = np.arange(4.0)
    assert evaluate(program, {"x": four, "x_1": four + 1})["x_2"].tolist() == [-1.0] * 4


def test_loops_keep_clear_of_buffers_and_sizes() -> None:
    n = te.var("i")
    a = te.placeholder((n,), name="j")
    b = te.compute((n,), lambda i: a[i] * 2, name="b")
    c = te.compute((n, n), lambda i, j: b[i] + b[j], name="c")
    program = te.program([a, c])
    verify(program)
    assert evaluate(program, {"j": np.ones(3)})["c"].tolist() == [[4.0] * 3] * 3


def test_a_stage_may_be_called_root() -> None:
    a = te.placeholder((4,), name="a")
    program = te.program([a, te.compute((4,), lambda i: a[i], name="root")])
    verify(program)
    assert [b.name for b in blocks(program.root)] == ["root_1", "root"]


def test_scalars_get_a_unit_loop() -> None:
    a = te.placeholder((4,), name="a")
    k = te.reduce_axis(4)
    total = te.compute((), lambda: te.sum(a[k], axis=k), name="total")
    mean = te.compute((), lambda: total[()] / 4.0, name="mean")
    program = te.program([a, mean])
    verify(program)
    assert evaluate(program, {"a": np.arange(4.0)})["mean"] == 1.5


def test_an_intermediate_that_is_listed_is_an_output_too() -> None:
    a = te.placeholder((4,), name="a")
    b = te.compute((4,), lambda i: a[i] + 1, name="b")
    c = te.compute((4,), lambda i: b[i] * 2, name="c")
    program = te.program([b, a, c])
    assert [p.name for p in program.outputs] == ["b", "c"]
    found = evaluate(program, {"a": np.zeros(4)})
    assert found["b"].tolist() == [1.0] * 4
    assert found["c"].tolist() == [2.0] * 4


def test_guarded_reads_may_leave_their_tensor() -> None:
    a = te.placeholder((4,), name="a")
    inside = lambda i: te.all(i >= 1, i < 5)  # noqa: E731
    b = te.compute((6,), lambda i: te.if_then_else(inside(i), a[i - 1], 0.0), name="b")
    program = te.program([a, b])
    verify(program)
    assert evaluate(program, {"a": np.arange(1.0, 5)})["b"].tolist() == [0, 1, 2, 3, 4, 0]


def placeholder() -> te.Tensor:
    return te.placeholder((4,), name="a")


def unlisted() -> Any:
    a = placeholder()
    return te.program([te.compute((4,), lambda i: a[i], name="b")])


def foreign_axis() -> Any:
    a, k = placeholder(), te.reduce_axis(4, name="k")
    return te.program([a, te.compute((4,), lambda i: a[k], name="b")])


def twice() -> Any:
    a = placeholder()
    return te.program([a, a])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: te.program([]), "computes nothing"),
        (lambda: te.program([placeholder()]), "program 'main' computes nothing"),
        (lambda: te.program([3]), "takes tensors, got 3"),  # type: ignore[list-item]
        (lambda: te.program([placeholder()], name="a-b"), "program name 'a-b' is no identifier"),
        (twice, "lists a tensor twice"),
        (unlisted, "'a' is read but is no parameter; list it"),
        (foreign_axis, "the definition of 'b' uses axis 'k', which it neither spans nor reduces"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
