"""Loop nests as one line of text, so that a test shows the shape of a sketch at a glance."""

from __future__ import annotations

import numpy as np

from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import AbstractSite, ComputeLocation
from metasched.space.outline import outline as outline
from metasched.target import Target
from metasched.trace.instruction import Decision
from metasched.trace.trace import Trace

TARGET = Target(
    "cpu", cores=2, vector_bits=512, vector_registers=32, l1_bytes=32768, l2_bytes=1048576
)
"""A machine that does not depend on the host."""


def sketch_outline(sketch: Trace, program: Program) -> list[str]:
    """The outline of a sketch with every stage of sampled location where it was."""
    return outline(replay(sketch, program, choices=_InPlace()).program)


class _InPlace:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def choose(self, index: int, site: AbstractSite) -> Decision:
        return -1 if isinstance(site, ComputeLocation) else site.sample(self.rng)
