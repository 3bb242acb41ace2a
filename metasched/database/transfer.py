"""Replays a record's trace on another program than the one that it was tuned on.

Steps name blocks and check their own preconditions, so a trace that does not fit is refused, and
one that fits keeps the meaning of the program. How fast the result is nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, log

from metasched.database.fitting import fitted
from metasched.database.records import TuningRecord
from metasched.errors import DatabaseError, MetaschedError
from metasched.ir.canonical import canonical
from metasched.ir.expr import Buffer, int_value
from metasched.ir.loose import anchor
from metasched.ir.stmt import Block, Program, Stmt
from metasched.ir.walk import (
    as_block,
    blocks,
    fresh_name,
    map_stmts,
    names,
    replace_buffers,
    stores,
)
from metasched.schedule.arguments import check_arguments, known_kind
from metasched.schedule.replay import replay
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.schedule import Schedule
from metasched.target import Target
from metasched.trace.instruction import Decision, Instruction, Ref, refs_in
from metasched.trace.trace import Trace


def onto_same_structure(record: TuningRecord, original: Program, asked: Program) -> Program:
    """Return ``asked``, which differs from ``original`` in constants, with the record's schedule.

    Raises:
        DatabaseError: the structures differ after all.
        TraceError: the trace is malformed or does not fit.
        ScheduleError: a step was refused.
    """
    return replay(Trace.from_json(record.trace), renamed_like(asked, original)).program


def onto_shape(record: TuningRecord, original: Program, asked: Program, target: Target) -> Schedule:
    """Return ``asked``, which differs from ``original`` in sizes, with the record's schedule.

    Raises:
        DatabaseError: the structures differ after all.
        TraceError: the trace is malformed or does not fit.
        ScheduleError: a step was refused.
    """
    trace = Trace.from_json(record.trace)
    return fitted(trace, renamed_like(asked, original), target)


def shape_distance(asked: Program, other: Program | None) -> float:
    """Return how far apart the sizes of two programs' parameters are, on a scale of ratios."""
    if other is None or len(other.params) != len(asked.params):
        return inf
    pairs = zip(asked.params, other.params, strict=True)
    sizes = [(a, b) for p, q in pairs for a, b in zip(p.shape, q.shape, strict=False)]
    return sum(abs(log((int_value(a) or 1) / (int_value(b) or 1))) for a, b in sizes)


def renamed_like(asked: Program, original: Program) -> Program:
    """Return ``asked`` with the names that ``original`` has in the same places.

    Raises:
        DatabaseError: they have other blocks, intermediates or parameters.
    """
    ours, theirs = blocks(asked.root), blocks(original.root)
    same = len(ours) == len(theirs) and len(asked.params) == len(original.params)
    if not same or len(asked.root.allocs) != len(original.root.allocs):
        raise DatabaseError(f"'{asked.name}' has other blocks than '{original.name}'")
    places = zip(canonical(asked).order, canonical(original).order, strict=True)
    buffers = {asked.params[i]: original.params[j].name for i, j in places}
    buffers |= {
        mine: other.name
        for mine, other in zip(asked.root.allocs, original.root.allocs, strict=True)
    }
    return _renamed(asked, {a.name: b.name for a, b in zip(ours, theirs, strict=True)}, buffers)


def onto_anchor(
    record: TuningRecord, original: Program, asked: Program
) -> tuple[Program, tuple[str, ...]]:
    """Return ``asked`` with those steps of the record's trace that concern the anchor block.

    Returns:
        The program, and the steps that were left out, each with the reason.

    Raises:
        DatabaseError: one of the programs has no anchor.
        TraceError: the trace is malformed.
        ScheduleError: no step fits.
    """
    mine, theirs = anchor(asked), anchor(original)
    if mine is None or theirs is None:
        raise DatabaseError(f"'{asked.name}' or '{original.name}' has no reduction to go by")
    taken = names(asked.root)
    wanted = {mine.name: theirs.name}
    clashing = [b.name for b in blocks(asked.root) if b.name == theirs.name and b is not mine]
    wanted |= {name: fresh_name(f"{name}_own", taken) for name in clashing}
    buffers = {stores(mine)[0].buffer: stores(theirs)[0].buffer.name}
    buffers |= {
        buffer: fresh_name(f"{buffer.name}_own", taken)
        for buffer in (*asked.params, *asked.root.allocs)
        if buffer.name in buffers.values() and buffer not in buffers
    }
    trace = Trace.from_json(record.trace)
    schedule, dropped = replay_what_fits(trace, _renamed(asked, wanted, buffers))
    if len(dropped) == len(trace.instructions):
        raise DatabaseError(f"no step of the record's trace fits '{asked.name}'")
    return schedule.program, dropped


def replay_what_fits(trace: Trace, program: Program) -> tuple[Schedule, tuple[str, ...]]:
    """Apply each step that can be applied; one that needs what a dropped step made is dropped too.

    Returns:
        The schedule, and the steps that were left out, each with the reason.
    """
    schedule = Schedule(program)
    defined: set[Ref] = set()
    dropped: list[str] = []
    for index, step in enumerate(trace.instructions):
        missing = [ref for value in step.inputs for ref in refs_in(value) if ref not in defined]
        if missing:
            reason = f"needs {missing[0]}, which is not there"
        else:
            reason = _try(schedule, step, trace.decisions.get(index))
        if reason:
            dropped.append(f"{step.kind}: {reason}")
        else:
            defined.update(step.outputs)
    return schedule, tuple(dropped)


def _try(schedule: Schedule, step: Instruction, decision: Decision | None) -> str:
    """Apply a step; return why it was refused, else nothing."""
    if not known_kind(step.kind):
        return "no such primitive"
    if step.kind in SAMPLERS and decision is None:
        return "has no decision"
    try:
        check_arguments(step, schedule.resolve(step))
        schedule.run(step, decision)
    except MetaschedError as error:
        return str(error).splitlines()[0]
    return ""


def _renamed(program: Program, of: Mapping[str, str], buffers: Mapping[Buffer, str]) -> Program:
    """The program with blocks and buffers renamed."""
    new = {buffer: replace(buffer, name=name) for buffer, name in buffers.items()}

    def visit(stmt: Stmt) -> Stmt:
        stmt = map_stmts(stmt, visit)
        if isinstance(stmt, Block) and stmt.name in of:
            return replace(stmt, name=of[stmt.name])
        return stmt

    root = as_block(replace_buffers(visit(program.root), new))
    return replace(program, params=tuple(new.get(p, p) for p in program.params), root=root)
