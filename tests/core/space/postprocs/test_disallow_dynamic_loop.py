from __future__ import annotations

from dataclasses import replace

from metasched import ops, te
from metasched.ir.expr import Var
from metasched.ir.stmt import For, Program
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import DisallowDynamicLoop, Rejected, postprocess
from metasched.space.postprocs.postproc import POSTPROCS
from tests.core.space.outline import TARGET


def finish(program: Program) -> Schedule | Rejected:
    return postprocess(Schedule(program), (DisallowDynamicLoop(),), TARGET)


def triangular() -> Program:
    """``for i in 8: for j in i + 1``, which no primitive makes of a program of te."""
    program = ops.gelu(m=8, n=8)
    outer = program.root.body
    assert isinstance(outer, For)
    assert isinstance(outer.body, For)
    inner = replace(outer.body, extent=outer.var + 1)
    return replace(program, root=replace(program.root, body=replace(outer, body=inner)))


def test_constant_loops_pass() -> None:
    assert isinstance(finish(ops.gelu(m=8, n=8)), Schedule)


def test_sizes_of_the_program_pass() -> None:
    n: Var = te.var("n")
    x = te.placeholder((n,), name="x")
    assert isinstance(finish(te.program([x, te.compute((n,), lambda i: x[i] + 1.0)])), Schedule)


def test_an_extent_that_depends_on_a_loop_is_rejected() -> None:
    reason = "a loop's extent depends on another loop"
    assert finish(triangular()) == Rejected("disallow_dynamic_loop", reason)


def test_registered() -> None:
    assert POSTPROCS["disallow_dynamic_loop"] is DisallowDynamicLoop
