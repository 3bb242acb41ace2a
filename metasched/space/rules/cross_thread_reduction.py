"""cross_thread_reduction: the threads of a block share the terms of one sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.errors import ScheduleError
from metasched.ir.stmt import Block, annotation
from metasched.ir.walk import free_vars, substitute
from metasched.schedule.primitives.loop_nest import is_unit
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.binding import ACROSS
from metasched.space.loop_choice import reducing_vars
from metasched.space.patterns import (
    consumers,
    domain_size,
    is_reduction,
    is_root,
    iter_loops,
    single_store,
    writes_output,
)
from metasched.space.rules.multi_level_tiling import TILED
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref


@final
@dataclass(frozen=True, slots=True)
class CrossThreadReduction(AbstractRule):
    """Note that a reduction goes across threads, in a kernel of its own or in its reader's.

    Attributes:
        least_terms: shortest sum that is shared.
        variants: what to offer, of "plain", "across" and "fused".
    """

    name: ClassVar[str] = "cross_thread_reduction"
    least_terms: int = 32
    variants: tuple[str, ...] = ("plain", "across", "fused")

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Tiled blocks, short sums and blocks not bound to loops of their own stay."""
        if is_root(state, block):
            return "the root block"
        if annotation(block.annotations, TILED) is not None:
            return "tiled"
        if annotation(block.annotations, ACROSS) is not None:
            return "shared already"
        if not is_reduction(block) or single_store(block) is None:
            return "no reduction into one buffer"
        terms = domain_size(block, "reduce")
        if iter_loops(state, block) is None or terms is None:
            return "its variables are not bound to constant loops of their own"
        return "too short to share" if terms < self.least_terms else None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """One schedule for each variant that is possible."""
        found = {
            "plain": lambda: schedule.copy(),
            "across": lambda: _noted(schedule.copy(), block),
            "fused": lambda: _fused(schedule.copy(), block),
        }
        made = [found[variant]() for variant in self.variants]
        return [one for one in made if one is not None]


def _noted(schedule: Schedule, block: Ref) -> Schedule:
    schedule.annotate(block, ACROSS, 1)
    return schedule


def _fused(schedule: Schedule, block: Ref) -> Schedule | None:
    """The reduction in the nest of its readers, its results in shared memory."""
    state = schedule.state
    found = state.block(str(schedule.value(block)))
    readers = consumers(state, found)
    if writes_output(state, found) or not readers:
        return None
    depth = _shared_depth(state, found, readers[-1])
    left = state.loops_above(readers[-1])[depth:]
    if not depth or all(is_unit(loop) for loop in left):
        return None
    loop = schedule.get_loops(schedule.get_block(readers[-1].name))[depth - 1]
    try:
        schedule.compute_at(block, loop, preserve_unit_loops=True)
        schedule.set_scope(block, 0, "shared")
    except ScheduleError:
        return None
    return _noted(schedule, block)


def _shared_depth(state: State, block: Block, reader: Block) -> int:
    """How many outer loops of a reader determine which results it reads."""
    values = {it.var: it.binding for it in reader.iters}
    written = {r.buffer for r in block.writes}
    used = {
        v
        for region in reader.reads
        if region.buffer in written
        for low, _ in region.ranges
        for v in free_vars(substitute(low, values))
    }
    reducing = reducing_vars(reader)
    depth = 0
    for loop in state.loops_above(reader):
        if loop.var not in used or loop.var in reducing:
            break
        depth += 1
    return depth


RULES.register(CrossThreadReduction.name, CrossThreadReduction)
