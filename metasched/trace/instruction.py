"""One step of a schedule program: the primitive, what it was given and what it returned.

Values that flow between steps are `Ref` handles; a trace is meaningful on any program on which its
steps can be replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from metasched.ir.stmt import AnnotationValue

RefKind = Literal["block", "loop", "expr"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A handle to a block, a loop or an integer (a random variable of the trace).

    It is resolved when it is used; a handle whose target is gone raises ``ScheduleError``.
    """

    kind: RefKind
    name: str

    def __str__(self) -> str:
        return self.name


Input: TypeAlias = "Ref | int | float | str | tuple[Input, ...] | None"
Decision: TypeAlias = "int | tuple[int, ...]"
Attrs: TypeAlias = tuple[tuple[str, AnnotationValue | None], ...]


@dataclass(frozen=True, slots=True)
class Instruction:
    """A primitive applied to inputs (handles and literals) and attributes (plain values)."""

    kind: str
    inputs: tuple[Input, ...]
    attrs: Attrs
    outputs: tuple[Ref, ...]

    def attr(self, key: str) -> AnnotationValue | None:
        """The value of an attribute, None when it is absent."""
        return next((value for name, value in self.attrs if name == key), None)


def map_refs(value: Input, f: Callable[[Ref], object]) -> object:
    """``value`` with every handle inside replaced by ``f(handle)``."""
    if isinstance(value, Ref):
        return f(value)
    if isinstance(value, tuple):
        return tuple(map_refs(item, f) for item in value)
    return value


def refs_in(value: Input) -> tuple[Ref, ...]:
    """The handles inside an input."""
    if isinstance(value, Ref):
        return (value,)
    if isinstance(value, tuple):
        return tuple(ref for item in value for ref in refs_in(item))
    return ()


def has_effect(kind: str) -> bool:
    """Whether an instruction changes the program; lookups and samplings only give handles."""
    return not kind.startswith(("get_", "sample_"))


GIVES_SEVERAL: Final = frozenset(
    {
        "cache_index",
        "cache_inplace",
        "get_child_blocks",
        "get_consumers",
        "get_loops",
        "get_output_blocks",
        "get_producers",
        "loop_partition",
        "sample_partitioned_tile",
        "sample_perfect_tile",
        "split",
    }
)
"""Primitives whose method returns a tuple of handles, even of one."""
