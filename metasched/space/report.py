"""What a space holds for a program, found out without building or measuring anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import (
    AbstractSite,
    Categorical,
    ComputeLocation,
    PartitionedTile,
    PerfectTile,
)
from metasched.schedule.schedule import Schedule
from metasched.space.counting import Count, count
from metasched.space.outline import outline
from metasched.space.postprocs import Rejected
from metasched.space.program_space import ProgramSpace
from metasched.space.sketches import Sketch
from metasched.trace.instruction import refs_in

_TOP = 3


@dataclass(frozen=True, slots=True)
class SiteReport:
    """One sampling step.

    Attributes:
        index: number of its instruction.
        kind: the primitive.
        size: how many decisions it has in the sketch's placeholder structure.
        rule: what put it there.
        subject: the loop or block that it is about, empty where it is about neither.
        distribution: what it chooses from, and how likely.
    """

    index: int
    kind: str
    size: int
    rule: str
    subject: str
    distribution: str

    def __str__(self) -> str:
        subject = f" of {self.subject}" if self.subject else ""
        return f"{self.kind.removeprefix('sample_')}{subject}: {self.distribution} ({self.rule})"


@dataclass(frozen=True, slots=True)
class SketchReport:
    """One sketch: its sites and how its samples fared.

    Attributes:
        rules: what took its steps, in order.
        loops: a line for each of its nests, stages of sampled location where they were drawn.
        sites: its sampling steps.
        size: how many candidates it holds.
        accepted: samples that could be replayed and passed the postprocessors.
        samples: samples drawn.
        rejections: how often samples were rejected, by rule or postprocessor and reason.
    """

    rules: tuple[str, ...]
    loops: tuple[str, ...]
    sites: tuple[SiteReport, ...]
    size: Count
    accepted: int
    samples: int
    rejections: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StageReport:
    """How often a rule or a postprocessor accepted.

    Attributes:
        name: of the rule or postprocessor.
        visits: blocks of drafts that a rule looked at; candidates that a postprocessor was given.
        applied: how many of them it took.
        drawn: for a rule, samples that hold its steps; else 0.
        replayed: how many of these samples got through its steps.
        reasons: why it left a block alone or rejected a candidate, counted, most frequent first;
            for rules, those about the root block come last.
    """

    name: str
    visits: int
    applied: int
    drawn: int
    replayed: int
    reasons: Mapping[str, int]

    @property
    def acceptance(self) -> float | None:
        """The share of candidates that it accepted; None where it saw none."""
        of, taken = (self.drawn, self.replayed) if self.drawn else (self.visits, self.applied)
        return taken / of if of else None

    def __str__(self) -> str:
        share = f"{self.applied} of {self.visits}"
        drawn = f", {self.replayed} of {self.drawn} samples" if self.drawn else ""
        reasons = list(self.reasons.items())[:_TOP]
        why = "".join(f"\n      {n} x {reason}" for reason, n in reasons)
        return f"{self.name}: {share}{drawn}{why}"


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """All sketches of a program, and what rules and postprocessors accept."""

    program: str
    target: str
    sketches: tuple[SketchReport, ...]
    rules: tuple[StageReport, ...]
    postprocs: tuple[StageReport, ...]

    @property
    def size(self) -> Count:
        """How many candidates the space holds, those that would be rejected included."""
        return sum((sketch.size for sketch in self.sketches), Count(0))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "program": self.program,
            "target": self.target,
            "size": _count(self.size),
            "sketches": [_sketch_dict(sketch) for sketch in self.sketches],
            "rules": [_stage(stage) for stage in self.rules],
            "postprocs": [_stage(stage) for stage in self.postprocs],
        }

    def _sites(self, number: int) -> list[str]:
        """Lines on the sites of a sketch; most sketches have those of another."""
        own = [str(site) for site in self.sketches[number].sites]
        for other in range(number):
            if own and own == [str(site) for site in self.sketches[other].sites]:
                return [f"    choices as in sketch {other}"]
        return [f"    {site}" for site in own]

    def to_svg(self) -> str:
        """The report as a picture: sizes by site, and what is accepted."""
        from metasched.space.picture import to_svg

        return to_svg(self)

    def __str__(self) -> str:
        lines = [f"{self.program}: {len(self.sketches)} sketches, {self.size} candidates"]
        for number, sketch in enumerate(self.sketches):
            lines.append(
                f"  sketch {number}: {sketch.size} candidates, "
                f"{sketch.accepted} of {sketch.samples} samples accepted"
            )
            lines.extend(f"    {loops}" for loops in sketch.loops)
            lines.extend(self._sites(number))
            lines.extend(f"    {n} x {reason}" for reason, n in sketch.rejections.items())
        lines.append("  rules, and the blocks that they changed:")
        lines.extend(f"    {stage}" for stage in self.rules)
        lines.append("  postprocessors, and the samples that they accepted:")
        lines.extend(f"    {stage}" for stage in self.postprocs)
        return "\n".join(lines)


def report(bound: ProgramSpace, *, samples: int = 8, seed: int = 0) -> SpaceReport:
    """Describe what a space holds for a program.

    Args:
        bound: the space on the program.
        samples: candidates to draw from each sketch.
        seed: of the draws.
    """
    trials = [_Trials(bound, number, samples, seed) for number in range(len(bound.sketches))]
    return SpaceReport(
        bound.program.name,
        str(bound.target),
        tuple(_sketch(bound, trial) for trial in trials),
        tuple(_rules(bound, trials)),
        tuple(_postprocs(trials)),
    )


class _Trials:
    """Samples of one sketch and where each of them ended."""

    def __init__(self, bound: ProgramSpace, number: int, samples: int, seed: int) -> None:
        self.sketch = bound.sketches[number]
        rng = np.random.default_rng((seed, number))
        self.drawn = [bound.draw(number, rng) for _ in range(samples)]
        self.done = [d if isinstance(d, Rejected) else bound.finish(d) for d in self.drawn]
        self.unborn = [d for d in self.drawn if isinstance(d, Rejected)]

    @property
    def rejected(self) -> list[Rejected]:
        return [d for d in self.done if isinstance(d, Rejected)]

    @property
    def finished(self) -> list[Rejected]:
        """What postprocessors rejected."""
        pairs = zip(self.drawn, self.done, strict=True)
        return [b for a, b in pairs if not isinstance(a, Rejected) and isinstance(b, Rejected)]


def _sketch(bound: ProgramSpace, trials: _Trials) -> SketchReport:
    sketch = trials.sketch
    reasons = Counter(f"{r.postproc}: {r.reason}" for r in trials.rejected)
    return SketchReport(
        tuple(dict.fromkeys(sketch.origins)),
        tuple(outline(replay(sketch.trace, bound.program).program)),
        sites(bound, sketch),
        count(sketch.trace, bound.program),
        len(trials.done) - len(trials.rejected),
        len(trials.done),
        dict(reasons.most_common()),
    )


def sites(bound: ProgramSpace, sketch: Sketch) -> tuple[SiteReport, ...]:
    """The sampling steps of a sketch."""
    schedule = replay(sketch.trace, bound.program)
    return tuple(_site(schedule, sketch, index) for index in sorted(schedule.sites))


def _site(schedule: Schedule, sketch: Sketch, index: int) -> SiteReport:
    step, site = sketch.trace.instructions[index], schedule.sites[index]
    subjects = [ref for value in step.inputs for ref in refs_in(value) if ref.kind != "expr"]
    subject = "".join(f"'{schedule.value(ref)}'" for ref in subjects[:1])
    return SiteReport(
        index, step.kind, site.size(), sketch.origins[index], subject, distribution(site)
    )


def distribution(site: AbstractSite) -> str:
    """What a site chooses from, in words.

    >>> distribution(PerfectTile(512, 4, 64))
    '512 as 4 factors, the last at most 64: 218 ways, equally likely'
    """
    match site:
        case PerfectTile(extent, n, most):
            last = f", the last at most {most}" if most < extent else ""
            return f"{extent} as {n} factors{last}: {site.size()} ways, equally likely"
        case PartitionedTile(extent, n, position, inner):
            last = f", those from {position} a multiple of {inner}"
            return f"{extent} as {n} factors{last}: {site.size()} ways, equally likely"
        case Categorical(candidates, probs):
            pairs = zip(candidates, probs, strict=True)
            return ", ".join(f"{value} ({p:.0%})" for value, p in pairs)
        case ComputeLocation():
            loops = sum(location >= 0 for location in site.locations)
            inlined = ", inlined" if -2 in site.locations else ""
            return f"where it is{inlined} or at {loops} loops of its readers, equally likely"
        case _:
            return f"{site.size()} decisions"


def _rules(bound: ProgramSpace, trials: Iterable[_Trials]) -> Iterable[StageReport]:
    tally = bound.tally
    drawn = Counter[str]()
    failed = Counter[str]()
    reasons: dict[str, Counter[str]] = {}
    for (rule, block, reason), n in tally.refused.items():
        reasons.setdefault(rule, Counter())[f"'{block}' {reason}"] += n
    for trial in trials:
        drawn.update({name: len(trial.drawn) for name in set(trial.sketch.origins)})
        failed.update(rejected.postproc for rejected in trial.unborn)
        for rejected in trial.unborn:
            reasons.setdefault(rejected.postproc, Counter())[rejected.reason] += 1
    root = f"'{bound.program.root.name}' "
    names = [rule.name for member in bound.space.members for rule in member.rules]
    for name in dict.fromkeys((*names, *drawn)):
        why = reasons.get(name, Counter[str]())
        applied, through = tally.applied[name], drawn[name] - failed[name]
        visits = applied + sum(n for (rule, *_), n in tally.refused.items() if rule == name)
        top = sorted(why.items(), key=lambda item: (item[0].startswith(root), -item[1]))
        yield StageReport(name, visits, applied, drawn[name], through, dict(top))


def _postprocs(trials: Iterable[_Trials]) -> Iterable[StageReport]:
    given, taken = Counter[str](), Counter[str]()
    reasons: dict[str, Counter[str]] = {}
    for trial in trials:
        left = len(trial.drawn) - len(trial.unborn)
        rejections = Counter(rejected.postproc for rejected in trial.finished)
        for postproc in trial.sketch.postprocs:
            given[postproc.name] += left
            left -= rejections[postproc.name]
            taken[postproc.name] += left
        for rejected in trial.finished:
            reasons.setdefault(rejected.postproc, Counter())[rejected.reason] += 1
    for name, count_ in given.items():
        why = reasons.get(name, Counter[str]())
        yield StageReport(name, count_, taken[name], 0, 0, dict(why.most_common()))


def _count(size: Count) -> dict[str, float | bool]:
    return {"value": size.value, "error": size.error, "exact": size.exact}


def _sketch_dict(sketch: SketchReport) -> dict[str, Any]:
    return {
        **asdict(sketch),
        "rules": list(sketch.rules),
        "loops": list(sketch.loops),
        "sites": [asdict(site) for site in sketch.sites],
        "size": _count(sketch.size),
    }


def _stage(stage: StageReport) -> dict[str, Any]:
    return {**asdict(stage), "acceptance": stage.acceptance}
