"""Mutate how many threads a block has, where tile sizes do not decide it."""

from __future__ import annotations

from typing import final

from metasched.search.mutators.mutator import MUTATORS
from metasched.search.mutators.redraw import AbstractRedraw


@final
class ThreadBinding(AbstractRedraw):
    """Another value at one site of kind "thread"; idle in spaces without such a site."""

    kinds = ("thread",)


MUTATORS.register("thread_binding", ThreadBinding)
