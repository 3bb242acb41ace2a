"""Statements, TensorIR blocks and whole programs.

A program is one root `Block` whose body holds loops and nested blocks. Loop variables, block
names and buffer names are unique inside a program, so a name identifies its loop, block or
buffer. The last classes appear in lowered programs only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from metasched.errors import UsageError, VerifyError
from metasched.ir.expr import TRUE, Buffer, Expr, Load, Var
from metasched.ir.node import Node

LoopKind = Literal["serial", "parallel", "vectorized", "unrolled", "thread"]
IterKind = Literal["spatial", "reduce", "opaque"]
AnnotationValue: TypeAlias = str | int | float | tuple["AnnotationValue", ...]
Annotations: TypeAlias = tuple[tuple[str, AnnotationValue], ...]


class Stmt(Node):
    """Base of statements."""

    __slots__ = ()

    def __str__(self) -> str:
        from metasched.ir.printer import print_stmt

        return print_stmt(self)


@dataclass(frozen=True, slots=True, eq=False)
class Region(Node):
    """A box of a buffer: per dimension the first index and the extent."""

    buffer: Buffer
    ranges: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class IterVar(Node):
    """A block's iteration variable: domain ``[0, extent)``, kind and the value bound to it."""

    var: Var
    extent: Expr
    kind: IterKind
    binding: Expr


@dataclass(frozen=True, slots=True, eq=False)
class For(Stmt):
    """A loop over ``[0, extent)``; ``thread`` names the axis of a thread-bound loop."""

    var: Var
    extent: Expr
    body: Stmt
    kind: LoopKind = "serial"
    thread: str | None = None
    annotations: Annotations = ()


@dataclass(frozen=True, slots=True, eq=False)
class Block(Stmt):
    """A unit of computation that a schedule moves as a whole.

    Inside, only the iteration variables (and outer blocks' ones) are visible, never loop
    variables. ``init`` runs where all reduce variables are zero. The block runs only where
    ``predicate``, over the surrounding loop variables, holds. ``allocs`` are the buffers that live
    inside it (the root block's are the program's intermediates).
    """

    name: str
    iters: tuple[IterVar, ...]
    reads: tuple[Region, ...]
    writes: tuple[Region, ...]
    body: Stmt
    init: Stmt | None = None
    predicate: Expr = TRUE
    allocs: tuple[Buffer, ...] = ()
    annotations: Annotations = ()


@dataclass(frozen=True, slots=True, eq=False)
class Store(Stmt):
    """``buffer[indices] = value``."""

    buffer: Buffer
    indices: tuple[Expr, ...]
    value: Expr

    def __post_init__(self) -> None:
        if self.value.dtype.scalar != self.buffer.dtype.scalar:
            raise UsageError(
                f"buffer '{self.buffer.name}' holds {self.buffer.dtype}, got a value of "
                f"{self.value.dtype}; convert it with te.cast"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Seq(Stmt):
    """Statements in order."""

    stmts: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class If(Stmt):
    """``then`` where ``cond`` holds, else ``other``."""

    cond: Expr
    then: Stmt
    other: Stmt | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Alloc(Stmt):
    """``buffer`` exists inside ``body``; lowered programs only."""

    buffer: Buffer
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Invoke(Stmt):
    """A call of a procedure for its effects, such as a barrier or a tensor instruction.

    ``outputs`` are the first elements of what it writes, arguments that are loads those of what it
    reads; how far it reaches from there is known to the procedure, see `metasched.ir.procedure`.
    """

    fn: str
    outputs: tuple[Load, ...] = ()
    args: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Program(Node):
    """A tensor program: parameters in order (inputs and outputs) and the root block."""

    name: str
    params: tuple[Buffer, ...]
    root: Block

    @property
    def outputs(self) -> tuple[Buffer, ...]:
        """The parameters that some block writes."""
        from metasched.ir.walk import written_buffers

        written = written_buffers(self.root.body)
        return tuple(p for p in self.params if p in written)

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        """The parameters that no block writes."""
        outputs = self.outputs
        return tuple(p for p in self.params if p not in outputs)

    def buffer(self, name: str) -> Buffer:
        """The parameter or root allocation of that name."""
        for candidate in (*self.params, *self.root.allocs):
            if candidate.name == name:
                return candidate
        raise VerifyError(f"program '{self.name}' has no buffer '{name}'")

    def __str__(self) -> str:
        from metasched.ir.printer import print_program

        return print_program(self)


def annotation(annotations: Annotations, key: str) -> AnnotationValue | None:
    """The value of an annotation, or None.

    >>> annotation((("unroll", 16),), "unroll")
    16
    """
    return next((value for name, value in annotations if name == key), None)


def with_annotation(
    annotations: Annotations, key: str, value: AnnotationValue | None
) -> Annotations:
    """Annotations with one key set, or removed when the value is None; sorted by key.

    >>> with_annotation((("b", 1),), "a", 2)
    (('a', 2), ('b', 1))
    """
    kept = [(name, old) for name, old in annotations if name != key]
    return tuple(sorted(kept if value is None else [*kept, (key, value)]))


HIDDEN: Final = "hidden"
"""Annotation of a block whose regions leave out some of its reads or writes on purpose."""


def hidden_accesses(block: Block) -> tuple[str, ...]:
    """Which of "read" and "write" the regions of a block do not list completely."""
    value = annotation(block.annotations, HIDDEN)
    return tuple(str(v) for v in value) if isinstance(value, tuple) else ()


def seq(*stmts: Stmt) -> Stmt:
    """Statements in order, nested sequences flattened, a single one unwrapped."""
    flat: list[Stmt] = []
    for stmt in stmts:
        flat.extend(stmt.stmts if isinstance(stmt, Seq) else (stmt,))
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))
