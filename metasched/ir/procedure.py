"""Procedures: functions that a program calls for their effects on memory, such as mma instructions.

A procedure says what it does as loops around one store, so that the reference interpreter runs it,
checks see each element it touches, and a target without it falls back on plain code. A target that
has it calls the text that the procedure gives for its language. Tiles of *fragment* scopes lie
spread over the registers of the threads that call together; only procedures can touch those.
`metasched.ir.extern` holds pure functions on vectors instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from metasched.errors import UsageError
from metasched.ir.dtype import DType
from metasched.ir.expr import Expr, Load, Var, const
from metasched.ir.stmt import For, Invoke, Stmt, Store
from metasched.ir.walk import walk
from metasched.registry import Registry

FRAGMENTS: Final = frozenset({"warp", "wmma.matrix_a", "wmma.matrix_b", "wmma.accumulator"})
"""The scopes of buffers that are spread over the registers of several threads."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tile that a procedure is called on: element (0, ..., 0) and what lies behind it."""

    first: Load

    def __getitem__(self, offsets: tuple[Expr | int, ...]) -> Load:
        """The element at some offsets along the last dimensions."""
        indices = self.first.indices
        around = len(indices) - len(offsets)
        moved = (i + o for i, o in zip(indices[around:], offsets, strict=True))
        return Load(self.first.buffer, (*indices[:around], *moved))


Places: TypeAlias = Sequence[Place]
Meaning: TypeAlias = Callable[[Sequence[Var], Places, Places], tuple[Load, Expr]]
"""From loop variables, outputs and arguments to the element stored and its value."""


@dataclass(frozen=True, slots=True)
class Param:
    """A tile that a procedure takes.

    Args:
        dtype: of its elements.
        shape: its extents along the last dimensions of the buffer.
        scope: a fragment scope; ``"shared"`` or ``"global"`` for tiles in memory there, whose
            row stride (in elements) the text finds in ``ld_<name>``, and those of dimensions
            around it in ``ld2_<name>`` and so on; ``"local"`` for a thread's.
    """

    dtype: DType
    shape: tuple[int, ...]
    scope: Literal[
        "warp", "wmma.matrix_a", "wmma.matrix_b", "wmma.accumulator", "shared", "global", "local"
    ]

    @property
    def strides(self) -> int:
        """How many strides the text is told, outermost first; that of elements is 1."""
        return len(self.shape) - 1 if self.scope in ("shared", "global") else 0


@dataclass(frozen=True, slots=True)
class Procedure:
    """A function called for its effects.

    Args:
        name: an identifier.
        outputs: what it writes; the text knows pointers to the tiles as ``o0``, ``o1``, ...
        args: what it reads, ``x0``, ``x1``, ...; an accumulator that is updated is in both.
        extents: the loops of its meaning.
        meaning: the one store in those loops.
        text: the body of the function by language (``"cuda"``). Pointers to fragments point at the
            elements that the calling thread holds, ``shape / threads`` of them.
        threads: how many threads of ``threadIdx.x`` call it together.
        features: what the target must offer, by name.
        includes: the headers that the text needs.
        before_barrier: a statement by language that each thread needs in front of each barrier of a
            kernel that calls it, as where its reads bypass the order of plain stores, or go on
            beside the threads.

    Raises:
        UsageError: a fragment does not spread evenly over the threads.
    """

    name: str
    outputs: tuple[Param, ...]
    args: tuple[Param, ...]
    extents: tuple[int, ...]
    meaning: Meaning
    text: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    threads: int = 32
    features: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    before_barrier: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for param in (*self.outputs, *self.args):
            if param.scope in FRAGMENTS and elements(param) % self.threads:
                raise UsageError(
                    f"procedure '{self.name}': a fragment of {elements(param)} elements does not "
                    f"spread over {self.threads} threads"
                )

    @property
    def params(self) -> tuple[tuple[str, Param], ...]:
        """All tiles by the names that the text uses."""
        outputs = ((f"o{n}", p) for n, p in enumerate(self.outputs))
        return (*outputs, *((f"x{n}", p) for n, p in enumerate(self.args)))

    @property
    def is_beside(self) -> bool:
        """Whether it may read its arguments until the next barrier."""
        return bool(self.before_barrier)

    def missing(self, features: Iterable[str]) -> tuple[str, ...]:
        """What a target with some features lacks."""
        offered = frozenset(features)
        return tuple(name for name in self.features if name not in offered)

    def __call__(self, outputs: Sequence[Load], args: Sequence[Load]) -> Invoke:
        """A call as a statement.

        Raises:
            UsageError: a tile has another type, scope or rank.
        """
        call = Invoke(self.name, tuple(outputs), tuple(args))
        if wrong := why_not_invocable(call):
            raise UsageError(wrong)
        return call


def elements(param: Param) -> int:
    """Elements of a tile."""
    count = 1
    for extent in param.shape:
        count *= extent
    return count


PROCEDURES: Final = Registry[Procedure]("procedure")


def runs_beside(stmt: Stmt) -> bool:
    """Whether a statement starts procedures that go on beside the threads."""
    calls = (s for s in walk(stmt) if isinstance(s, Invoke))
    return any(c.fn in PROCEDURES and PROCEDURES[c.fn].is_beside for c in calls)


def why_not_invocable(call: Invoke) -> str | None:
    """What is wrong with a call, or None."""
    if call.fn not in PROCEDURES:
        return f"procedure '{call.fn}' is not registered in this process"
    known = PROCEDURES[call.fn]
    given = (*call.outputs, *call.args)
    if len(call.outputs) != len(known.outputs) or len(given) != len(known.params):
        return (
            f"procedure '{call.fn}' writes {len(known.outputs)} tiles and reads {len(known.args)}, "
            f"got {len(call.outputs)} and {len(call.args)}"
        )
    for place, (name, param) in zip(given, known.params, strict=True):
        if not isinstance(place, Load):
            return f"procedure '{call.fn}' takes the tile {name}, got {place}"
        buffer = place.buffer
        scope = "shared" if buffer.scope == "shared.dyn" else buffer.scope
        if (buffer.dtype, scope) != (param.dtype, param.scope):
            return (
                f"procedure '{call.fn}' takes {name} as {param.dtype} in '{param.scope}' memory, "
                f"got '{buffer.name}', {buffer.dtype} in '{buffer.scope}'"
            )
        if len(place.indices) < len(param.shape):
            return f"procedure '{call.fn}' takes a tile of {param.shape}, got {place}"
    return None


def meaning_of(call: Invoke, fresh: Callable[[str, Expr], Var]) -> Stmt:
    """A call as plain loops, whose variables ``fresh`` makes from a name and an extent."""
    procedure = PROCEDURES[call.fn]
    extents = [const(extent) for extent in procedure.extents]
    loops = [fresh(f"{call.fn}_{n}", extent) for n, extent in enumerate(extents)]
    outputs = [Place(o) for o in call.outputs]
    args = [Place(a) for a in call.args if isinstance(a, Load)]
    place, value = procedure.meaning(loops, outputs, args)
    body: Stmt = Store(place.buffer, place.indices, value)
    for loop, extent in zip(reversed(loops), reversed(extents), strict=True):
        body = For(loop, extent, body)
    return body
