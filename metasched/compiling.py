"""`compile`: a program to a callable kernel, through the best record or the default schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from metasched.build import compile_source
from metasched.codegen import CSource, emit
from metasched.database import AbstractDatabase, TuningRecord, open_database
from metasched.errors import UsageError
from metasched.ir.stmt import Program
from metasched.lower import lower
from metasched.measure.kernel import LoadedKernel
from metasched.schedule.replay import replay
from metasched.space.default_schedule import default_schedule
from metasched.target import Target
from metasched.target.toolchain import cache_dir
from metasched.trace.trace import Trace

AnyArray = npt.NDArray[Any]


@dataclass(frozen=True)
class Kernel:
    """A compiled program that takes and returns NumPy arrays; calls are thread safe.

    Attributes:
        program: what it computes.
        scheduled: the scheduled program it was built from.
        source: the generated C.
        record: the tuning record it was built from; None when the default schedule was used.
        target: what it was built for.
    """

    program: Program
    scheduled: Program
    source: str
    record: TuningRecord | None
    target: Target
    _loaded: LoadedKernel = field(repr=False)

    def __call__(self, *inputs: AnyArray, out: AnyArray | tuple[AnyArray, ...] | None = None) -> Any:
        """Compute the outputs.

        Args:
            inputs: one C-contiguous array per input parameter, of its shape and dtype.
            out: arrays to write into, one per output; new ones are made otherwise.

        Returns:
            The output array, or a tuple where the program has several.

        Raises:
            UsageError: an array has the wrong shape, dtype or layout.
        """
        given = None if out is None else out if isinstance(out, tuple) else (out,)
        results = self._loaded.call_with(inputs, given)
        return results[0] if len(results) == 1 else results

    def time(self, *inputs: AnyArray) -> float:
        """Median seconds of one call on the given inputs, timed without Python's overhead."""
        return self._loaded.time_with(inputs)


def compile(  # noqa: A001
    program: Program,
    target: str | Target = "cpu",
    database: str | AbstractDatabase | None = None,
) -> Kernel:
    """Compile a program with the best schedule on record for the target.

    Args:
        program: the program.
        target: what to compile for.
        database: URL of a tuning database, or an open one. Without a record of the program the
            default schedule is used and ``kernel.record`` is None.

    Raises:
        UsageError: no such target or URL scheme.
        ToolchainError: no C compiler; the message says what to install.
    """
    if not isinstance(program, Program):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"compile expects a program, got {type(program).__name__}; make one with te.program or ops"
        )
    target = target if isinstance(target, Target) else Target(target)
    record = _lookup(program, target, database)
    if record is None:
        scheduled = default_schedule(program, target).program
    else:
        scheduled = replay(Trace.from_json(record.trace), program).program
    source: CSource = emit(lower(scheduled, target), target)
    artefact = compile_source(source, program, target, str(cache_dir("kernels")))
    return Kernel(program, scheduled, source.text, record, target, LoadedKernel(artefact))


def _lookup(
    program: Program, target: Target, database: str | AbstractDatabase | None
) -> TuningRecord | None:
    if database is None:
        return None
    if isinstance(database, AbstractDatabase):
        return database.best(program, target)
    with open_database(database) as opened:
        return opened.best(program, target)


