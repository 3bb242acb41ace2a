"""Run lowered GPU kernels thread by thread and report every race and every access out of bounds.

An oracle that shares nothing with the pass that places barriers. The threads of a block take each
statement together; between two barriers any other order is as good, so whenever two threads touch
one element and one of them stores, that is a race. Blocks must not meet at all.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from metasched.errors import UsageError
from metasched.ir.expr import (
    Binary,
    Broadcast,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Extern,
    Load,
    Ramp,
    Select,
    Var,
    int_value,
)
from metasched.ir.reference_math import bf16
from metasched.ir.stmt import Alloc, For, If, Invoke, Program, Seq, Stmt, Store, seq
from metasched.ir.walk import as_load, map_stmts, walk
from metasched.lower.gpu.async_copies import COMMIT, COPY, waits_for
from metasched.lower.gpu.combine import SHUFFLE
from metasched.lower.gpu.kernel import BARRIER, PRIVATE, GpuLowered, Kernel

Array: TypeAlias = npt.NDArray[Any]

_MOST_REPORTED: Final = 20
_UNSET: Final = -1


@dataclass(slots=True)
class _Memory:
    """A buffer in common memory and who touched each element last.

    Args:
        data: the elements.
        writer: the thread that stored last, and the phase it did so in.
        readers: the first and the last thread that read in the phase of the last read.
    """

    data: Array
    writer: npt.NDArray[np.int64] = field(init=False)
    written_in: npt.NDArray[np.int64] = field(init=False)
    low: npt.NDArray[np.int64] = field(init=False)
    high: npt.NDArray[np.int64] = field(init=False)
    read_in: npt.NDArray[np.int64] = field(init=False)
    block_writer: npt.NDArray[np.int64] = field(init=False)
    block_low: npt.NDArray[np.int64] = field(init=False)
    block_high: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("writer", "written_in", "low", "high", "read_in"):
            setattr(self, name, np.full(len(self.data), _UNSET, np.int64))
        self.forget()

    def forget(self) -> None:
        """Begin a kernel: what other kernels did is in order."""
        self.written_in[:] = self.read_in[:] = _UNSET
        self.block_writer = np.full(len(self.data), _UNSET, np.int64)
        self.block_low = np.full(len(self.data), 1 << 62, np.int64)
        self.block_high = np.full(len(self.data), _UNSET, np.int64)


@dataclass(slots=True)
class Report:
    """What the simulation found.

    Args:
        outputs: every output by name.
        problems: races, accesses out of bounds and barriers that not all threads meet.
    """

    outputs: dict[str, Array]
    problems: list[str]


def simulate(program: Program, lowered: GpuLowered, inputs: Mapping[str, Array]) -> Report:
    """Run all kernels of a program.

    Args:
        program: what was lowered.
        lowered: its kernels.
        inputs: an array for each input.
    """
    problems: list[str] = []
    memory: dict[str, _Memory] = {}
    for buffer, flat in zip(program.params, lowered.params, strict=True):
        if buffer in program.inputs:
            memory[flat.name] = _Memory(_given(buffer, inputs[buffer.name]))
        else:
            memory[flat.name] = _Memory(_poisoned(flat))
    for flat in lowered.temporaries:
        memory[flat.name] = _Memory(_poisoned(flat))
    for kernel in lowered.kernels:
        for held in memory.values():
            held.forget()
        grid = [range(axis.extent) for axis in reversed(kernel.block_axes)]
        for number, position in enumerate(product(*grid)):
            _Block(kernel, memory, problems, number).run(position)
    outputs: dict[str, Array] = {}
    for buffer in program.outputs:
        shape = [int_value(extent) or 0 for extent in buffer.shape]
        outputs[buffer.name] = memory[buffer.name].data.reshape(shape)
    return Report(outputs, problems)


def without_barrier(kernel: Kernel, number: int) -> Kernel:
    """A kernel that lacks one of its barriers; a test that it is needed."""
    count = -1

    def visit(stmt: Stmt) -> Stmt:
        nonlocal count
        if isinstance(stmt, Invoke) and stmt.fn == BARRIER:
            count += 1
            return Seq(()) if count == number else stmt
        if isinstance(stmt, Seq):
            return seq(*(visit(s) for s in stmt.stmts))
        return map_stmts(stmt, visit)

    return replace(kernel, body=visit(kernel.body))


def barriers(kernel: Kernel) -> int:
    """How many barriers a kernel's text has."""
    return sum(isinstance(s, Invoke) and s.fn == BARRIER for s in walk(kernel.body))


