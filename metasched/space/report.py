"""What a space holds for a program, found out without building or measuring anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from metasched.errors import MetaschedError
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import Rejected
from metasched.space.space import Space
from metasched.target import Target
from metasched.trace.trace import Trace


@dataclass(frozen=True, slots=True)
class SiteReport:
    """One sampling step: its instruction number, the primitive and how many decisions it has."""

    index: int
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class SketchReport:
    """One sketch: its sites and how its samples fared.

    Attributes:
        sites: its sampling steps; sizes are those of the sketch's placeholder decisions.
        size: how many candidates it holds, as far as sites do not depend on each other.
        accepted: samples that passed the postprocessors.
        samples: samples drawn.
        rejections: how often samples were rejected, by postprocessor and reason.
    """

    sites: tuple[SiteReport, ...]
    size: int
    accepted: int
    samples: int
    rejections: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """All sketches of a program, and why rules left blocks alone."""

    program: str
    sketches: tuple[SketchReport, ...]
    refusals: Mapping[str, int]

    @property
    def size(self) -> int:
        """How many candidates the space holds."""
        return sum(sketch.size for sketch in self.sketches)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "program": self.program,
            "size": self.size,
            "sketches": [
                {
                    "sites": [{"index": s.index, "kind": s.kind, "size": s.size} for s in k.sites],
                    "size": k.size,
                    "accepted": k.accepted,
                    "samples": k.samples,
                    "rejections": dict(k.rejections),
                }
                for k in self.sketches
            ],
            "refusals": dict(self.refusals),
        }

    def __str__(self) -> str:
        lines = [f"{self.program}: {len(self.sketches)} sketches, {self.size:.3g} candidates"]
        for number, sketch in enumerate(self.sketches):
            sites = Counter(site.kind for site in sketch.sites)
            kinds = ", ".join(f"{count} {kind}" for kind, count in sites.items())
            lines.append(
                f"  sketch {number}: {sketch.size:.3g} candidates ({kinds or 'no choice'}), "
                f"{sketch.accepted} of {sketch.samples} samples accepted"
            )
            lines.extend(f"    {n} rejected by {reason}" for reason, n in sketch.rejections.items())
        lines.append("  rules left alone:")
        lines.extend(f"    {reason}" for reason in self.refusals)
        return "\n".join(lines)


def sample(
    space: Space, sketch: Trace, program: Program, target: Target, seed: int
) -> Schedule | Rejected:
    """Draw a candidate of a sketch and finish it: a schedule, or a `Rejected`."""
    try:
        schedule = replay(sketch, program, choices=Draw(np.random.default_rng(seed)))
    except MetaschedError as error:
        return Rejected("replay", str(error).splitlines()[0])
    return space.finish(schedule, target)


def report(
    space: Space, program: Program, target: Target, *, samples: int = 8, seed: int = 0
) -> SpaceReport:
    """Describe a space: sketches, sites, sizes, and how random samples of each fare.

    Args:
        space: the space.
        program: the program.
        target: the machine.
        samples: candidates to draw from each sketch.
        seed: of the draws.
    """
    refusals = Counter[tuple[str, str, str]]()
    traces = space.sketches(program, target, refusals)
    sketches = tuple(_sketch_report(space, t, program, target, samples, seed) for t in traces)
    reasons = {f"{rule}: '{block}' {why}": n for (rule, block, why), n in refusals.items()}
    return SpaceReport(program.name, sketches, reasons)


def _sketch_report(
    space: Space, sketch: Trace, program: Program, target: Target, samples: int, seed: int
) -> SketchReport:
    schedule = replay(sketch, program)
    sites = tuple(
        SiteReport(index, sketch.instructions[index].kind, site.size())
        for index, site in sorted(schedule.sites.items())
    )
    results = [sample(space, sketch, program, target, seed + k) for k in range(samples)]
    rejected = [r for r in results if isinstance(r, Rejected)]
    counts = Counter(f"{r.postproc}: {r.reason}" for r in rejected)
    return SketchReport(
        sites, prod(s.size for s in sites), samples - len(rejected), samples, dict(counts)
    )
