"""rewrite_unbound_block: every nest becomes a kernel of blocks and threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.schedule.schedule import Schedule
from metasched.space.binding import Threads, bind_nest, is_bound
from metasched.space.loop_choice import nests
from metasched.space.notes import take_number
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.space.rules.auto_bind import LENGTH, THREADS
from metasched.target import Target


@final
@dataclass(frozen=True, slots=True)
class RewriteUnboundBlock(AbstractPostproc):
    """Bind the nests that no rule has bound, with the sizes noted on the root block.

    Without notes, blocks have up to ``threads`` threads, and fewer where that occupies more of the
    GPU.

    Attributes:
        threads: most threads of a block.
        vector: elements that a thread handles side by side, where that is possible.
    """

    name: ClassVar[str] = "rewrite_unbound_block"
    threads: int = 256
    vector: int = 4

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Take the notes and bind nest by nest."""
        threads, vector = take_number(schedule, THREADS), take_number(schedule, LENGTH)
        wanted = 1 if threads or target.gpu is None else target.gpu.multiprocessors
        how = Threads(threads or self.threads, vector or self.vector, wanted)
        for number in range(len(nests(schedule.state))):
            if not is_bound(nests(schedule.state)[number]):
                bind_nest(schedule, number, how)
        return schedule


POSTPROCS.register(RewriteUnboundBlock.name, RewriteUnboundBlock)
