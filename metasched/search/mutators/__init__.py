"""Mutators: how candidates are varied. Read `mutator` first; a new member is imported here."""

from metasched.search.mutators import (
    compute_location,
    parallel,
    thread_binding,
    tile_size,
    unroll,
)
from metasched.search.mutators.mutator import (
    DEFAULT_WEIGHTS,
    MUTATORS,
    AbstractMutator,
    Mutated,
    make_mutators,
)

__all__ = [
    "DEFAULT_WEIGHTS",
    "MUTATORS",
    "AbstractMutator",
    "Mutated",
    "compute_location",
    "make_mutators",
    "parallel",
    "thread_binding",
    "tile_size",
    "unroll",
]
