"""rewrite_unbound_block: every nest becomes a kernel of blocks and threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.schedule.schedule import Schedule
from metasched.space.binding import bind_nest, is_bound
from metasched.space.loop_choice import nests
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target


@final
@dataclass(frozen=True, slots=True)
class RewriteUnboundBlock(AbstractPostproc):
    """Bind the nests that no rule has bound.

    Attributes:
        threads: most threads of a block.
        blocks_wanted: smaller blocks are made until there are so many, to occupy the whole GPU.
    """

    name: ClassVar[str] = "rewrite_unbound_block"
    threads: int = 256
    blocks_wanted: int = 132

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Bind nest by nest."""
        for number in range(len(nests(schedule.state))):
            if not is_bound(nests(schedule.state)[number]):
                bind_nest(schedule, number, threads=self.threads, blocks_wanted=self.blocks_wanted)
        return schedule


POSTPROCS.register(RewriteUnboundBlock.name, RewriteUnboundBlock)
