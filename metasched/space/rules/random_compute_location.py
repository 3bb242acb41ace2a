"""random_compute_location: where a stage of its own nest is computed is left to the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.stmt import Block, annotation
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State, blocks_under
from metasched.space.patterns import consumers, is_root, writes_output
from metasched.space.rules.multi_level_tiling import TILED
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref


@final
@dataclass(frozen=True, slots=True)
class RandomComputeLocation(AbstractRule):
    """Sample a loop of its readers, or its own place, for a block that is alone in its nest.

    Blocks come in post order with readers first, so a chain of stages can end in one nest.
    """

    name: ClassVar[str] = "random_compute_location"

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Tiled blocks, outputs and blocks that share their nest stay."""
        if is_root(state, block):
            return "the root block"
        if annotation(block.annotations, TILED) is not None:
            return "tiled"
        if writes_output(state, block) or not consumers(state, block):
            return "writes an output"
        loops = state.loops_above(block)
        if not loops or state.scope(block) is not state.program.root:
            return "not in a nest under the root"
        if len(list(blocks_under(loops[0]))) != 1:
            return "shares its nest with another block"
        return None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Sample a location and move the block there."""
        location = schedule.sample_compute_location(block)
        schedule.compute_at(block, location, preserve_unit_loops=True)
        return [schedule]


RULES.register(RandomComputeLocation.name, RandomComputeLocation)
