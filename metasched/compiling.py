"""`compile`: a program to a callable kernel, through the best record or the default schedule."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from metasched.build import SYMBOLIC, changed_parameter, compile_source, source_hash
from metasched.codegen import emit
from metasched.database import (
    AbstractDatabase,
    Equality,
    TuningRecord,
    current,
    open_database,
)
from metasched.database.spelling import scheduled_as
from metasched.errors import DatabaseError, UsageError, suggest
from metasched.ir.expr import Var, int_value
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.lower import lower
from metasched.measure.kernel import ALIGNMENT, LoadedKernel
from metasched.measure.records import ArgSpec, Artefact
from metasched.schedule.schedule import Schedule
from metasched.space.default_schedule import default_schedule
from metasched.target import Target
from metasched.target.cache import cache_dir

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled program that takes and returns NumPy arrays; calls are thread safe.

    Attributes:
        program: what it computes.
        scheduled: the scheduled program it was built from.
        source: the generated C.
        record: the tuning record it was built from; None when the default schedule was used.
        target: what it was built for.
        artefact: the shared library.
        equality: how the program of the record is equal to this one; None without a record.
    """

    program: Program
    scheduled: Program
    source: str = field(repr=False)
    record: TuningRecord | None
    target: Target
    artefact: Artefact = field(repr=False)
    equality: Equality | None = None

    def __call__(self, *inputs: Array, out: Array | Sequence[Array] | None = None) -> Any:
        """Compute the outputs.

        Args:
            inputs: one C-contiguous array per input parameter, of its shape and dtype.
            out: arrays to write into, one per output; new ones are made otherwise.

        Returns:
            The output array, or a tuple where the program has several.

        Raises:
            UsageError: an array has the wrong number, shape, dtype or layout.
        """
        given = None if out is None else (out,) if isinstance(out, np.ndarray) else tuple(out)
        loaded, arrays, sizes = self._bind(inputs, given)
        loaded.call(arrays, sizes)
        results = tuple(
            a for a, spec in zip(arrays, self.artefact.args, strict=True) if spec.is_output
        )
        return results[0] if len(results) == 1 else results

    def time(self, *inputs: Array) -> float:
        """Median seconds of one call on the given inputs, without Python's overhead.

        Raises:
            UsageError: as for a call.
        """
        loaded, arrays, sizes = self._bind(inputs, None)
        return median(loaded.time(arrays, sizes=sizes))

    def _bind(
        self, inputs: Sequence[Array], out: Sequence[Array] | None
    ) -> tuple[LoadedKernel, list[Array], tuple[int, ...]]:
        """Put arguments in order, make outputs, and find the values of symbolic sizes."""
        specs = self.artefact.args
        wanted = [spec.name for spec in specs if not spec.is_output]
        if len(inputs) != len(wanted):
            raise UsageError(
                f"'{self.program.name}' takes {len(wanted)} arrays ({', '.join(wanted)}), "
                f"got {len(inputs)}"
            )
        results = sum(spec.is_output for spec in specs)
        if out is not None and len(out) != results:
            raise UsageError(f"'{self.program.name}' has {results} outputs, out= has {len(out)}")
        artefact, sizes = self.artefact, dict[Var, int]()
        if any(SYMBOLIC in spec.shape for spec in specs):
            sizes = self._sizes(inputs)
            shapes = (tuple(_extent(n, sizes) for n in p.shape) for p in self.program.params)
            bound = (replace(spec, shape=s) for spec, s in zip(specs, shapes, strict=True))
            artefact = replace(artefact, args=tuple(bound))
        fed, filled = iter(inputs), iter(out) if out is not None else None
        arrays = [
            next(fed) if not spec.is_output else _empty(spec) if filled is None else next(filled)
            for spec in artefact.args
        ]
        return _load(artefact), arrays, tuple(sizes.values())

    def _sizes(self, inputs: Sequence[Array]) -> dict[Var, int]:
        """Symbolic sizes from the inputs' shapes, in the order the parameters mention them."""
        values: dict[Var, int] = {}
        for param, array in zip(self.program.inputs, inputs, strict=True):
            for extent, length in zip(param.shape, np.shape(array), strict=False):
                if isinstance(extent, Var):
                    values.setdefault(extent, length)
        order = dict.fromkeys(n for p in self.program.params for n in p.shape if isinstance(n, Var))
        unknown = [v.name for v in order if v not in values]
        if unknown:
            raise UsageError(f"size '{unknown[0]}' appears in no input, so it cannot be known")
        return {v: values[v] for v in order}


