"""apply_custom_rule: single blocks have a rule of their own, and no other rule touches them.

The block says so by the annotation `schedule_rule`, or the rule by the name of the block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, cast, final

from metasched.errors import UsageError
from metasched.ir.stmt import Block, annotation
from metasched.registry import Registry
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref

SCHEDULE_RULE: Final = "schedule_rule"
BlockFunction: TypeAlias = "Callable[[Schedule, Ref], object]"

CUSTOM_RULES = Registry[AbstractRule]("custom rule")
"""What the annotation `schedule_rule` names."""


@final
@dataclass(frozen=True, slots=True)
class LeaveAlone(AbstractRule):
    """The block stays as it is."""

    name: ClassVar[str] = "leave_alone"

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Nothing to do."""
        return [schedule]


@final
@dataclass(frozen=True, slots=True)
class CallFunction(AbstractRule):
    """What a function of the user does to the block.

    Attributes:
        function: takes the schedule and the block; it changes the schedule in place and returns
            nothing, or returns a schedule or a list of schedules to go on with.
    """

    function: BlockFunction
    name: ClassVar[str] = "call_function"

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Call the function.

        Raises:
            UsageError: it returned something else.
        """
        result = self.function(schedule, block)
        if result is None:
            return [schedule]
        results = cast("list[Any]", result) if isinstance(result, list) else [result]
        if not results or not all(isinstance(one, Schedule) for one in results):
            name = getattr(self.function, "__name__", repr(self.function))
            raise UsageError(
                f"the rule function '{name}' must return None, a Schedule or a list of them, "
                f"got {result!r}"
            )
        return cast("list[Schedule]", results)


@final
@dataclass(frozen=True, slots=True)
class ApplyCustomRule(AbstractRule):
    """Apply the rule that a block has of its own.

    Attributes:
        rules: names of blocks, as they are when the rules begin, with their rules. Other blocks
            may name a member of `CUSTOM_RULES` by an annotation `schedule_rule`.
    """

    name: ClassVar[str] = "apply_custom_rule"
    rules: tuple[tuple[str, AbstractRule], ...] = ()

    def rule_of(self, block: Block) -> AbstractRule | None:
        """The block's own rule, None if it has none.

        Raises:
            UsageError: its annotation names a rule that is not registered.
        """
        named = dict(self.rules).get(block.name)
        noted = annotation(block.annotations, SCHEDULE_RULE)
        return CUSTOM_RULES[str(noted)] if named is None and noted is not None else named

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Blocks without a rule of their own, and what that rule leaves alone, stay."""
        own = self.rule_of(block)
        return "has no rule of its own" if own is None else own.refusal(state, block, target)

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Apply the block's own rule."""
        own = self.rule_of(schedule.state.block(str(schedule.value(block))))
        assert own is not None
        return own.apply(schedule, block, target)


CUSTOM_RULES.register("none", LeaveAlone())
RULES.register(LeaveAlone.name, LeaveAlone)
RULES.register(CallFunction.name, CallFunction)
RULES.register(ApplyCustomRule.name, ApplyCustomRule)
