"""auto_inline: cheap elementwise stages are computed where they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.ir.stmt import Block, annotation
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import (
    consumers,
    has_condition,
    intrinsics,
    is_injective_read,
    is_ordered_read,
    is_root,
    is_spatial,
    same_point,
    single_store,
    writes_output,
)
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref

KEEP: Final = "meta_schedule.keep"
"""Note on a block that is to stay a stage of its own."""

_COSTLY = ("erf", "exp", "log", "pow", "rsqrt", "sigmoid", "sqrt", "tanh")


@final
@dataclass(frozen=True, slots=True)
class AutoInline(AbstractRule):
    """Inline spatial blocks into the blocks that read them.

    Attributes:
        disallow_if_then_else: keep stages that choose between values, such as padding, whose
            condition would else sit in the innermost loop of their reader.
        require_injective: keep stages that read by more than distinct variables and offsets.
        require_ordered: keep stages that permute dimensions. MetaSchedule keeps them on CPUs; here
            they are inlined, because tiling packs permuted operands where that pays.
        disallow_op: intrinsics that are not to be computed again and again. A stage that calls one
            is still inlined into a single reader that reads each element once.
    """

    name: ClassVar[str] = "auto_inline"
    disallow_if_then_else: bool = True
    require_injective: bool = True
    require_ordered: bool = False
    disallow_op: tuple[str, ...] = _COSTLY

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """See the attributes; outputs and reductions always stay."""
        if is_root(state, block):
            return "the root block"
        if not is_spatial(block) or block.init is not None or single_store(block) is None:
            return "reduces or stores more than once"
        readers = consumers(state, block)
        if writes_output(state, block) or not readers:
            return "writes an output"
        if annotation(block.annotations, KEEP) is not None:
            return "noted to be kept"
        if any(r.buffer.scope != "global" for r in (*block.reads, *block.writes)):
            return "copies to or from a memory of its own"
        if self.disallow_if_then_else and has_condition(block):
            return "chooses between values"
        if self.require_injective and not all(is_injective_read(r) for r in block.reads):
            return "reads by more than distinct variables"
        if self.require_ordered and not all(is_ordered_read(r, block.iters) for r in block.reads):
            return "permutes dimensions"
        if set(self.disallow_op) & intrinsics(block) and not _read_once(block, readers):
            return "calls a costly intrinsic that would be computed again"
        return None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Inline the block."""
        schedule.compute_inline(block)
        return [schedule]


def _read_once(block: Block, readers: list[Block]) -> bool:
    return len(readers) == 1 and all(same_point(readers[0], r.buffer) for r in block.writes)


RULES.register(AutoInline.name, AutoInline)
