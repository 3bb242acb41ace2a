"""What differs between two versions of a space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from metasched.space.postprocs import AbstractPostproc
from metasched.space.program_space import ProgramSpace
from metasched.space.report import sites
from metasched.space.rules import AbstractRule
from metasched.space.space import Space
from metasched.space.text import describe
from metasched.trace.instruction import Instruction


@dataclass(frozen=True, slots=True)
class Change:
    """What the new version has and the old one has not, and the other way round.

    Attributes:
        added: names or descriptions.
        removed: names or descriptions.
        changed: options with another value, as "rule.option: old -> new".
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class SpaceDiff:
    """How two versions of a space differ; false where they do not.

    Attributes:
        rules: the rules.
        postprocs: the postprocessors.
        mutators: the mutators and their weights.
        functions: schedule functions and fixed schedules.
        sketches: of one program, where one is given: the rules that make each.
        sites: of that program: sampling steps that no sketch of the other version has.
    """

    rules: Change = field(default_factory=Change)
    postprocs: Change = field(default_factory=Change)
    mutators: Change = field(default_factory=Change)
    functions: Change = field(default_factory=Change)
    sketches: Change = field(default_factory=Change)
    sites: Change = field(default_factory=Change)

    def _parts(self) -> dict[str, Change]:
        names = ("rules", "postprocs", "mutators", "functions", "sketches", "sites")
        return {name: getattr(self, name) for name in names}

    def __bool__(self) -> bool:
        return any(self._parts().values())

    def to_dict(self) -> dict[str, Any]:
        """The differences as JSON values."""
        return {name: asdict(change) for name, change in self._parts().items()}

    def __str__(self) -> str:
        lines: list[str] = []
        for name, change in self._parts().items():
            if not change:
                continue
            lines.append(f"{name}:")
            lines += [f"  + {item}" for item in change.added]
            lines += [f"  - {item}" for item in change.removed]
            lines += [f"  ~ {item}" for item in change.changed]
        return "\n".join(lines) or "no difference"


def compare(old: Space | ProgramSpace, new: Space | ProgramSpace) -> SpaceDiff:
    """What a new version of a space has and an old one has not.

    Args:
        old: a space; bound to a program (`Space.on`), sketches and sites are compared, too.
        new: the other version, bound to the same program or to none.
    """
    was, now = (s.space if isinstance(s, ProgramSpace) else s for s in (old, new))
    sketches, steps = Change(), Change()
    if isinstance(old, ProgramSpace) and isinstance(new, ProgramSpace):
        sketches, steps = _sketches(old, new), _items(_sites(old), _sites(new))
    return SpaceDiff(
        _plugins(_rules(was), _rules(now)),
        _plugins(_postprocs(was), _postprocs(now)),
        _weights(dict(was.mutators or ()), dict(now.mutators or ())),
        _items(_functions(was), _functions(now)),
        sketches,
        steps,
    )


def _rules(space: Space) -> list[AbstractRule]:
    return [rule for member in space.members for rule in member.rules]


def _postprocs(space: Space) -> list[AbstractPostproc]:
    found = [p for member in space.members for p in member.postprocs or ()]
    return list(dict.fromkeys(found))


def _functions(space: Space) -> list[str]:
    called = [f"{f.__module__}:{f.__qualname__}" for m in space.members for f in m.functions]
    return called + [f"fixed: {t.to_json()}" for m in space.members for t in m.fixed]


def _plugins(
    old: Sequence[AbstractRule | AbstractPostproc], new: Sequence[AbstractRule | AbstractPostproc]
) -> Change:
    """Compare by name; of several of a name, the first with the first and so on."""
    was, now = _numbered(old), _numbered(new)
    changed = [
        f"{name}.{option}: {before} -> {after}"
        for name in was.keys() & now.keys()
        for (option, before), after in zip(was[name].items(), now[name].values(), strict=False)
        if before != after
    ]
    added = tuple(name for name in now if name not in was)
    return Change(added, tuple(n for n in was if n not in now), tuple(sorted(changed)))


def _numbered(
    items: Iterable[AbstractRule | AbstractPostproc],
) -> dict[str, dict[str, Any]]:
    met = Counter[str]()
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        met[item.name] += 1
        suffix = f"#{met[item.name]}" if met[item.name] > 1 else ""
        found[item.name + suffix] = describe(item)
    return found


def _weights(old: dict[str, float], new: dict[str, float]) -> Change:
    both = [n for n in old if n in new and old[n] != new[n]]
    return Change(
        tuple(f"{n} {w}" for n, w in new.items() if n not in old),
        tuple(f"{n} {w}" for n, w in old.items() if n not in new),
        tuple(f"{n}: {old[n]} -> {new[n]}" for n in both),
    )


def _items(old: Iterable[str], new: Iterable[str]) -> Change:
    was, now = Counter(old), Counter(new)
    return Change(tuple((now - was).elements()), tuple((was - now).elements()))


def _sketches(old: ProgramSpace, new: ProgramSpace) -> Change:
    was, now = ({s.trace.instructions for s in bound.sketches} for bound in (old, new))
    return Change(tuple(_outlines(new, was)), tuple(_outlines(old, now)))


def _outlines(bound: ProgramSpace, known: set[tuple[Instruction, ...]]) -> Iterable[str]:
    for number, sketch in enumerate(bound.sketches):
        if sketch.trace.instructions not in known:
            rules = ", ".join(dict.fromkeys(sketch.origins)) or "no rule"
            yield f"sketch {number}: {len(sketch.origins)} steps of {rules}"


def _sites(bound: ProgramSpace) -> list[str]:
    """Each site as often as the sketch that has most of it."""
    most = Counter[str]()
    for sketch in bound.sketches:
        most |= Counter(str(site) for site in sites(bound, sketch))
    return list(most.elements())
