"""What a tensor intrinsic is, and the registry of all of them.

An intrinsic says twice what it computes on a tile: as a plain loop nest, which `tensorize` finds in
a program, and as the statements that it puts in its place. A member is data; read `dot_int8`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from metasched.errors import UsageError
from metasched.ir.expr import Expr, Extern, Var, int_value
from metasched.ir.extern import EXTERNS
from metasched.ir.parser import parse
from metasched.ir.procedure import PROCEDURES
from metasched.ir.stmt import Block, For, Invoke, Program, Stmt, Store
from metasched.ir.verify import verify
from metasched.ir.walk import stmt_exprs, walk, walk_expr
from metasched.registry import Registry


@dataclass(frozen=True, slots=True)
class TensorIntrin:
    """A computation on a tile and the instructions for it.

    Args:
        name: how `tensorize` calls it.
        description: loops around one block that stores once; all its sizes are numbers. Buffers
            that it reads before it writes them are given, as in ``c[i] = c[i] + ...``.
        implementation: the same parameters; loops and stores, of vectors and of extern calls.

    Raises:
        UsageError: the two do not fit each other or break a rule.
    """

    name: str
    description: Program
    implementation: Program

    def __post_init__(self) -> None:
        for program in (self.description, self.implementation):
            verify(program)
        if reason := self._why_not_fitting():
            raise UsageError(f"tensor intrinsic '{self.name}': {reason}")

    @staticmethod
    def of(name: str, description: str, implementation: str) -> TensorIntrin:
        """An intrinsic from the text of both programs."""
        return TensorIntrin(name, parse(description), parse(implementation))

    @property
    def pattern(self) -> Block:
        """The block of the description."""
        return _nest(self.description)[1]

    @property
    def externs(self) -> tuple[str, ...]:
        """The extern functions that the implementation calls."""
        found = (
            node.fn
            for stmt in walk(self.implementation.root)
            for expr in stmt_exprs(stmt)
            for node in walk_expr(expr)
            if isinstance(node, Extern)
        )
        return tuple(dict.fromkeys(found))

    @property
    def procedures(self) -> tuple[str, ...]:
        """The procedures that the implementation calls."""
        found = (s.fn for s in walk(self.implementation.root) if isinstance(s, Invoke))
        return tuple(dict.fromkeys(found))

    @property
    def features(self) -> tuple[str, ...]:
        """What a target must offer, by its Linux name."""
        needed = {f for fn in self.externs for f in EXTERNS[fn].features}
        needed |= {f for fn in self.procedures for f in PROCEDURES[fn].features}
        return tuple(sorted(needed))

    def missing(self, features: Iterable[str]) -> tuple[str, ...]:
        """What a target with some features lacks."""
        offered = frozenset(features)
        return tuple(name for name in self.features if name not in offered)

    def _why_not_fitting(self) -> str | None:
        wanted, given = self.description, self.implementation
        if wanted.params != given.params:
            return (
                f"the description takes {_signature(wanted)}, "
                f"the implementation {_signature(given)}"
            )
        if wanted.outputs != given.outputs:
            return (
                f"the description writes {_names(wanted)}, the implementation writes "
                f"{_names(given)}"
            )
        if any(int_value(size) is None for buffer in wanted.params for size in buffer.shape):
            return "a size is no number"
        if unknown := [fn for fn in self.externs if fn not in EXTERNS]:
            return f"extern function '{unknown[0]}' is not registered"
        if unknown := [fn for fn in self.procedures if fn not in PROCEDURES]:
            return f"procedure '{unknown[0]}' is not registered"
        if any(isinstance(stmt, Block) for stmt in walk(given.root.body)):
            return "the implementation holds a block; give loops and stores"
        return _why_no_pattern(wanted)


def _nest(program: Program) -> tuple[dict[Var, Expr], Block]:
    """The loops of a description and the block inside."""
    loops: dict[Var, Expr] = {}
    stmt: Stmt = program.root.body
    while isinstance(stmt, For):
        loops[stmt.var] = stmt.extent
        stmt = stmt.body
    if program.root.allocs or not isinstance(stmt, Block) or not isinstance(stmt.body, Store):
        raise UsageError("the description must be loops around one block that stores once")
    return loops, stmt


def _why_no_pattern(program: Program) -> str | None:
    try:
        loops, block = _nest(program)
    except UsageError as error:
        return str(error)
    if block.init is not None or int_value(block.predicate) != 1:
        return "the block of the description has an init or a predicate"
    bound = {it.binding: it.extent for it in block.iters}
    if bound != loops or len(bound) != len(block.iters):
        return "each iteration of the description must be a loop of its own"
    return None


def _signature(program: Program) -> str:
    shown = (f"{b.name}: {b.dtype}[{', '.join(map(str, b.shape))}]" for b in program.params)
    return f"({', '.join(shown)})"


def _names(program: Program) -> str:
    return ", ".join(b.name for b in program.outputs) or "nothing"


TENSOR_INTRINS: Final = Registry[TensorIntrin]("tensor intrinsic")


def register_intrin(intrin: TensorIntrin) -> TensorIntrin:
    """Make an intrinsic known to `tensorize` and return it.

    Raises:
        UsageError: the name is taken.
    """
    return TENSOR_INTRINS.register(intrin.name, intrin)


def pick_intrin(names: Sequence[str], features: Iterable[str]) -> str:
    """The first of some intrinsics that a target with some features has.

    Raises:
        UsageError: it has none; the message says what each lacks.
    """
    offered = frozenset(features)
    lacks = {name: TENSOR_INTRINS[name].missing(offered) for name in names}
    for name, missing in lacks.items():
        if not missing:
            return name
    reasons = "; ".join(f"'{name}' needs {', '.join(m)}" for name, m in lacks.items())
    raise UsageError(f"the target has none of the intrinsics: {reasons}")
