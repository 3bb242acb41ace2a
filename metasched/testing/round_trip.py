"""Whether a schedule survives its trace: as JSON, as Python text, simplified and symbolic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from metasched.ir.expr import Expr, Var, const
from metasched.ir.hash import structural_equal
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Block, For, If, IterVar, Program, Stmt, Store
from metasched.ir.walk import (
    map_region,
    map_stmts,
    replace_buffers,
    substitute,
    substitute_stmt,
)
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Symbolic
from metasched.schedule.schedule import Schedule
from metasched.trace.trace import Trace


def check_round_trip(schedule: Schedule) -> None:
    """Repeat a schedule from its trace in every form and compare the programs.

    Raises:
        AssertionError: a form does not read back, or gives another program.
    """
    trace, program = schedule.trace, schedule.program
    read = Trace.from_json(trace.to_json())
    assert read == trace, f"JSON reads back as\n{read}\ninstead of\n{trace}"
    again = replay(read, schedule.original)
    _same(again.program, program, "replayed from JSON")
    assert str(again.program) == str(program), "the replayed program has another text"
    assert again.trace == trace, "the replay has another trace"
    _same(_run_python(trace, schedule.original).program, program, "run from Python text")
    _same(replay(trace.simplified(), schedule.original).program, program, "simplified")


def check_symbolic_replay(schedule: Schedule) -> None:
    """Replay with symbolic tiles, then give the symbols their values, and compare the programs.

    Raises:
        AssertionError: the programs differ after simplification.
    """
    trace = schedule.trace
    symbolic = replay(trace, schedule.original, choices=Symbolic(dict(trace.decisions)))
    values = {
        Var(f"t{index}_{k}"): const(factor)
        for index, decision in trace.decisions.items()
        if isinstance(decision, tuple)
        for k, factor in enumerate(decision)
    }
    given = normalised(_substituted(symbolic.program, values))
    wanted = normalised(schedule.program)
    assert structural_equal(given, wanted), f"symbolic replay gives\n{given}\ninstead of\n{wanted}"


def normalised(program: Program) -> Program:
    """The program with every integer expression simplified under the ranges in its scope."""
    root = _normalise(program.root, {})
    assert isinstance(root, Block), "a block stays one"
    return replace(program, root=root)


def _normalise(stmt: Stmt, ranges: Mapping[Var, Expr]) -> Stmt:
    simplify = Simplifier(ranges)

    def inner(node: Stmt) -> Stmt:
        return _normalise(node, ranges)

    match stmt:
        case For():
            extent = simplify(stmt.extent)
            body = _normalise(stmt.body, {**ranges, stmt.var: extent})
            return replace(stmt, extent=extent, body=body)
        case Block():
            return _normalise_block(stmt, ranges, simplify)
        case Store():
            indices = tuple(simplify(i) for i in stmt.indices)
            return Store(stmt.buffer, indices, simplify(stmt.value))
        case If():
            return replace(map_stmts(stmt, inner), cond=simplify(stmt.cond))
        case _:
            return map_stmts(stmt, inner)


def _normalise_block(
    block: Block, ranges: Mapping[Var, Expr], simplify: Callable[[Expr], Expr]
) -> Block:
    iters = tuple(
        IterVar(it.var, simplify(it.extent), it.kind, simplify(it.binding)) for it in block.iters
    )
    known = {**ranges, **{it.var: it.extent for it in iters}}
    under = Simplifier(known)
    return replace(
        block,
        iters=iters,
        predicate=simplify(block.predicate),
        reads=tuple(map_region(r, under) for r in block.reads),
        writes=tuple(map_region(r, under) for r in block.writes),
        init=None if block.init is None else _normalise(block.init, known),
        body=_normalise(block.body, known),
    )


def _substituted(program: Program, values: Mapping[Var, Expr]) -> Program:
    """The program with symbols replaced, in the shapes of intermediates too."""
    shaped = {
        b: replace(b, shape=tuple(substitute(size, values) for size in b.shape))
        for b in program.root.allocs
    }
    root = replace_buffers(substitute_stmt(program.root, values), shaped)
    assert isinstance(root, Block), "a block stays one"
    return replace(program, root=root)


def _run_python(trace: Trace, program: Program) -> Schedule:
    schedule = Schedule(program)
    names: dict[str, Any] = {}
    exec(trace.as_python(), names)
    names["apply"](schedule)
    return schedule


def _same(given: Program, wanted: Program, how: str) -> None:
    assert given == wanted, f"the schedule {how} gives\n{given}\ninstead of\n{wanted}"
