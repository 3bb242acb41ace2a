"""What the passes of one lowering share: the target, the loops' ranges and the names in use.

Read `pipeline` for the order of the passes; each is a function of a statement and a `Scope`.
"""

from __future__ import annotations

from typing import Protocol

from metasched.ir.dtype import DType
from metasched.ir.expr import Buffer, Expr, Var
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import Program
from metasched.ir.walk import fresh_name, names
from metasched.target.gpu import GpuLimits


class Machine(Protocol):
    """The part of `metasched.target.Target` that lowering looks at."""

    @property
    def kind(self) -> str:
        """``"cpu"``, ``"cuda"`` or ``"opencl"``."""
        ...

    @property
    def gpu(self) -> GpuLimits | None:
        """The limits of a GPU; None for a CPU."""
        ...

    @property
    def cores(self) -> int:
        """Threads that share a parallel loop."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """ISA features by their Linux name."""
        ...

    @property
    def vector_bits(self) -> int:
        """Width of a vector register in bits."""
        ...

    @property
    def vector_registers(self) -> int:
        """Architectural vector registers."""
        ...


class Scope:
    """Facts about one program while it is lowered.

    Loop variables have unique names, so one simplifier serves the whole program: a loop's range
    is bound when a pass first meets the loop, before any expression under it is simplified.
    """

    def __init__(self, program: Program, target: Machine) -> None:
        self.program = program
        self.target = target
        self.params = frozenset(program.params)
        self.simplify = Simplifier()
        self.ranges: dict[Var, Expr] = {}
        self.carried: dict[Buffer, set[Var]] = {}
        """The loops that carry a buffer's contents from one iteration to the next."""
        self._names = names(program.root) | {p.name for p in program.params}

    def bind(self, var: Var, extent: Expr) -> None:
        """Record that ``var`` runs over ``[0, extent)``."""
        self.ranges[var] = extent
        self.simplify.bind(var, extent)

    def fresh_name(self, base: str) -> str:
        """A name like ``base`` that nothing in the program has."""
        name = fresh_name(base, self._names)
        self._names.add(name)
        return name

    def fresh_var(self, base: str, extent: Expr) -> Var:
        """A new loop variable over ``[0, extent)``."""
        var = Var(self.fresh_name(base), extent.dtype)
        self.bind(var, extent)
        return var

    def fresh_register(self, base: str, dtype: DType) -> Buffer:
        """A new named variable of a scalar or vector type."""
        return Buffer(self.fresh_name(base), (), dtype, "register")
