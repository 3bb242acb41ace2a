from __future__ import annotations

import pytest

from metasched import ops, te
from metasched.analysis.flops import flops, traffic
from metasched.errors import UsageError
from metasched.ir.parser import parse

SCHEDULED = """\
@program
def f(a: Buffer((8, 8), "float32"), c: Buffer((8,), "float32")):
    for i0 in parallel(2):
        for k in serial(8):
            with block("outer"):
                vi = spatial(2, i0)
                vk = reduce(8, k)
                reads(a[vi * 4:vi * 4 + 4, vk])
                writes(c[vi * 4:vi * 4 + 4])
                with init():
                    for i2 in serial(4):
                        c[vi * 4 + i2] = float32(0.0)
                for i1 in serial(4):
                    with block("inner"):
                        wi = spatial(4, i1)
                        reads(a[vi * 4 + wi, vk])
                        writes(c[vi * 4 + wi])
                        c[vi * 4 + wi] = c[vi * 4 + wi] + a[vi * 4 + wi, vk]
                for i3 in serial(3):
                    c[vi * 4 + i3] = c[vi * 4 + i3] * float32(2.0)"""


def test_every_construct_counts_once() -> None:
    assert flops(ops.matmul(m=4, n=5, k=6)) == 2 * 4 * 5 * 6
    assert flops(ops.matmul(m=4, n=5, k=6, dtype="int8", acc_dtype="int32")) == 2 * 4 * 5 * 6
    assert flops(ops.softmax(m=3, n=4)) == 5 * 3 * 4
    assert flops(ops.transpose(m=3, n=4)) == 0
    assert flops(ops.conv2d(h=4, w=4, ci=2, co=3, k=3, p=1)) == 2 * 4 * 4 * 3 * 9 * 2


def test_nested_blocks_and_loops_multiply() -> None:
    assert flops(parse(SCHEDULED)) == 2 * 8 * 4 + 2 * 8 * 3


def test_of_a_condition_the_costlier_side_counts() -> None:
    a = te.placeholder((10,), name="a")
    b = te.compute((10,), lambda i: te.if_then_else(i < 5, a[i] * a[i] + 1, a[i]), name="b")
    assert flops(te.program([a, b])) == 20


def test_traffic_is_every_parameter_once() -> None:
    assert traffic(ops.matmul(m=4, n=5, k=6)) == 4 * (24 + 30 + 20)
    assert traffic(ops.softmax(m=3, n=4, dtype="float64")) == 2 * 12 * 8


def test_symbolic_extents_are_refused() -> None:
    n = te.var("n")
    a = te.placeholder((n,), name="a")
    program = te.program([a, te.compute((n,), lambda i: a[i] * 2, name="b")])
    with pytest.raises(UsageError, match="extent n is symbolic"):
        flops(program)
    with pytest.raises(UsageError, match="extent n is symbolic"):
        traffic(program)
