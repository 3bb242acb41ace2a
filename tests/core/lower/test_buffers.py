from __future__ import annotations

from collections.abc import Callable

from tests.core.lower.programs import after

Golden = Callable[[str], None]

STENCIL = """
@program
def stencil(a: Buffer((64, 66), "float32"), c: Buffer((64, 64), "float32")):
    b = alloc((64, 66), "float32")
    for i in {kind}(64):
        for jo in serial(8):
            for x in serial(10):
                with block("b"):
                    vi = spatial(64, i)
                    vx = spatial(66, jo * 8 + x)
                    reads(a[vi, vx])
                    writes(b[vi, vx])
                    b[vi, vx] = a[vi, vx] * float32(2.0)
            for j in serial(8):
                for k in serial(3):
                    with block("c"):
                        ci = spatial(64, i)
                        cj = spatial(64, jo * 8 + j)
                        ck = reduce(3, k)
                        reads(b[ci, cj + ck])
                        writes(c[ci, cj])
                        with init():
                            c[ci, cj] = float32(0.0)
                        c[ci, cj] = c[ci, cj] + b[ci, cj + ck]
"""


def test_a_buffer_shrinks_to_the_box_that_one_tile_touches(golden: Golden) -> None:
    golden(after(STENCIL.format(kind="parallel"), "place_buffers"))


def test_a_buffer_used_across_nests_keeps_its_size() -> None:
    text = after(
        """
@program
def two(a: Buffer((8,), "float32"), c: Buffer((8,), "float32")):
    b = alloc((8,), "float32")
    for i in serial(8):
        with block("b"):
            vi = spatial(8, i)
            reads(a[vi])
            writes(b[vi])
            b[vi] = a[vi] + float32(1.0)
    for j in serial(8):
        with block("c"):
            vj = spatial(8, j)
            reads(b[7 - vj])
            writes(c[vj])
            c[vj] = b[7 - vj]
""",
        "place_buffers",
    )
    assert text.startswith('b = declare((8,), "float32")')


def test_irregular_indices_keep_the_whole_dimension() -> None:
    program = """
@program
def odd(a: Buffer((6, 16), "float32"), c: Buffer((6, 16), "float32"), t: Buffer((16,), "int64")):
    b = alloc((6, 16), "float32")
    for i in serial(6):
        for x in serial(16):
            with block("b"):
                vi = spatial(6, i)
                vx = spatial(16, x)
                reads(a[vi, vx])
                writes(b[vi, vx])
                b[vi, vx] = a[vi, vx]
        for j in serial(16):
            with block("c"):
                ci = spatial(6, i)
                cj = spatial(16, j)
                reads(b[ci, 0:16], t[cj])
                writes(c[ci, cj])
                c[ci, cj] = b[ci, t[cj]]
"""
    assert 'b = declare((1, 16), "float32")' in after(program, "place_buffers")
