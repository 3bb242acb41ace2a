"""The printer of GPU kernels, by the tables of a `GpuDialect`, and `emit_gpu`.

A vector is only moved, never computed with: its lanes print one by one. Read `c_family` first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from metasched.codegen.c_family import CFamilyPrinter
from metasched.codegen.cuda import CUDA, copy_function
from metasched.codegen.gpu_dialect import GpuDialect
from metasched.codegen.gpu_source import GpuSource, KernelLaunch
from metasched.codegen.opencl import opencl
from metasched.ir.dtype import INT64, DType
from metasched.ir.expr import (
    Broadcast,
    Buffer,
    Cast,
    Const,
    Expr,
    Extern,
    Load,
    Ramp,
    Var,
    int_value,
)
from metasched.ir.procedure import PROCEDURES, Procedure
from metasched.ir.simplify import Simplifier
from metasched.ir.stmt import For, Invoke, Stmt, Store
from metasched.ir.walk import loads, stmt_exprs, walk, walk_expr, written_buffers
from metasched.lower.affine import has_load
from metasched.lower.gpu.async_copies import COMMIT, COPY, waits_for
from metasched.lower.gpu.combine import SHUFFLE, WARP
from metasched.lower.gpu.kernel import BARRIER, PRIVATE, Axis, GpuLowered, Kernel
from metasched.lower.gpu.limits import shared_bytes
from metasched.lower.gpu.memory import bytes_of
from metasched.lower.gpu.vectors import is_fetch, is_multiple
from metasched.lower.scope import Machine

_STATIC_SHARED: Final = 48 * 1024
"""Bytes of shared memory that a CUDA kernel can declare without asking for more at launch."""


def emit_gpu(lowered: GpuLowered, target: Machine) -> GpuSource:
    """Print the kernels of a program.

    Raises:
        CodegenError: the program uses a type or an operation that the language lacks.
    """
    dialect = CUDA if target.kind == "cuda" else opencl(half="cl_khr_fp16" in target.features)
    printer = GpuPrinter(dialect, lowered)
    launches = tuple(printer.kernel(kernel) for kernel in lowered.kernels)
    procedures = [PROCEDURES[name] for name in sorted(printer.procedures)]
    functions = [printer.function(procedure) for procedure in procedures]
    types = frozenset(str(d.scalar) for d in printer.scalars)
    includes = sorted({f"#include <{header}>" for p in procedures for header in p.includes})
    text = [
        *dict.fromkeys((*dialect.header(types), *includes)),
        *dialect.prelude(printer.vector_types, printer.helpers),
        *(copy_function(size) for size in sorted(printer.copies)),
        *functions,
        *printer.lines,
        "",
    ]
    buffers = tuple(bytes_of(b) for b in lowered.temporaries)
    return GpuSource("\n".join(text), dialect.language, launches, buffers)


class GpuPrinter(CFamilyPrinter):
    """Prints the kernels of one program."""

    def __init__(self, gpu: GpuDialect, lowered: GpuLowered) -> None:
        super().__init__(gpu.base, lowered.ranges)
        self.gpu = gpu
        self.buffers = (*lowered.params, *lowered.temporaries)
        self.scalars: dict[DType, None] = {}
        self.procedures: dict[str, None] = {}
        self.copies: dict[int, None] = {}
        self._bounds = Simplifier(lowered.ranges)
        self._written: frozenset[Buffer] = frozenset()
        self._index = "int"
        self._threads = 1
        self._fences: tuple[str, ...] = ()

    @property
    def initial(self) -> str:
        """What follows a declaration without a value."""
        return self.gpu.initial

    # -- kernels -------------------------------------------------------------------------------

    def kernel(self, kernel: Kernel) -> KernelLaunch:
        """Print a kernel and say how to launch it."""
        entry = "metasched_" + self.name(kernel.name)
        self._threads = kernel.threads
        self._fences = self.fences(kernel.body)
        self._written = frozenset(written_buffers(kernel.body))
        self._index = "int" if _fits_32_bits(kernel, self._bounds) else self.gpu.wide
        used = self._written | {x.buffer for x in loads(kernel.body)}
        numbers = tuple(n for n, b in enumerate(self.buffers) if b in used)
        params = ", ".join(self.param(self.buffers[n]) for n in numbers)
        x, y, z = (axis.extent for axis in kernel.thread_axes)
        block = (x, y, z)
        gx, gy, gz = (axis.extent for axis in kernel.block_axes)
        with self.braces(self.gpu.kernel(entry, block, params)):
            self.declare_axes(kernel)
            dynamic = self.declare_shared(kernel.shared)
            self.stmt(kernel.body)
        return KernelLaunch(entry, (gx, gy, gz), block, dynamic, numbers)

    def function(self, procedure: Procedure) -> str:
        """The definition of a procedure."""
        params: list[str] = []
        for name, param in procedure.params:
            const = "" if name.startswith("o") else "const "
            params.append(f"{const}{self.type(param.dtype)} *{name}")
        params += [
            f"{self._index} ld{'' if number == 1 else number}_{name}"
            for name, param in procedure.params
            for number in range(param.strides, 0, -1)
        ]
        head = f"{self.gpu.function} void ms_p_{procedure.name}({', '.join(params)})"
        lines = procedure.text[self.gpu.language].strip().splitlines()
        return "\n".join((f"{head} {{", *(f"  {line}" for line in lines), "}"))

    def fences(self, body: Stmt) -> tuple[str, ...]:
        """What the procedures that a kernel calls need in front of its barriers."""
        calls = (s.fn for s in walk(body) if isinstance(s, Invoke) and s.fn in PROCEDURES)
        called = (PROCEDURES[fn] for fn in calls)
        language = self.gpu.language
        found = (p.before_barrier[language] for p in called if language in p.before_barrier)
        return tuple(dict.fromkeys(found))

    def param(self, buffer: Buffer) -> str:
        """A pointer parameter."""
        const = "" if buffer in self._written else "const "
        kind = f"{self.gpu.spaces['global']}{const}{self.type(buffer.dtype)}"
        return f"{kind} *{self.gpu.restrict} {self.name(buffer.name)}"

    def declare_axes(self, kernel: Kernel) -> None:
        """Declare the variables of the axes that the kernel uses."""
        used = _variables(kernel.body)
        for axis in kernel.axes.values():
            if axis.var in used:
                self.line(f"const {self._index} {self.name(axis.var.name)} = {self.axis(axis)};")

    def axis(self, axis: Axis) -> str:
        """The position on an axis."""
        return f"({self._index}){self.gpu.axes[axis.name]}"

    def declare_shared(self, buffers: tuple[Buffer, ...]) -> int:
        """Declare the buffers of a block; the bytes to ask for at launch."""
        offsets = [shared_bytes(buffers[:number]) for number in range(len(buffers))]
        total = shared_bytes(buffers)
        asked = total > _STATIC_SHARED or any(b.scope == "shared.dyn" for b in buffers)
        if not asked or self.gpu.language != "cuda":
            for buffer in buffers:
                size = int_value(buffer.shape[0]) or 0
                kind = self.type(buffer.dtype)
                self.line(self.gpu.shared(kind, self.name(buffer.name), size))
            return 0
        self.line("extern __shared__ __align__(128) unsigned char ms_shared[];")
        for buffer, offset in zip(buffers, offsets, strict=True):
            kind = self.type(buffer.dtype)
            name = self.name(buffer.name)
            self.line(f"{kind} *const {name} = ({kind} *)(ms_shared + {offset});")
        return total

    # -- statements ----------------------------------------------------------------------------

    def stmt(self, stmt: Stmt) -> None:
        """Print one statement."""
        if isinstance(stmt, Invoke):
            self.invoke(stmt)
        else:
            super().stmt(stmt)

    def invoke(self, stmt: Invoke) -> None:
        """Print a call for its effects."""
        self.declare_pending()
        if stmt.fn == BARRIER:
            for line in self._fences:
                self.line(line)
            self.line(self.gpu.barrier)
            return
        if stmt.fn == COPY:
            self.copy(stmt.outputs[0], stmt.args[0])
            return
        if stmt.fn == COMMIT.fn:
            self.line('asm volatile("cp.async.commit_group;" ::: "memory");')
            return
        if (left := waits_for(stmt)) is not None:
            self.line(f'asm volatile("cp.async.wait_group {left};" ::: "memory");')
            return
        self.procedures[stmt.fn] = None
        places = len(PROCEDURES[stmt.fn].params) - len(stmt.outputs)
        texts = [self.address(place) for place in (*stmt.outputs, *stmt.args[:places])]
        texts += [self.expr(stride) for stride in stmt.args[places:]]
        self.line(f"ms_p_{stmt.fn}({', '.join(texts)});")

    def copy(self, place: Expr, source: Expr) -> None:
        """Start a copy to shared memory beside the thread."""
        size = source.dtype.bytes
        self.copies[size] = None
        self.line(f"ms_cp_async_{size}({self.address(place)}, {self.address(source)});")

    def address(self, place: Expr) -> str:
        """The address of the first element of a tile."""
        assert isinstance(place, Load)
        (index,) = place.indices
        return f"&{self.element(place.buffer, index.base if isinstance(index, Ramp) else index)}"

    def loop(self, loop: For) -> None:
        """Print a loop."""
        var, extent = self.name(loop.var.name), self.expr(loop.extent, 9)
        self.declare_pending()
        if loop.kind == "unrolled":
            self.line(self.gpu.unroll)
        with self.braces(f"for ({self._index} {var} = 0; {var} < {extent}; ++{var})"):
            self.stmt(loop.body)

    def alloc(self, buffer: Buffer) -> None:
        """Declare a variable or an array of the thread."""
        if buffer.scope == "register":
            super().alloc(buffer)
            return
        size = int_value(buffer.shape[0])
        aligned = self.gpu.aligned if buffer.dtype.bytes < 4 else ""
        name = self.name(buffer.name)
        self.line(f"{aligned}{self.type(buffer.dtype)} {name}[{size}]{self.initial};")

    def store(self, store: Store) -> None:
        """Print an assignment; what is no aligned vector is stored lane by lane."""
        if store.indices and store.indices[0].dtype.lanes > 1 and not _is_vector(store):
            self.scatter(store)
        else:
            super().store(store)

    # -- expressions ---------------------------------------------------------------------------

    def type(self, dtype: DType) -> str:
        """The spelling of a type, noted for the prelude."""
        self.scalars[dtype.scalar] = None
        return super().type(dtype)

    def pointer(self, buffer: Buffer, base: Expr, lanes: int) -> str:
        """The address of an aligned vector."""
        const = "" if buffer in self._written else "const "
        vector = self.type(buffer.dtype.with_lanes(lanes))
        space = self.gpu.spaces[buffer.scope]
        return f"({space}{const}{vector} *)&{self.element(buffer, base)}"

    def value(self, expr: Expr, dtype: DType) -> str:
        """An expression as a value to store."""
        return self.expr(expr)

    def needs_lanes(self, expr: Expr) -> bool:
        """Whether a vector is computed, lane by lane, rather than moved."""
        if type(expr) is Load and expr.buffer.scope == "register":
            return False
        return not is_fetch(expr)

    def lanewise(self, expr: Expr) -> str:
        """A vector of lanes."""
        texts: list[str] = []
        for lane in range(expr.dtype.lanes):
            with self.lane(lane):
                texts.append(self.expr(expr, 1))
        return self.gpu.literal(self.type(expr.dtype), texts)

    def load(self, expr: Load, level: int) -> str:
        """An element, an aligned vector, a register or one lane of it."""
        if expr.buffer.scope == "register":
            name = self.register(expr.buffer)
            if self._lane is None or expr.buffer.dtype.lanes == 1:
                return name
            return self.gpu.lane(name, self._lane)
        return super().load(expr, level)

    def extern(self, expr: Extern) -> str:
        """An exchange between the lanes of a warp, or a function of the target."""
        if not expr.fn.startswith(SHUFFLE):
            return super().extern(expr)
        mask = (1 << min(self._threads, WARP)) - 1
        distance = expr.fn.removeprefix(SHUFFLE)
        return f"__shfl_xor_sync({mask:#x}u, {self.expr(expr.args[0])}, {distance})"

    def arm(self, expr: Expr, dtype: DType) -> str:
        """An arm of a choice."""
        return self.expr(expr, 2)

    def cast(self, expr: Cast, level: int) -> str:
        """A conversion; one to bool asks whether the value is not zero."""
        if expr.dtype.code == "bool" and expr.value.dtype.code != "bool":
            return f"({self.expr(expr.value, 8)} != 0)"
        return super().cast(expr, level)

    def literal(self, expr: Const) -> str:
        """The text of a constant."""
        value, dtype = expr.value, expr.dtype
        finite = not dtype.is_float or math.isfinite(value)
        if finite or dtype.bits == 16:
            return super().literal(expr)
        nan, infinity = self.gpu.special[f"f{dtype.bits}"]
        return nan if math.isnan(value) else f"-{infinity}" if value < 0 else infinity


def _is_vector(store: Store) -> bool:
    """Whether a vector is stored to provably aligned elements of common memory."""
    (index,) = store.indices
    if not isinstance(index, Ramp) or int_value(index.stride) != 1:
        return False
    plain = store.buffer.scope not in PRIVATE and not has_load(index.base)
    return plain and is_multiple(index.base, index.lanes)


def _variables(stmt: Stmt) -> set[Var]:
    found: set[Var] = set()
    for node in walk(stmt):
        for expr in stmt_exprs(node):
            found.update(e for e in walk_expr(expr) if type(e) is Var)
    return found


def _fits_32_bits(kernel: Kernel, known: Simplifier) -> bool:
    """Whether no sum or product of indices leaves the range of an int."""
    return all(
        _small(expr, known)
        for node in walk(kernel.body)
        for outer in stmt_exprs(node)
        for expr in _indices(outer)
    )


def _indices(expr: Expr) -> Iterable[Expr]:
    """The int64 expressions of variables in an expression."""
    for node in walk_expr(expr):
        if node.dtype == INT64 and type(node) not in (Load, Cast, Broadcast) and not has_load(node):
            yield node


def _small(expr: Expr, known: Simplifier) -> bool:
    low, high = known.bounds(expr)
    return low is not None and high is not None and -(2**31) <= low and high < 2**31
