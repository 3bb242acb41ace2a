"""`Space`: how programs may be scheduled, as one value that can be inspected without measuring.

A space is a list of rules, or schedule functions of the user, or fixed schedules; with the
postprocessors that finish candidates and the mutators that vary them. Bound to a program and a
target it is a `ProgramSpace`; read `program_space`, `generate` and `rules/` next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from metasched.errors import UsageError, suggest
from metasched.ir.stmt import Program
from metasched.registry import Registry
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import AbstractPostproc
from metasched.space.rules import AbstractRule, ApplyCustomRule, CallFunction
from metasched.space.rules.apply_custom_rule import BlockFunction
from metasched.target import Target
from metasched.trace.trace import Trace

if TYPE_CHECKING:
    from metasched.space.program_space import ProgramSpace
    from metasched.space.report import SpaceReport

ScheduleFunction: TypeAlias = Callable[[Schedule], object]
Rules: TypeAlias = tuple[AbstractRule, ...]
Postprocs: TypeAlias = tuple[AbstractPostproc, ...]
Mutators: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Space:
    """A search space.

    Attributes:
        rules: transformation rules, applied in order.
        postprocs: what finishes or rejects a candidate; None takes those of the target's default
            space.
        mutators: names of mutators with their weights; None likewise.
        functions: schedule functions; each draws its choices from the schedule that it is given.
        fixed: traces with all decisions, each one candidate.
        others: further spaces, joined by ``|``, with postprocessors of their own.
    """

    rules: Rules = ()
    postprocs: Postprocs | None = None
    mutators: Mutators | None = None
    functions: tuple[ScheduleFunction, ...] = ()
    fixed: tuple[Trace, ...] = ()
    others: tuple[Space, ...] = ()

    @staticmethod
    def default(kind: str = "cpu") -> Space:
        """The space for a kind of target, as `SPACES` has it.

        Raises:
            UsageError: there is no default space for the kind.
        """
        return SPACES[kind]()

    @staticmethod
    def from_function(function: ScheduleFunction, postprocs: Postprocs | None = None) -> Space:
        """The space of what one function does to a schedule.

        Args:
            function: transforms the schedule that it is given in place; its sampling primitives
                are the sites of the space.
            postprocs: what finishes candidates, the target's by default.
        """
        return Space(functions=(function,), postprocs=postprocs)

    @staticmethod
    def from_schedule(schedule: Schedule | Trace) -> Space:
        """The space of one schedule, just as it is: its decisions are kept, nothing is added."""
        trace = schedule.trace if isinstance(schedule, Schedule) else schedule
        return Space(postprocs=(), fixed=(trace,))

    def __or__(self, other: Space) -> Space:
        """The union of two spaces; each member keeps its own postprocessors.

        Where both give a mutator, the weight of the first counts.
        """
        mine = self.members
        first, *rest = (*mine, *(member for member in other.members if member not in mine))
        mutators = self.mutators
        if mutators is not None and other.mutators is not None:
            mutators = tuple((dict(other.mutators) | dict(mutators)).items())
        return replace(first, mutators=mutators or other.mutators, others=tuple(rest))

    @property
    def members(self) -> tuple[Space, ...]:
        """The spaces that this one is a union of."""
        return (replace(self, mutators=None, others=()), *self.others)

    # -- rules ---------------------------------------------------------------------------------

    def with_rule(
        self, rule: AbstractRule, *, before: str | None = None, after: str | None = None
    ) -> Space:
        """This space with one rule more, in every member that has rules.

        Args:
            rule: the rule.
            before: name of the rule in front of which it is applied; at the end by default.
            after: name of the rule after which it is applied.

        Raises:
            UsageError: there is no rule of that name.
        """
        if before is not None and after is not None:
            raise UsageError("with_rule takes before= or after=, got both")
        place = before or after
        if place is not None:
            self._check_has(place)
        return self._with_rules(lambda rules: _inserted(rules, rule, place, after is not None))

    def without_rule(self, name: str) -> Space:
        """This space without the rules of a name.

        Raises:
            UsageError: there is none.
        """
        self._check_has(name)
        return self._with_rules(lambda rules: tuple(r for r in rules if r.name != name))

    def with_block_rule(self, block: str, rule: AbstractRule | BlockFunction) -> Space:
        """This space with a rule of its own for one block, which all other rules leave alone.

        Args:
            block: name of the block.
            rule: a rule, or a function of the schedule and the block that changes it in place.
        """
        own = rule if isinstance(rule, AbstractRule) else CallFunction(rule)
        return self._with_rules(lambda rules: _with_custom(rules, block, own))

    def with_postprocs(self, postprocs: Sequence[AbstractPostproc] | None) -> Space:
        """This space with other postprocessors, in every member."""
        chosen = None if postprocs is None else tuple(postprocs)
        others = tuple(replace(other, postprocs=chosen) for other in self.others)
        return replace(self, postprocs=chosen, others=others)

    def _check_has(self, name: str) -> None:
        names = {rule.name for member in self.members for rule in member.rules}
        if name not in names:
            raise UsageError(f"the space has no rule '{name}'{suggest(name, names)}")

    def _with_rules(self, change: Callable[[Rules], Rules]) -> Space:
        others = tuple(
            replace(other, rules=change(other.rules)) if other.rules else other
            for other in self.others
        )
        is_alone = not self.others and not self.functions and not self.fixed
        own = change(self.rules) if self.rules or is_alone else self.rules
        return replace(self, rules=own, others=others)

    # -- what holds on a target ------------------------------------------------------------------

    def postprocs_on(self, target: Target) -> Postprocs:
        """The postprocessors of the first member, the target's where none are given."""
        chosen = Space.default(target.kind) if self.postprocs is None else self
        return chosen.postprocs or ()

    def mutators_on(self, target: Target) -> Mutators:
        """The mutators with their weights, the target's where none are given."""
        chosen = Space.default(target.kind) if self.mutators is None else self
        return chosen.mutators or ()

    def on(self, program: Program, target: str | Target = "cpu") -> ProgramSpace:
        """What the space holds for one program on one target: a value to count and sample."""
        from metasched.space.program_space import ProgramSpace

        return ProgramSpace(self, program, Target.parse(target))

    def report(
        self, program: Program, target: str | Target = "cpu", *, samples: int = 8, seed: int = 0
    ) -> SpaceReport:
        """Sketches, sites, size and acceptance, found without measuring; see `report`."""
        from metasched.space.report import report

        return report(self.on(program, target), samples=samples, seed=seed)

    # -- text ------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The space as JSON text.

        Raises:
            UsageError: a function or class in it cannot be found by name from another process.
        """
        from metasched.space.text import to_json

        return to_json(self)

    @staticmethod
    def from_json(text: str) -> Space:
        """Read a space; it imports the modules that the text names.

        Raises:
            UsageError: the text is no space, or names what does not exist.
        """
        from metasched.space.text import from_json

        return from_json(text)


def _inserted(rules: Rules, rule: AbstractRule, place: str | None, after: bool) -> Rules:
    names = [r.name for r in rules]
    if place is None or place not in names:
        return rules if place is not None else (*rules, rule)
    at = len(names) - names[::-1].index(place) if after else names.index(place)
    return (*rules[:at], rule, *rules[at:])


def _with_custom(rules: Rules, block: str, own: AbstractRule) -> Rules:
    given = next((r for r in rules if isinstance(r, ApplyCustomRule)), ApplyCustomRule())
    others = tuple(pair for pair in given.rules if pair[0] != block)
    changed = ApplyCustomRule((*others, (block, own)))
    return (changed, *(r for r in rules if r is not given))


SpaceFactory: TypeAlias = Callable[[], Space]
SPACES = Registry[SpaceFactory]("default space of target kind")
"""The default space of each kind of target."""
