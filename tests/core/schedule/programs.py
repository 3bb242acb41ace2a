"""Small programs that the schedule tests share."""

from __future__ import annotations

from metasched import ops, te
from metasched.ir.dtype import FLOAT32
from metasched.ir.expr import Buffer, Expr, Var, const, select
from metasched.ir.regions import element_regions, read_accesses, write_accesses
from metasched.ir.stmt import Block, For, IterVar, Program, Store
from metasched.ir.verify import verify
from metasched.schedule.schedule import Schedule
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_round_trip


def matmul(m: int = 8, n: int = 6, k: int = 4) -> Program:
    return ops.matmul(m=m, n=n, k=k)


def copy(*shape: int) -> Program:
    a = te.placeholder(shape, "float32", name="a")
    b = te.compute(shape, lambda *i: a[i] + 1.0, name="b")
    return te.program([a, b], name="copy")


def two_stages(n: int = 6, m: int = 8) -> Program:
    """``b = a + 1``, then ``c = b * 2``."""
    a = te.placeholder((n, m), "float32", name="a")
    b = te.compute((n, m), lambda i, j: a[i, j] + 1.0, name="b")
    c = te.compute((n, m), lambda i, j: b[i, j] * 2.0, name="c")
    return te.program([a, c], name="two_stages")


def dynamic() -> Program:
    """A copy of a vector whose length is known at run time only."""
    n = te.var("n")
    a = te.placeholder((n,), "float32", name="a")
    b = te.compute((n,), lambda i: a[i] + 1.0, name="b")
    return te.program([a, b], name="dynamic")


def check(schedule: Schedule, **sizes: int) -> None:
    """The program is well formed and keeps the result; the schedule survives its trace."""
    verify(schedule.program)
    check_round_trip(schedule)
    check_equivalent(schedule.original, schedule.program, sizes=sizes or None)


def body(schedule: Schedule) -> str:
    """The printed program without its signature and indentation of a function."""
    lines = str(schedule.program).splitlines()[2:]
    return "\n".join(line.removeprefix("    ") for line in lines) + "\n"


def triangle(n: int = 4) -> Program:
    """A copy of the part of a matrix below the diagonal; the inner extent is a loop variable."""
    i, j, vi, vj = Var("i"), Var("j"), Var("v_i"), Var("v_j")
    a = Buffer("a", (const(n), const(n)), FLOAT32)
    b = Buffer("b", (const(n), const(n)), FLOAT32)
    iters = (IterVar(vi, const(n), "spatial", i), IterVar(vj, const(n), "spatial", j))
    return _program((a, b), (i, const(n)), (j, i), iters, Store(b, (vi, vj), a[vi, vj]))


def scan(n: int = 4) -> Program:
    """Each element depends on the one above to the right: iterations must stay in order."""
    i, j, vi, vj = Var("i"), Var("j"), Var("v_i"), Var("v_j")
    a = Buffer("a", (const(n + 1), const(n + 1)), FLOAT32)
    b = Buffer("b", (const(n + 1), const(n + 1)), FLOAT32)
    iters = (IterVar(vi, const(n), "opaque", i), IterVar(vj, const(n), "opaque", j))
    value = a[vi, vj] + select(vi < 1, const(0.0, FLOAT32), b[vi - 1, vj + 1])
    return _program((a, b), (i, const(n)), (j, const(n)), iters, Store(b, (vi, vj), value))


def _program(
    params: tuple[Buffer, ...],
    outer: tuple[Var, Expr],
    inner: tuple[Var, Expr],
    iters: tuple[IterVar, ...],
    store: Store,
) -> Program:
    reads, writes = element_regions(read_accesses(store)), element_regions(write_accesses(store))
    block = Block("b", iters, reads, writes, store)
    nest = For(*outer, For(*inner, block))
    return Program("main", params, Block("root", (), (), (), nest))
