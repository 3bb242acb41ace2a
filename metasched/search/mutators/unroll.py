"""Mutate annotation values such as the unroll limit: draw another of the site's values."""

from __future__ import annotations

from typing import final

from metasched.search.mutators.mutator import MUTATORS
from metasched.search.mutators.redraw import AbstractRedraw


@final
class Unroll(AbstractRedraw):
    """Another value at one categorical site, by the site's probabilities."""

    kinds = ("categorical", "unroll")


MUTATORS.register("unroll", Unroll)
