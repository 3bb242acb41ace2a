"""disallow_dynamic_loop: every loop runs a fixed number of times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.ir.stmt import For
from metasched.ir.walk import free_vars, walk
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target


@final
@dataclass(frozen=True, slots=True)
class DisallowDynamicLoop(AbstractPostproc):
    """Reject candidates with a loop whose extent depends on another loop.

    The symbolic sizes of a program are fixed while it runs, so they are allowed.
    """

    name: ClassVar[str] = "disallow_dynamic_loop"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Look at the extents."""
        sizes = {v for p in schedule.program.params for size in p.shape for v in free_vars(size)}
        for node in walk(schedule.program.root):
            if isinstance(node, For) and free_vars(node.extent) - sizes:
                return Rejected(self.name, "a loop's extent depends on another loop")
        return schedule


POSTPROCS.register(DisallowDynamicLoop.name, DisallowDynamicLoop)
