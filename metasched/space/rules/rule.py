"""What a rule is, and the registry of rules. Read `inline_constant_scalars.py` as the example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from metasched.ir.stmt import Block
from metasched.registry import Registry
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.target import Target
from metasched.trace.instruction import Ref


class AbstractRule(ABC):
    """One way to transform a block, applied to every block of a program in post order.

    A member is a frozen dataclass whose fields are its options. `metasched.space.generate` calls it
    in the tuning process, once for each draft and block: first `refusal`, and `apply` where that is
    None. Decisions are placeholders at that time, so what a rule does must depend on the structure
    of the program only, never on sampled sizes. Nothing may be kept between calls.
    """

    name: ClassVar[str]

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Why the rule leaves a block alone, for reports; None when it applies."""
        return None

    @abstractmethod
    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """The schedules that take the place of this one.

        Args:
            schedule: the rule's own copy; it may be changed and be among the results.
            block: a handle of it.
            target: the machine.
        """


RULES = Registry[type[AbstractRule]]("rule")
