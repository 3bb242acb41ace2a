"""Mutate how far loops are made parallel, in spaces that sample it at a site of kind "parallel"."""

from __future__ import annotations

from typing import final

from metasched.search.mutators.mutator import MUTATORS
from metasched.search.mutators.redraw import AbstractRedraw


@final
class Parallel(AbstractRedraw):
    """Another value at one site of kind "parallel"; idle in spaces without such a site."""

    kinds = ("parallel",)


MUTATORS.register("parallel", Parallel)
