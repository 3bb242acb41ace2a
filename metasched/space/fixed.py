"""A schedule that is no longer open: its trace with constants in place of sampling steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias, cast

from metasched.errors import TraceError
from metasched.ir.stmt import Program
from metasched.schedule.arguments import check_arguments, known_kind
from metasched.schedule.primitives.compute_at import INLINE, ROOT
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import Categorical
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Decision, Input, Instruction, Ref, map_refs
from metasched.trace.trace import Trace

_Values: TypeAlias = "dict[Ref, Ref | int | float | str]"
_INLINED_BY = {"compute_at": "compute_inline", "reverse_compute_at": "reverse_compute_inline"}


def fix(trace: Trace, program: Program) -> Schedule:
    """The schedule of a trace, recorded without a sampling step.

    Raises:
        TraceError: a decision is missing or not legal here, or a step is malformed.
        ScheduleError: a step was refused.
    """
    schedule = Schedule(program)
    values: _Values = {}
    for index, step in enumerate(trace.instructions):
        if not known_kind(step.kind):
            raise TraceError(f"instruction {index}: unknown primitive '{step.kind}'")
        given = _with_values(step, values)
        if step.kind in SAMPLERS:
            check_arguments(given, schedule.resolve(given))
            values.update(_outcome(schedule, given, index, trace.decisions.get(index)))
        elif step.kind != "enter_postproc":
            _take(schedule, given, values)
    return schedule


def _with_values(step: Instruction, values: _Values) -> Instruction:
    inputs = tuple(cast(Input, map_refs(v, lambda ref: values.get(ref, ref))) for v in step.inputs)
    return Instruction(step.kind, inputs, step.attrs, step.outputs)


def _take(schedule: Schedule, step: Instruction, values: _Values) -> None:
    """One step, with handles of its own; a place that is no loop is taken as what it means."""
    if step.kind in _INLINED_BY and step.inputs[1] in (INLINE, ROOT):
        if step.inputs[1] == INLINE:
            schedule.run(Instruction(_INLINED_BY[step.kind], step.inputs[:1], (), ()))
        return
    check_arguments(step, schedule.resolve(step))
    made = schedule.run(replace(step, outputs=()))
    if len(made) != len(step.outputs):
        raise TraceError(
            f"{step.kind}: expected {len(step.outputs)} outputs as in the trace, got {len(made)}; "
            "the trace belongs to another program"
        )
    values.update(zip(step.outputs, made, strict=True))


def _outcome(
    schedule: Schedule, step: Instruction, index: int, decision: Decision | None
) -> _Values:
    """What the outputs of a sampling step stand for."""
    site = schedule.offer(step)
    if decision is None or not site.contains(decision):
        raise TraceError(
            f"instruction {index}: a fixed schedule needs a decision that is legal here, "
            f"got {decision} for {site}"
        )
    if isinstance(site, Categorical):
        assert isinstance(decision, int)
        return {step.outputs[0]: site.candidates[decision]}
    if isinstance(decision, tuple):
        return dict(zip(step.outputs, decision, strict=True))
    if decision < 0:
        return {step.outputs[0]: INLINE if decision == -2 else ROOT}
    reader = schedule.get_consumers(cast(Ref, step.inputs[0]))[0]
    return {step.outputs[0]: schedule.get_loops(reader)[decision]}
