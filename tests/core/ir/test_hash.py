from __future__ import annotations

import re

import pytest

from metasched import te
from metasched.ir.hash import structural_equal, structural_hash
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.testing.suite import SUITE, small
from tests.core.ir.programs import Programs

TEXT = """\
@program
def f(a: Buffer((n, 8), "float32"), b: Buffer((n, 8), "float32"), c: Buffer((n,), "float32")):
    t = alloc((4,), "float32")
    for i in serial(n):
        for j in parallel(8, {"unroll": 16}):
            with block("c"):
                vi = spatial(n, i)
                vj = reduce(8, j)
                where(i < 100)
                reads(a[vi, vj], b[vi, 0:8])
                writes(c[vi])
                with init():
                    c[vi] = float32(0.0)
                c[vi] = c[vi] + a[vi, vj] * b[vi, vj]"""


def renamed(text: str) -> str:
    names = ("a", "b", "c", "t", "i", "j", "n", "vi", "vj", "f")
    return re.sub(rf"\b({'|'.join(names)})\b", r"\1_x", text)


def test_names_do_not_count() -> None:
    one, other = parse(TEXT), parse(renamed(TEXT))
    assert one != other
    assert structural_equal(one, other)
    assert structural_hash(one) == structural_hash(other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("serial(n)", "parallel(n)"),
        ("serial(n)", 'thread(n, axis="threadIdx.x")'),
        ("(8, j)", "(9, j)"),
        ("vj = reduce", "vj = spatial"),
        ("spatial(n, i)", "spatial(n, i + 0)"),
        ('{"unroll": 16}', '{"unroll": 17}'),
        ('{"unroll": 16}', '{"other": 16}'),
        ("i < 100", "i < 101"),
        ("i < 100", "i <= 100"),
        ("i < 100", "j < 100"),
        ("b[vi, 0:8]", "b[vi, 0:7]"),
        ("float32(0.0)", "float32(-0.0)"),
        ("a[vi, vj] * b", "b[vi, vj] * b"),
        ("* b[vi, vj]", "+ b[vi, vj]"),
        ("a[vi, vj] * b", "a[vi, vi] * b"),
        ('t = alloc((4,), "float32")', 't = alloc((4,), "int32")'),
        ('t = alloc((4,), "float32")', 't = alloc((4,), "float32", scope="local")'),
        ('c: Buffer((n,), "float32")', 'c: Buffer((m,), "float32")'),
        ("                where(i < 100)\n", ""),
    ],
)
def test_everything_else_counts(old: str, new: str) -> None:
    assert old in TEXT
    one, other = parse(TEXT), parse(TEXT.replace(old, new))
    assert not structural_equal(one, other)
    assert structural_hash(one) != structural_hash(other)


def test_the_order_of_parameters_counts() -> None:
    a, b = te.placeholder((4,), name="a"), te.placeholder((4,), name="b")
    c = te.compute((4,), lambda i: a[i] - b[i], name="c")
    assert structural_hash(te.program([a, b, c])) != structural_hash(te.program([b, a, c]))


def test_the_hash_is_the_same_in_every_process_and_version() -> None:
    """Databases key on it: a change here orphans every stored record."""
    expected = "4d5c3e534796b2c8dd37db5fc277f89dd531702a28115e299cbb4e18ba252b8d"
    assert structural_hash(parse(TEXT)) == expected


def test_programs_of_the_suite_differ() -> None:
    hashes = {structural_hash(small(name)) for name in SUITE}
    assert len(hashes) == len(SUITE)


def test_hash_and_text_agree_on_random_programs() -> None:
    seen: dict[str, Program] = {}
    for seed in range(300):
        program = Programs(seed).program()
        known = seen.setdefault(structural_hash(program), program)
        assert structural_equal(known, program)
        assert structural_hash(parse(str(program))) == structural_hash(program)
    assert len(seen) > 150
