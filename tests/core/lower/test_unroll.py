from __future__ import annotations

from tests.core.lower.programs import after

LOOP = """
@program
def p(a: Buffer((64, 3), "float32"), b: Buffer((64, 3), "float32")):
    for i in serial(64, {{"pragma_auto_unroll_max_step": {limit}}}):
        for j in {kind}(3):
            with block("b"):
                v = spatial(64, i)
                w = spatial(3, j)
                reads(a[v, 2 - w])
                writes(b[v, w])
                b[v, w] = a[v, 2 - w]
"""


def test_loops_within_the_limit_are_written_out() -> None:
    text = after(LOOP.format(limit=16, kind="serial"), "unroll")
    assert text.count("for") == 1
    assert "b[i * 3 + 2] = a[i * 3]" in text


def test_loops_beyond_the_limit_stay() -> None:
    assert after(LOOP.format(limit=2, kind="serial"), "unroll").count("for") == 2


def test_unrolled_loops_need_no_limit() -> None:
    assert after(LOOP.format(limit=0, kind="unrolled"), "unroll").count("for") == 1
