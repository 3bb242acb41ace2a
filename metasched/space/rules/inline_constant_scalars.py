"""inline_constant_scalars: a stage that only names a constant disappears into its readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.expr import int_value
from metasched.ir.simplify import product
from metasched.ir.stmt import Block
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.patterns import consumers, is_root, single_store, writes_output
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref


@final
@dataclass(frozen=True, slots=True)
class InlineConstantScalars(AbstractRule):
    """Inline blocks that store one element and read nothing."""

    name: ClassVar[str] = "inline_constant_scalars"

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Blocks that read, that store more than one element or that write an output stay."""
        store = single_store(block)
        if is_root(state, block):
            return "the root block"
        if block.reads or block.init is not None or store is None:
            return "computes from other values"
        if int_value(product(store.buffer.shape)) != 1:
            return "stores more than one element"
        if writes_output(state, block) or not consumers(state, block):
            return "writes an output"
        return None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Inline the block."""
        schedule.compute_inline(block)
        return [schedule]


RULES.register(InlineConstantScalars.name, InlineConstantScalars)