def compile(  # noqa: A001
    program: Program | Schedule,
    target: str | Target = "cpu",
    database: str | AbstractDatabase | None = None,
    equality: str | Equality = Equality.STRUCTURAL,
) -> Kernel:
    """Compile a program with the best schedule on record for the target.

    Args:
        program: the program, or a schedule of yours, which is compiled as it stands: where it
            transforms the layout of a parameter, the kernel takes that layout.
        target: what to compile for.
        database: URL of a tuning database, or an open one; that of `metasched.using` when None.
            Without a record of the program the default schedule is used and ``kernel.record`` is
            None.
        equality: how far to look for a record: "structural", "ignore-constants",
            "anchor-block" or "any-shape".
            ``kernel.equality`` says how the program of the record is equal to this one.

    Raises:
        UsageError: no program, or no such target, URL scheme or equality; a schedule and a
            database; a record whose schedule transforms the layout of a parameter.
        DatabaseError: the database is a snapshot, and the kernel is not the one that it locks.
        ToolchainError: no C compiler; the message says what to install.
    """
    goal = Target.parse(target)
    if isinstance(program, Schedule):
        if database is not None:
            raise UsageError(
                "compile builds a schedule as it stands, got a database, too; give its program to "
                "have the best record looked up"
            )
        original, scheduled = program.original, program.program
        as_given = changed_parameter(original, scheduled) is None
        return kernel_of(original if as_given else scheduled, scheduled, goal)
    if not isinstance(program, Program):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"compile expects a program or a schedule, got {type(program).__name__}; "
            "make one with te.program or metasched.ops"
        )
    with _opened(database) as opened:
        found = None if opened is None else opened.apply(program, goal, _equality(equality))
        if found is not None and opened is not None and opened.is_locked:
            _check_locked(found.record, goal)
    scheduled = default_schedule(program, goal).program if found is None else found.program
    if (reason := changed_parameter(program, scheduled)) is not None:
        raise UsageError(f"{reason}; compile the schedule itself and pack the array for it")
    record, kind = (None, None) if found is None else (found.record, found.equality)
    return kernel_of(program, scheduled, goal, record, kind)


def kernel_of(
    program: Program,
    scheduled: Program,
    target: Target,
    record: TuningRecord | None = None,
    equality: Equality | None = None,
) -> Kernel:
    """Build the kernel of a scheduled program, whose parameters are those of ``program``."""
    source = emit(lower(scheduled, target), target)
    folder = cache_dir() / "kernels"
    folder.mkdir(exist_ok=True)
    artefact = compile_source(source, program, target, str(folder))
    return Kernel(program, scheduled, source.text, record, target, artefact, equality)


@contextmanager
def _opened(given: str | AbstractDatabase | None) -> Generator[AbstractDatabase | None]:
    if given is None or isinstance(given, AbstractDatabase):
        yield given or current()
        return
    with open_database(given) as opened:
        yield opened


def _equality(name: str | Equality) -> Equality:
    known = [str(equality) for equality in Equality]
    if str(name) not in known:
        raise UsageError(f"unknown equality '{name}'{suggest(str(name), known)}")
    return Equality(name)


def _check_locked(record: TuningRecord, target: Target) -> None:
    """Refuse a locked record that would not give the kernel that was measured."""
    program = parse(record.workload.text)
    source = emit(lower(scheduled_as(record, program), target), target)
    if source_hash(source, target) != record.source_hash:
        raise DatabaseError(
            f"the snapshot locks kernel {record.source_hash[:12]} of '{record.workload.name}', but"
            f" this metasched and {target.toolchain} make {source_hash(source, target)[:12]} of its"
            " schedule; verify the database it was made from, and write it again"
        )


@lru_cache(maxsize=256)
def _load(artefact: Artefact) -> LoadedKernel:
    return LoadedKernel(artefact)


def _extent(extent: Any, sizes: dict[Var, int]) -> int:
    known = sizes.get(extent) if isinstance(extent, Var) else int_value(extent)
    if known is None:
        raise UsageError(f"the extent {extent} of a parameter is no size and no number")
    return known


def _empty(spec: ArgSpec) -> Array:
    """A new array on a cache-line boundary, as vector stores like it."""
    from metasched.ir.dtype import DType

    dtype = DType.of(spec.dtype).numpy()
    count = int(np.prod(spec.shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(count + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count].view(dtype).reshape(spec.shape)