def _given(buffer: Buffer, array: Array) -> Array:
    if buffer.dtype.code == "bfloat":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64).ravel()
    return array.astype(np.float64 if buffer.dtype.is_float else np.int64).ravel()


def _poisoned(flat: Buffer) -> Array:
    size = int_value(flat.shape[0]) or 0
    if flat.dtype.is_float:
        return np.full(size, np.nan, np.float64)
    return np.full(size, -(2**40) + 77, np.int64)


_Copy: TypeAlias = "tuple[Buffer, Array, Array, Array]"
"""The target of a copy: buffer and elements, the threads that asked for it, and the values."""


class _Block:
    """The threads of one block."""

    def __init__(
        self, kernel: Kernel, memory: dict[str, _Memory], problems: list[str], number: int
    ) -> None:
        self.kernel = kernel
        self.count = kernel.threads
        self.threads = np.arange(self.count)
        self.problems = problems
        self.number = number
        self.phase = 0
        self.memory = dict(memory)
        self.global_names = frozenset(memory)
        for held in memory.values():
            held.written_in[:] = held.read_in[:] = _UNSET
        self.memory |= {b.name: _Memory(_poisoned(b)) for b in kernel.shared}
        self.own: dict[str, Array] = {}
        self.copies: list[_Copy] = []
        self.groups: list[list[_Copy]] = []
        self.env: dict[Var, Any] = {}
        self.active = np.ones(self.count, np.bool_)

    def run(self, position: Sequence[int]) -> None:
        for axis, place in zip(reversed(self.kernel.block_axes), position, strict=True):
            self.env[axis.var] = place
        rest = self.threads
        for axis in self.kernel.thread_axes:
            self.env[axis.var] = rest % axis.extent
            rest = rest // axis.extent
        self.stmt(self.kernel.body)

    def problem(self, text: str) -> None:
        if len(self.problems) < _MOST_REPORTED:
            self.problems.append(f"{self.kernel.name}, block {self.number}: {text}")

    @contextmanager
    def where(self, mask: Array) -> Generator[None]:
        before = self.active
        self.active = before & mask
        yield
        self.active = before

    # -- statements ----------------------------------------------------------------------------

    def stmt(self, stmt: Stmt) -> None:
        match stmt:
            case Seq():
                for part in stmt.stmts:
                    self.stmt(part)
            case For():
                extent = self.spread(self.value(stmt.extent, 0))
                steps = int(extent[self.active].max(initial=0))
                for step in range(steps):
                    self.env[stmt.var] = step
                    with self.where(extent > step):
                        self.stmt(stmt.body)
            case If():
                cond = self.spread(self.value(stmt.cond, 0)).astype(np.bool_)
                with self.where(cond):
                    if self.active.any():
                        self.stmt(stmt.then)
                if stmt.other is not None:
                    with self.where(~cond):
                        if self.active.any():
                            self.stmt(stmt.other)
            case Alloc():
                self.alloc(stmt.buffer)
                self.stmt(stmt.body)
            case Store():
                self.store(stmt)
            case Invoke():
                self.invoke(stmt)
            case _:
                raise UsageError(f"{type(stmt).__name__} is no statement of a kernel")

    def alloc(self, buffer: Buffer) -> None:
        size = 1 if not buffer.shape else int_value(buffer.shape[0]) or 0
        flat = Buffer(buffer.name, (Const(size, buffer.dtype),), buffer.dtype)
        value = np.nan if flat.dtype.is_float else -(2**40) + 77
        kind = np.float64 if flat.dtype.is_float else np.int64
        self.own[buffer.name] = np.full((size * buffer.dtype.lanes, self.count), value, kind)

    def store(self, store: Store) -> None:
        buffer = store.buffer
        if buffer.scope == "register":
            values = [self.spread(self.value(store.value, k)) for k in range(buffer.dtype.lanes)]
            for lane, value in enumerate(values):
                self.own[buffer.name][lane, self.active] = value[self.active]
            return
        (index,) = store.indices
        values = [self.rounded(store, lane) for lane in range(index.dtype.lanes)]
        for lane, value in enumerate(values):
            at = self.spread(self.value(index, lane))
            at = self.bounded(buffer, at, self.active)
            if buffer.scope in PRIVATE:
                self.own[buffer.name][at[self.active], self.threads[self.active]] = value[
                    self.active
                ]
            else:
                self.written(buffer, at)
                self.memory[buffer.name].data[at[self.active]] = value[self.active]

    def rounded(self, store: Store, lane: int) -> Array:
        value = self.spread(self.value(store.value, lane))
        dtype = store.buffer.dtype
        if dtype.is_int and dtype.bits < 64:
            return value.astype(dtype.scalar.numpy()).astype(np.int64)
        return value

    def invoke(self, stmt: Invoke) -> None:
        if stmt.fn == COPY:
            self.start_copy(stmt.outputs[0], as_load(stmt.args[0]))
            return
        if stmt.fn == COMMIT.fn:
            self.groups.append(self.copies)
            self.copies = []
            return
        if (left := waits_for(stmt)) is not None:
            while len(self.groups) > left:
                self.finish_copies(self.groups.pop(0))
            return
        if stmt.fn != BARRIER:
            raise UsageError(f"procedure '{stmt.fn}' cannot be simulated")
        if not self.active.all():
            self.problem("a barrier that not all threads of the block meet")
        self.phase += 1

    def start_copy(self, place: Load, source: Load) -> None:
        """Copies read their source at once; their target is undefined until a wait."""
        for lane in range(source.dtype.lanes):
            value = self.spread(self.load(source, lane))[self.active]
            at = self.bounded(
                place.buffer, self.spread(self.value(place.indices[0], lane)), self.active
            )
            self.written(place.buffer, at)
            places = at[self.active]
            self.memory[place.buffer.name].data[places] = np.nan
            self.copies.append((place.buffer, places, self.threads[self.active], value))

    def finish_copies(self, copies: list[_Copy]) -> None:
        for buffer, places, who, value in copies:
            held = self.memory[buffer.name]
            held.data[places] = value
            held.writer[places], held.written_in[places] = who, self.phase

    # -- common memory -------------------------------------------------------------------------

    def bounded(self, buffer: Buffer, at: Array, mask: Array) -> Array:
        size = int_value(buffer.shape[0]) or 0
        outside = mask & ((at < 0) | (at >= size))
        if outside.any():
            thread = int(np.argmax(outside))
            self.problem(
                f"thread {thread} touches {buffer.name}[{at[thread]}], which has {size} elements"
            )
        return np.clip(at, 0, size - 1)

    def written(self, buffer: Buffer, at: Array) -> None:
        held, who, places = self.memory[buffer.name], self.threads[self.active], at[self.active]
        if not len(places):
            return
        order = np.argsort(places, kind="stable")
        same = places[order][1:] == places[order][:-1]
        if same.any():
            self.race("two threads store", buffer, int(places[order][1:][same][0]))
        now = held.written_in[places] == self.phase
        if (clash := now & (held.writer[places] != who)).any():
            self.race("two threads store", buffer, int(places[clash][0]))
        read = held.read_in[places] == self.phase
        other = (held.low[places] != who) | (held.high[places] != who)
        if (clash := read & other).any():
            self.race("a thread stores what another one reads", buffer, int(places[clash][0]))
        held.writer[places], held.written_in[places] = who, self.phase
        if buffer.name in self.global_names:
            self.apart(held, buffer, places, stores=True)

    def was_read(self, buffer: Buffer, at: Array, mask: Array) -> None:
        held, who, places = self.memory[buffer.name], self.threads[mask], at[mask]
        if not len(places):
            return
        now = held.written_in[places] == self.phase
        if (clash := now & (held.writer[places] != who)).any():
            self.race("a thread reads what another one stores", buffer, int(places[clash][0]))
        fresh = held.read_in[places] != self.phase
        held.low[places[fresh]], held.high[places[fresh]] = 1 << 62, _UNSET
        np.minimum.at(held.low, places, who)
        np.maximum.at(held.high, places, who)
        held.read_in[places] = self.phase
        if buffer.name in self.global_names:
            self.apart(held, buffer, places, stores=False)

    def apart(self, held: _Memory, buffer: Buffer, places: Array, *, stores: bool) -> None:
        """Other blocks must not touch what this one stores."""
        stored = held.block_writer[places]
        clash = (stored != _UNSET) & (stored != self.number)
        if stores:
            low, high = held.block_low[places], held.block_high[places]
            clash |= (high != _UNSET) & ((low != self.number) | (high != self.number))
            held.block_writer[places] = self.number
        else:
            held.block_low[places] = np.minimum(held.block_low[places], self.number)
            held.block_high[places] = np.maximum(held.block_high[places], self.number)
        if clash.any():
            self.race("two blocks meet", buffer, int(places[clash][0]))

    def race(self, what: str, buffer: Buffer, place: int) -> None:
        self.problem(f"{what} at {buffer.name}[{place}] without a barrier in between")

    # -- expressions ---------------------------------------------------------------------------

    def spread(self, value: Any) -> Array:
        """A value for each thread."""
        return np.broadcast_to(np.asarray(value), (self.count,))

    def value(self, expr: Expr, lane: int) -> Any:
        match expr:
            case Var():
                return self.env[expr]
            case Const():
                return expr.value
            case Binary():
                return self.binary(expr, lane)
            case Cast():
                return self.cast(expr, self.value(expr.value, lane))
            case Select():
                return self.select(expr, lane)
            case Load():
                return self.load(expr, lane)
            case Broadcast():
                return self.value(expr.value, 0)
            case Ramp():
                return self.value(expr.base, 0) + self.value(expr.stride, 0) * lane
            case Call():
                return _call(expr.fn, [self.value(a, lane) for a in expr.args])
            case Extern():
                return self.extern(expr, lane)
            case _:
                raise UsageError(f"{type(expr).__name__} cannot be simulated")

    def binary(self, expr: Binary, lane: int) -> Any:
        a = self.value(expr.a, lane)
        if expr.op in ("and", "or"):
            chosen = self.spread(a).astype(np.bool_)
            with self.where(chosen if expr.op == "and" else ~chosen):
                b = self.spread(self.value(expr.b, lane)).astype(np.bool_)
            return chosen & b if expr.op == "and" else chosen | b
        return _OPERATIONS[expr.op](a, self.value(expr.b, lane))

    def select(self, expr: Select, lane: int) -> Any:
        cond = self.spread(self.value(expr.cond, lane)).astype(np.bool_)
        with self.where(cond):
            then = self.spread(self.value(expr.then, lane))
        with self.where(~cond):
            other = self.spread(self.value(expr.other, lane))
        return np.where(cond, then, other)

    def cast(self, expr: Cast, value: Any) -> Any:
        array = np.asarray(value)
        to = expr.dtype.scalar
        if to.code == "bool":
            return array != 0
        if to.code == "bfloat":
            return np.vectorize(bf16, otypes=[np.float64])(array)
        if to.is_float:
            kind = to.numpy() if to.bits == 16 else np.float64
            return array.astype(kind).astype(np.float64)
        whole = np.trunc(array) if array.dtype.kind == "f" else array
        with np.errstate(invalid="ignore"):
            return whole.astype(np.int64).astype(to.numpy()).astype(np.int64)

    def load(self, expr: Load, lane: int) -> Any:
        buffer = expr.buffer
        if buffer.scope == "register":
            return self.own[buffer.name][lane if buffer.dtype.lanes > 1 else 0]
        at = self.bounded(buffer, self.spread(self.value(expr.indices[0], lane)), self.active)
        if buffer.scope in PRIVATE:
            return self.own[buffer.name][at, self.threads]
        self.was_read(buffer, at, self.active)
        return self.memory[buffer.name].data[at]

    def extern(self, expr: Extern, lane: int) -> Any:
        if not expr.fn.startswith(SHUFFLE):
            raise UsageError(f"extern '{expr.fn}' cannot be simulated")
        other = self.threads ^ int(expr.fn.removeprefix(SHUFFLE))
        if (other >= self.count).any() or not self.active.all():
            self.problem("lanes exchange values where not all of them are")
        value = self.spread(self.value(expr.args[0], lane))
        return value[np.minimum(other, self.count - 1)]


def _div(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.divide(a, b)


_OPERATIONS: Final[dict[str, Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _div,
    "floordiv": np.floor_divide, "floormod": np.mod, "min": np.minimum, "max": np.maximum,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
}  # fmt: skip


def _rsqrt(value: Any) -> Any:
    return 1 / np.sqrt(value)


def _sigmoid(value: Any) -> Any:
    return 1 / (1 + np.exp(-value))


def _erf(value: Any) -> Any:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(value)


_CALLS: Final[dict[str, Any]] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "rsqrt": _rsqrt,
    "erf": _erf, "tanh": np.tanh, "sigmoid": _sigmoid, "abs": np.abs,
    "floor": np.floor, "round": np.rint, "pow": np.power, "not": np.logical_not,
}  # fmt: skip


def _call(fn: str, args: list[Any]) -> Any:
    with np.errstate(all="ignore"):
        return _CALLS[fn](*args)
