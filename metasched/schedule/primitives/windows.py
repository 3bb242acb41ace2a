"""Windows of a buffer that the iterations of loops make, and how far those overlap.

`rolling_buffer` keeps what overlaps.
"""

from __future__ import annotations

from dataclasses import dataclass

from metasched.analysis.facts import Facts
from metasched.ir.expr import (
    Expr,
    Var,
    add,
    const,
    int_value,
    less,
    less_equal,
    logical_or,
    sub,
)
from metasched.ir.stmt import For
from metasched.ir.walk import free_vars, substitute
from metasched.schedule.primitives.placement import Placed, Refusal


@dataclass(frozen=True, slots=True)
class Overlap:
    """A loop whose windows overlap along an axis: how many rows are old, and which one is made."""

    loop: For
    axis: int
    old: Expr
    row: Expr

    @property
    def fresh(self) -> Expr:
        """Whether the row is made for the first time."""
        first = less(self.loop.var, const(1, self.loop.var.dtype))
        return logical_or(first, less_equal(self.old, self.row))


@dataclass(frozen=True, slots=True)
class Window:
    """What one iteration of the shared loops makes along an axis, and the index it makes it at."""

    low: Expr
    size: Expr
    index: Expr

    def step(self, known: Facts, loop: For) -> Expr:
        """How far an iteration of a loop moves the window."""
        after = substitute(self.low, {loop.var: add(loop.var, 1)})
        return known.simplify(sub(after, self.low))


def windows_of(known: Facts, placed: Placed, shared: list[For]) -> list[Window] | Refusal:
    """The window along each axis that a block makes in one iteration of the shared loops."""
    (made,) = placed.block.writes
    inner = placed.inside(tuple(loop.var for loop in shared))
    indices = [substitute(low, placed.bindings) for low, _ in made.ranges]
    ranges = [known.relax(index, inner) for index in indices]
    found = [
        Window(pair[0], pair[1], index)
        for pair, index in zip(ranges, indices, strict=True)
        if pair is not None
    ]
    single = all(int_value(extent) == 1 for _, extent in made.ranges)
    varying = [v for v in inner if free_vars(known.ranges[v]) & set(placed.loops)]
    if not single or varying or len(found) < len(indices) or not known.is_dense(indices, inner):
        rule = "windows of a fixed size that are made completely"
        return Refusal(rule, f"'{made.buffer.name}' written at {made}", placed.block.name)
    return found


def overlaps_of(
    known: Facts, shared: list[For], windows: list[Window]
) -> tuple[Overlap, ...] | Refusal:
    """The overlaps of the loops from the outermost rolling one on, that one first."""
    drivers = [free_vars(window.low) for window in windows]
    moved = [_moved(known, loop, windows, drivers) for loop in shared]
    found = [_overlap(known, loop, windows, axes) for loop, axes in zip(shared, moved, strict=True)]
    for position, overlap in enumerate(found):
        inside = shared[position + 1 :]
        if overlap is None or any(overlap.axis in axes for axes in moved[position + 1 :]):
            continue
        if other := [x for x in (overlap.loop, *inside) if x.kind not in ("serial", "unrolled")]:
            given = f"'{other[0].var.name}', which is {other[0].kind}"
            rule = "serial or unrolled loops from the rolling one on"
            return Refusal(rule, given, other[0].var.name)
        rolling = {loop.var for loop in shared[position:]}
        if other := [x for x in inside if free_vars(x.extent) & rolling]:
            given = f"the extent {other[0].extent} of '{other[0].var.name}'"
            rule = "windows of a fixed size that are made completely"
            return Refusal(rule, given, other[0].var.name)
        return tuple(x for x in found[position:] if x is not None)
    given = f"windows of {' x '.join(str(w.size) for w in windows)}"
    hint = "compute the producer at the loop that moves the window of its reader"
    rule = "a loop whose windows overlap along one axis"
    return Refusal(rule, given, shared[-1].var.name, hint)


def _moved(
    known: Facts, loop: For, windows: list[Window], drivers: list[set[Var]]
) -> dict[int, Expr]:
    """The axes along which a loop moves the window, and how far."""
    if int_value(loop.extent) == 1:
        return {}
    driven = [axis for axis, found in enumerate(drivers) if loop.var in found]
    steps = {axis: windows[axis].step(known, loop) for axis in driven}
    return {axis: step for axis, step in steps.items() if int_value(step) != 0}


def _overlap(
    known: Facts, loop: For, windows: list[Window], axes: dict[int, Expr]
) -> Overlap | None:
    if len(axes) != 1:
        return None
    ((axis, step),) = axes.items()
    window = windows[axis]
    old = known.simplify(sub(window.size, step))
    forward = known.nonneg(sub(step, 1)) and known.nonneg(sub(old, 1))
    if not forward or free_vars(old) & known.ranges.keys():
        return None
    return Overlap(loop, axis, old, known.simplify(sub(window.index, window.low)))
