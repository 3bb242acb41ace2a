"""The printer of C-like languages: lowered statements to text, by the tables of a `Dialect`.

Text is deterministic: names come from the program and helpers are emitted in sorted order. Read
`dialect` and `c_expr` first, then `c`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from metasched.codegen.c_expr import ExprPrinter
from metasched.codegen.dialect import Dialect
from metasched.errors import CodegenError
from metasched.ir.dtype import DType
from metasched.ir.expr import Binary, Broadcast, Buffer, Expr, Load, Ramp, Var, int_value
from metasched.ir.stmt import Alloc, For, If, Seq, Stmt, Store
from metasched.lower.storage import Slot

_HALVES: Final = frozenset({DType("float", 16), DType("bfloat", 16)})
"""Types whose vectors not every machine keeps in registers."""


class CFamilyPrinter(ExprPrinter):
    """Prints the body of one kernel."""

    def __init__(
        self,
        dialect: Dialect,
        ranges: Mapping[Var, Expr],
        slots: Mapping[str, Slot] = MappingProxyType({}),
        cores: int = 1,
    ) -> None:
        super().__init__(dialect, ranges)
        self.cores = cores
        self.slots = slots
        self.lines: list[str] = []
        self.pins = False
        self._depth = 0
        self._threaded = False
        self._undeclared: dict[str, Buffer] = {}

    @property
    def initial(self) -> str:
        """What follows a declaration without a value."""
        return ""

    # -- lines ---------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Append one line at the present depth."""
        self.lines.append("  " * self._depth + text)

    @contextmanager
    def braces(self, header: str) -> Generator[None]:
        """A braced region after ``header``."""
        self.declare_pending()
        self.line(f"{header} {{".lstrip())
        self._depth += 1
        yield
        self.declare_pending()
        self._depth -= 1
        self.line("}")

    # -- statements ----------------------------------------------------------------------------

    def stmt(self, stmt: Stmt) -> None:
        """Print one statement."""
        match stmt:
            case Seq():
                for child in stmt.stmts:
                    if isinstance(child, Alloc) and child.buffer.scope != "register":
                        # Copies of an unrolled loop declare arrays of one name.
                        with self.braces(""):
                            self.stmt(child)
                    else:
                        self.stmt(child)
            case Store():
                self.store(stmt)
            case For():
                self.loop(stmt)
            case If():
                with self.braces(f"if ({self.expr(stmt.cond)})"):
                    self.stmt(stmt.then)
                if stmt.other is not None:
                    with self.braces("else"):
                        self.stmt(stmt.other)
            case Alloc():
                self.alloc(stmt.buffer)
                self.stmt(stmt.body)
            case _:
                raise CodegenError(f"{type(stmt).__name__} is not lowered; lower the program first")

    def loop(self, loop: For) -> None:
        """Print a loop; the outermost parallel one shares its iterations between threads."""
        var, extent = self.name(loop.var.name), self.expr(loop.extent, 9)
        index = self.type(loop.var.dtype)
        outermost = loop.kind == "parallel" and not self._threaded
        if outermost:
            self.declare_pending()
            self.line(self.dialect.parallel(self.cores))
            self._threaded = True
        with self.braces(f"for ({index} {var} = 0; {var} < {extent}; ++{var})"):
            self.stmt(loop.body)
        if outermost:
            self._threaded = False

    def alloc(self, buffer: Buffer) -> None:
        """Declare a buffer: a variable, an array on the stack or a part of the workspace."""
        name, scalar = self.name(buffer.name), self.type(buffer.dtype)
        if buffer.scope == "register":
            self._undeclared[buffer.name] = buffer
        elif (slot := self.slots.get(buffer.name)) is not None:
            thread = f" + {slot.stride} * omp_get_thread_num()" if slot.stride else ""
            self.line(
                f"{scalar} *restrict {name} = (void *)((char *)workspace + {slot.offset}{thread});"
            )
        else:
            size = int_value(buffer.shape[0])
            self.line(f"{scalar} {name}[{size}] __attribute__((aligned(64)));")

    def declare_pending(self) -> None:
        """Declare the registers whose first store is in a region that begins or ends here."""
        for buffer in self._undeclared.values():
            self.line(f"{self.type(buffer.dtype)} {self.name(buffer.name)}{self.initial};")
        self._undeclared.clear()

    def register(self, buffer: Buffer) -> str:
        """The name of a register that is read; declared here where nothing was stored in it.

        Such a register stands for elements past the end, whose values a guard leaves out.
        """
        if self._undeclared.pop(buffer.name, None) is not None:
            self.line(f"{self.type(buffer.dtype)} {self.name(buffer.name)} = {{0}};")
        return super().register(buffer)

    def store(self, store: Store) -> None:
        """Print an assignment."""
        buffer, value = store.buffer, store.value
        if buffer.scope == "register":
            declared = self._undeclared.pop(buffer.name, None)
            prefix = "" if declared is None else f"{self.type(buffer.dtype)} "
            self.assign(f"{prefix}{self.name(buffer.name)}", value, buffer.dtype)
            size = buffer.dtype.bytes
            pinnable = size in self.dialect.pinned_bytes and buffer.dtype.scalar not in _HALVES
            if declared and _is_operand(value) and pinnable:
                self.pins = True
                self.line(self.dialect.pin.format(size, self.name(buffer.name)))
            return
        (index,) = store.indices
        match index:
            case Ramp() if int_value(index.stride) == 1:
                place = f"*{self.pointer(buffer, index.base, index.lanes)}"
                self.assign(place, value, buffer.dtype.with_lanes(index.lanes))
            case _ if index.dtype.lanes > 1:
                self.scatter(store)
            case _:
                self.assign(self.element(buffer, index), value, buffer.dtype)

    def assign(self, place: str, value: Expr, dtype: DType) -> None:
        """``place = value``, shortened to ``+=`` where the value is a sum that begins so."""
        text = self.value(value, dtype)
        if isinstance(value, Binary) and value.op == "add" and text.startswith(f"{place} + "):
            self.line(f"{place} += {text[len(place) + 3 :]};")
        else:
            self.line(f"{place} = {text};")

    def scatter(self, store: Store) -> None:
        """Store the lanes one by one."""
        (index,) = store.indices
        for lane in range(index.dtype.lanes):
            with self.lane(lane):
                self.assign(self.element(store.buffer, index), store.value, store.buffer.dtype)


def _is_operand(expr: Expr) -> bool:
    """Whether a value is just loaded: a vector, or a scalar for all lanes."""
    load = expr.value if isinstance(expr, Broadcast) else expr
    return type(load) is Load and load.buffer.scope != "register"
