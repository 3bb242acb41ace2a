"""Programs of several stages, and the checks that the tests of data movement share."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from metasched import te
from metasched.errors import ScheduleError
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.ir.verify import verify
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from tests.core.schedule.programs import check


@contextmanager
def refuses(sch: Schedule, message: str) -> Generator[None]:
    """The step inside is refused with this message, and the schedule is as it was."""
    before = sch.program
    with pytest.raises(ScheduleError, match=re.escape(message)):
        yield
    assert sch.program is before


def check_valid(sch: Schedule, **sizes: int) -> None:
    """The program is well formed and keeps the result; the schedule survives its trace."""
    verify(sch.program)
    check(sch, **sizes)


def tiled(sch: Schedule, block: Ref, *factors: list[int | None]) -> list[tuple[Ref, ...]]:
    """Split the loops of a block and bring the parts into the order of their levels."""
    parts = [sch.split(x, f) for x, f in zip(sch.get_loops(block), factors, strict=True)]
    depth = max(len(p) for p in parts)
    sch.reorder(*(p[level] for level in range(depth) for p in parts if level < len(p)))
    return parts


def chain(n: int = 12) -> Program:
    """``b = a + 1``, ``c = b * 2``, ``d = c - b``: b is read twice."""
    a = te.placeholder((n,), "float32", name="a")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((n,), lambda i: b[i] * 2.0, name="c")
    d = te.compute((n,), lambda i: c[i] - b[i], name="d")
    return te.program([a, d], name="chain")


def window(n: int = 10, k: int = 3, s: int = 2) -> Program:
    """A padded vector, and a strided windowed sum of it."""
    a = te.placeholder((n,), "float32", name="a")
    p = te.compute(
        (n + 2,),
        lambda i: te.if_then_else(te.all(i >= 1, i < n + 1), a[i - 1], te.const(0.0)),
        name="p",
    )
    r = te.reduce_axis(k, name="r")
    c = te.compute(((n + 2 - k) // s + 1,), lambda i: te.sum(p[i * s + r], axis=r), name="c")
    return te.program([a, c], name="window")


def scores(m: int = 5, n: int = 6, k: int = 4) -> Program:
    """``c = a @ b.T`` and then ``d = max(c, 0)``."""
    a = te.placeholder((m, k), "float32", name="a")
    b = te.placeholder((n, k), "float32", name="b")
    r = te.reduce_axis(k, name="r")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, r] * b[j, r], axis=r), name="c")
    d = te.compute((m, n), lambda i, j: te.max(c[i, j], 0.0), name="d")
    return te.program([a, b, d], name="scores")


def row_sums(m: int = 4, n: int = 9) -> Program:
    """The sums of rows, and the rows less their sums."""
    a = te.placeholder((m, n), "float32", name="a")
    k = te.reduce_axis(n, name="k")
    s = te.compute((m,), lambda i: te.sum(a[i, k], axis=k), name="s")
    d = te.compute((m, n), lambda i, j: a[i, j] - s[i], name="d")
    return te.program([a, d], name="row_sums")


def nested() -> Program:
    """A block with a nested block beside a plain one."""
    return parse(
        """@program
def nested(a: Buffer((8,), "float32"), c: Buffer((8,), "float32")):
    b = alloc((8,), "float32")
    for i in serial(8):
        with block("b"):
            v_i = spatial(8, i)
            reads(a[v_i])
            writes(b[v_i])
            b[v_i] = a[v_i] + float32(1.0)
    for o in serial(2):
        with block("outer"):
            v_o = spatial(2, o)
            reads(b[v_o * 4:v_o * 4 + 4])
            writes(c[v_o * 4:v_o * 4 + 4])
            for x in serial(4):
                with block("c"):
                    v_x = spatial(4, x)
                    reads(b[v_o * 4 + v_x])
                    writes(c[v_o * 4 + v_x])
                    c[v_o * 4 + v_x] = b[v_o * 4 + v_x] * float32(2.0)
"""
    )


def twice_written() -> Program:
    """Two blocks write one buffer, half each; a third copies it."""
    return parse(
        """@program
def twice_written(a: Buffer((8,), "float32"), c: Buffer((8,), "float32")):
    b = alloc((8,), "float32")
    for i in serial(4):
        with block("low"):
            v_i = spatial(4, i)
            reads(a[v_i])
            writes(b[v_i])
            b[v_i] = a[v_i]
    for j in serial(4):
        with block("high"):
            v_j = spatial(4, j)
            reads(a[v_j + 4])
            writes(b[v_j + 4])
            b[v_j + 4] = a[v_j + 4] * float32(2.0)
    for k in serial(8):
        with block("c"):
            v_k = spatial(8, k)
            reads(b[v_k])
            writes(c[v_k])
            c[v_k] = b[v_k] + float32(1.0)
