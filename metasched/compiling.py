"""`compile`: a program to a callable kernel, through the best record or the default schedule."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from metasched.build import SYMBOLIC, changed_parameter, compile_source, printed, source_hash
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
from metasched.measure.gpu.kernel import CalledGpuKernel
from metasched.measure.gpu.plan import Launch, LaunchPlan
from metasched.measure.kernel import LoadedKernel
from metasched.measure.records import Artefact
from metasched.schedule.schedule import Schedule
from metasched.space.default_schedule import default_schedule
from metasched.target import Target
from metasched.target.cache import cache_dir

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled program that takes and returns NumPy arrays; calls are thread safe.

    One for a GPU also takes arrays that lie there, without a copy: CUDA arrays through DLPack or
    ``__cuda_array_interface__``, and pyopencl's. Its results are then there, too.

    Attributes:
        program: what it computes.
        scheduled: the scheduled program it was built from.
        source: the generated C, CUDA C or OpenCL C.
        record: the tuning record it was built from; None when the default schedule was used.
        target: what it was built for.
        artefact: the shared library; for a GPU the cubin or OpenCL's text.
        equality: how the program of the record is equal to this one; None without a record.
    """

    program: Program
    scheduled: Program
    source: str = field(repr=False)
    record: TuningRecord | None
    target: Target
    artefact: Artefact = field(repr=False)
    equality: Equality | None = None

    def __call__(self, *inputs: Any, out: Any = None) -> Any:
        """Compute the outputs.

        Args:
            inputs: one C-contiguous array per input parameter, of its shape and dtype.
            out: an array to write into, or a tuple or list of one per output; new ones are made
                otherwise.

        Returns:
            The output array, or a tuple where the program has several.

        Raises:
            UsageError: an array has the wrong number, shape, dtype or layout.
            DeviceError: there is no GPU to run on, or a package that reaches it is missing.
            MeasureError: a GPU reported that the kernel failed.
        """
        given = None if out is None else _listed(out)
        loaded, arrays, sizes = self._bind(inputs, given)
        loaded.call(arrays, sizes)
        results = tuple(
            a for a, spec in zip(arrays, self.artefact.args, strict=True) if spec.is_output
        )
        return results[0] if len(results) == 1 else results

    def bound(self, *inputs: Any, out: Any) -> Callable[[], None]:
        """Return a function that makes one call again and again, checked once: for small kernels.

        Args:
            inputs: as for a call; of a kernel for a GPU they lie there.
            out: as for a call. The function overwrites it each time, and is for one thread.

        Raises:
            UsageError: as for a call.
            DeviceError: as for a call.
            MeasureError: as for a call.
        """
        loaded, arrays, sizes = self._bind(inputs, _listed(out))
        return loaded.bound(arrays, sizes)

    def time(self, *inputs: Any) -> float:
        """Median seconds of one call on the given inputs, without Python's overhead.

        Raises:
            UsageError: as for a call.
            DeviceError: as for a call.
            MeasureError: as for a call.
        """
        loaded, arrays, sizes = self._bind(inputs, None)
        return median(loaded.time(arrays, sizes=sizes))

    @property
    def launches(self) -> tuple[Launch, ...]:
        """How the kernels of a GPU are launched, in order.

        Raises:
            UsageError: the kernel is for a CPU.
        """
        return self._plan("launches").launches

    @property
    def resources(self) -> Mapping[str, Mapping[str, int]]:
        """What CUDA's compiler says of each kernel: registers, spilled and shared bytes.

        Raises:
            UsageError: the kernel is for a CPU.
        """
        return self._plan("resources").resources

    @property
    def cubin(self) -> bytes:
        """The machine code for a CUDA device.

        Raises:
            UsageError: the kernel is for another target.
        """
        if self.target.kind != "cuda":
            raise UsageError(f"a kernel for '{self.target.kind}' has no cubin; compile for 'cuda'")
        return Path(self.artefact.path).read_bytes()

    def export(self, folder: str | Path) -> tuple[Path, Path]:
        """Write a GPU kernel for use without Python: the code, and its launches as JSON.

        Args:
            folder: where ``NAME.cubin`` (or ``NAME.cl``) and ``NAME.json`` go; made if missing.

        Returns:
            The two files. ``docs/gpu.md`` describes the JSON.

        Raises:
            UsageError: the kernel is for a CPU; its ``artefact`` is a shared library already.
        """
        plan = self._plan("launches to export")
        code = Path(folder) / f"{self.program.name}{Path(self.artefact.path).suffix}"
        code.parent.mkdir(parents=True, exist_ok=True)
        code.write_bytes(Path(self.artefact.path).read_bytes())
        described = code.with_suffix(".json")
        described.write_text(plan.to_json(code.name), encoding="utf-8")
        return code, described

    def _plan(self, what: str) -> LaunchPlan:
        if self.target.gpu is None:
            raise UsageError(f"a kernel for a CPU has no {what}; compile for a GPU target")
        return LaunchPlan.read(self.artefact.path)

    def _bind(
        self, inputs: Sequence[Any], out: Sequence[Any] | None
    ) -> tuple[LoadedKernel | CalledGpuKernel, list[Any], tuple[int, ...]]:
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
        fed, loaded = iter(inputs), _load(artefact, self.target.gpu is not None)
        filled = iter(
            out if out is not None
            else [loaded.new_output(spec, inputs) for spec in artefact.args if spec.is_output]
        )  # fmt: skip
        arrays = [next(filled if spec.is_output else fed) for spec in artefact.args]
        return loaded, arrays, tuple(sizes.values())

    def _sizes(self, inputs: Sequence[Any]) -> dict[Var, int]:
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
    source = printed(scheduled, target)
    folder = cache_dir() / "kernels"
    folder.mkdir(exist_ok=True)
    artefact = compile_source(source, program, target, str(folder))
    return Kernel(program, scheduled, source.text, record, target, artefact, equality)


def _listed(out: Any) -> tuple[Any, ...]:
    return tuple(cast("Sequence[Any]", out)) if isinstance(out, tuple | list) else (out,)


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
    source = printed(scheduled_as(record, program), target)
    if source_hash(source, target) != record.source_hash:
        raise DatabaseError(
            f"the snapshot locks kernel {record.source_hash[:12]} of '{record.workload.name}', but"
            f" this metasched and {target.toolchain} make {source_hash(source, target)[:12]} of its"
            " schedule; verify the database it was made from, and write it again"
        )


@lru_cache(maxsize=256)
def _load(artefact: Artefact, is_gpu: bool) -> LoadedKernel | CalledGpuKernel:
    return CalledGpuKernel(artefact) if is_gpu else LoadedKernel(artefact)


def _extent(extent: Any, sizes: dict[Var, int]) -> int:
    known = sizes.get(extent) if isinstance(extent, Var) else int_value(extent)
    if known is None:
        raise UsageError(f"the extent {extent} of a parameter is no size and no number")
    return known
