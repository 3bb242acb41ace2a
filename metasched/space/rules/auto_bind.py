"""auto_bind: how many threads the blocks of a kernel have, where tiling does not decide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, final

from metasched.ir.stmt import Block, annotation
from metasched.schedule.schedule import Schedule
from metasched.schedule.state import State
from metasched.space.binding import is_bound
from metasched.space.loop_choice import nests
from metasched.space.patterns import is_root
from metasched.space.rules.rule import RULES, AbstractRule
from metasched.target import Target
from metasched.trace.instruction import Ref

THREADS: Final = "meta_schedule.thread_extent"
LENGTH: Final = "meta_schedule.thread_vector"


@final
@dataclass(frozen=True, slots=True)
class AutoBind(AbstractRule):
    """Note on the root block how `RewriteUnboundBlock` is to bind the nests that are not tiled.

    Attributes:
        thread_extents: threads of a block to sample from, up to the limit of the target.
        vectors: elements that a thread handles side by side, to sample from.
    """

    name: ClassVar[str] = "auto_bind"
    thread_extents: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    vectors: tuple[int, ...] = (1, 2, 4)

    def refusal(self, state: State, block: Block, target: Target) -> str | None:
        """Only the root block is annotated, once, and where a nest is left to bind."""
        if not is_root(state, block):
            return "not the root block"
        if annotation(block.annotations, THREADS) is not None:
            return "annotated already"
        if all(is_bound(nest) for nest in nests(state)):
            return "every nest is bound"
        return None

    def apply(self, schedule: Schedule, block: Ref, target: Target) -> list[Schedule]:
        """Annotate sampled sizes."""
        most = 1024 if target.gpu is None else target.gpu.max_threads_per_block
        for key, values in (
            (THREADS, [n for n in self.thread_extents if n <= most]),
            (LENGTH, list(self.vectors)),
        ):
            number = schedule.sample_categorical(values, [1.0 / len(values)] * len(values))
            schedule.annotate(block, key, number)
        return [schedule]


RULES.register(AutoBind.name, AutoBind)