"""
    )


def part_made(n: int = 6) -> Program:
    """A padded copy of a copy: the reader runs over the edges of what the producer makes."""
    a = te.placeholder((n,), "float32", name="a")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="b")
    c = te.compute(
        (n + 2,),
        lambda i: te.if_then_else(te.all(i >= 1, i < n + 1), b[i - 1], te.const(0.0)),
        name="c",
    )
    return te.program([a, c], name="part_made")


def producer(*lines: str, where: str = "", n: int = 8) -> Program:
    """A block ``b`` with the given statements, on buffers a, b, and a copy ``c`` of buffer b.

    Args:
        lines: reads, writes and statements of the block, over ``v_i``.
        where: its condition.
        n: the size of everything.
    """
    inside = "\n            ".join([*([f"where({where})"] if where else []), *lines])
    return parse(
        f"""@program
def main(a: Buffer(({n},), "float32"), c: Buffer(({n},), "float32")):
    b = alloc(({n},), "float32")
    for i in serial({n}):
        with block("b"):
            v_i = spatial({n}, i)
            {inside}
    for k in serial({n}):
        with block("c"):
            v_k = spatial({n}, k)
            reads(b[v_k])
            writes(c[v_k])
            c[v_k] = b[v_k] * float32(2.0)
"""
    )


def unread() -> Program:
    """A block whose result nobody reads."""
    return parse(
        """@program
def unread(a: Buffer((4,), "float32"), c: Buffer((4,), "float32")):
    b = alloc((4,), "float32")
    for i in serial(4):
        with block("b"):
            v_i = spatial(4, i)
            reads(a[v_i])
            writes(b[v_i])
            b[v_i] = a[v_i]
    for k in serial(4):
        with block("c"):
            v_k = spatial(4, k)
            reads(a[v_k])
            writes(c[v_k])
            c[v_k] = a[v_k]
"""
    )


def overlapping() -> Program:
    """A producer that makes some elements of its tile more than once."""
    return parse(
        """@program
def overlapping(a: Buffer((8,), "float32"), c: Buffer((8,), "float32")):
    p = alloc((8,), "float32")
    b = alloc((8,), "float32")
    for o in serial(2):
        for x in serial(3):
            for y in serial(2):
                with block("p"):
                    v_p = spatial(8, o * 4 + x + y)
                    reads(a[v_p])
                    writes(p[v_p])
                    p[v_p] = a[v_p] + float32(1.0)
        for z in serial(4):
            with block("b"):
                v_b = spatial(8, o * 4 + z)
                reads(p[v_b])
                writes(b[v_b])
                b[v_b] = p[v_b] + float32(1.0)
        for k in serial(4):
            with block("c"):
                v_k = spatial(8, o * 4 + k)
                reads(b[v_k])
                writes(c[v_k])
                c[v_k] = b[v_k] + float32(1.0)
"""
    )


def in_place(n: int = 8) -> Program:
    """A block that adds to an output what it finds there."""
    return parse(
        f"""@program
def in_place(a: Buffer(({n},), "float32"), c: Buffer(({n},), "float32")):
    for i in serial({n}):
        with block("c"):
            v_i = spatial({n}, i)
            reads(c[v_i], a[v_i])
            writes(c[v_i])
            c[v_i] = c[v_i] + a[v_i]
"""
    )


def rolled() -> Schedule:
    """``c`` reads a window of ``b`` that moves with it; ``d = 2 c``."""
    a = te.placeholder((10,), "float32", name="a")
    b = te.compute((10,), lambda i: a[i] + 1.0, name="b")
    c = te.compute((8,), lambda i: b[i] + b[i + 2], name="c")
    d = te.compute((8,), lambda i: c[i] * 2.0, name="d")
    sch = Schedule(te.program([a, d], name="rolled"))
    block = sch.get_block("b")
    sch.compute_at(block, sch.get_loops(sch.get_block("c"))[0])
    sch.rolling_buffer(block, 0)
    return sch


def gathered() -> Program:
    """Rows of a table at doubled places that another table holds."""
    return parse(
        """@program
def gathered(t: Buffer((8,), "int64"), a: Buffer((9,), "float32"), b: Buffer((4,), "float32")):
    for i in serial(4):
        with block("b"):
            v_i = spatial(4, i)
            reads(a[0:9], t[v_i * 2])
            writes(b[v_i])
            b[v_i] = a[t[v_i * 2] % 3 + v_i // 2]
"""
    )
