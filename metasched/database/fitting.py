"""Fits a trace that was tuned on one shape to a program of another.

Tile sizes are what has to change. A tile that no longer divides its loop either *covers* it (inner
factors stay, the outermost grows, and a condition guards the rest) or *divides* it (the nearest
factors that do). Which is faster depends on the program, so who can measure tries both.
"""

from __future__ import annotations

from enum import StrEnum
from math import prod
from typing import cast

import numpy as np

from metasched.errors import ScheduleError, TraceError
from metasched.ir.stmt import Program
from metasched.schedule.arguments import check_arguments, known_kind
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import PerfectTile, factorisations
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import Rejected, postprocess
from metasched.space.space import Space
from metasched.target import Target
from metasched.trace.instruction import Decision, Input, Instruction, Ref, map_refs
from metasched.trace.trace import Trace


class Fit(StrEnum):
    """What becomes of a tile that does not divide its loop."""

    COVER = "cover"
    DIVIDE = "divide"


def fitted(trace: Trace, program: Program, target: Target, fit: Fit = Fit.COVER) -> Schedule:
    """Return the schedule of a trace on a program of another shape.

    What postprocessors did is left out and done again, since it depends on the extents.

    Raises:
        TraceError: a step is malformed, or a decision is not legal here.
        ScheduleError: a step was refused.
    """
    schedule = Schedule(program)
    constants: dict[Ref, int] = {}
    source = trace.without_postproc()
    for index, step in enumerate(source.instructions):
        _apply(schedule, constants, step, source.decisions.get(index), fit)
    done = postprocess(schedule, Space.default(target.kind).postprocs_on(target), target)
    if isinstance(done, Rejected):
        raise ScheduleError(f"the trace does not fit '{program.name}': {done.reason}")
    return done


def _apply(
    schedule: Schedule,
    constants: dict[Ref, int],
    step: Instruction,
    decision: Decision | None,
    fit: Fit,
) -> None:
    if not known_kind(step.kind):
        raise TraceError(f"unknown primitive '{step.kind}'")
    step = _with_constants(step, constants)
    check_arguments(step, schedule.resolve(step))
    if step.kind not in SAMPLERS:
        schedule.run(step)
        return
    if decision is None:
        raise TraceError(f"{step.kind} needs a decision, and the trace holds none")
    site = schedule.offer(step)
    if site.contains(decision) or not isinstance(site, PerfectTile):
        schedule.run(step, decision)
        return
    factors = decision if isinstance(decision, tuple) else (decision,)
    if len(factors) != site.n or min(factors) < 1:
        raise TraceError(f"{step.kind}: expected {site.n} factors, got {decision}")
    if fit is Fit.DIVIDE:
        schedule.run(step, nearest_factors(site, factors))
    else:
        constants.update(zip(step.outputs, covering_factors(site.extent, factors), strict=True))


def _with_constants(step: Instruction, constants: dict[Ref, int]) -> Instruction:
    inputs = tuple(
        cast(Input, map_refs(value, lambda ref: constants.get(ref, ref))) for value in step.inputs
    )
    return Instruction(step.kind, inputs, step.attrs, step.outputs)


def covering_factors(extent: int, factors: tuple[int, ...]) -> tuple[int, ...]:
    """Return factors with the inner ones as given, as far as the extent reaches, that cover it.

    >>> covering_factors(100, (4, 2, 8))
    (7, 2, 8)
    >>> covering_factors(3, (4, 2, 8))
    (1, 1, 3)
    """
    inner: list[int] = []
    left = extent
    for factor in reversed(factors[1:]):
        inner.insert(0, min(factor, left))
        left = -(-left // inner[0])
    return left, *inner


def nearest_factors(site: PerfectTile, factors: tuple[int, ...]) -> tuple[int, ...]:
    """Return the factors that divide the extent and are nearest, on a scale of ratios.

    The outermost factor does not count, since it only repeats the tile.

    >>> nearest_factors(PerfectTile(12, 2, 16), (4, 5))
    (3, 4)
    """
    table = factorisations(site.extent, site.n, site.max_innermost)
    distance = np.abs(np.log(table[:, 1:]) - np.log(np.array(factors[1:]))).sum(axis=1)
    row = table[int(distance.argmin())]
    assert prod(row.tolist()) == site.extent
    return tuple(int(factor) for factor in row)
