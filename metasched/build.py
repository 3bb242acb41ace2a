"""From a program and a trace to a loaded-able artefact; these functions run in builder processes.

Replay, postprocessing, lowering, printing and compiling of one candidate happen here, so that the
tuning process only proposes. Everything that crosses the process border is text or a frozen record.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from metasched.analysis.flops import flops
from metasched.codegen import CSource, GpuSource, emit
from metasched.codegen.gpu import emit_gpu
from metasched.errors import CodegenError, ScheduleError, TraceError, UsageError
from metasched.gpu_build import compile_gpu, gpu_source_hash, total_resources
from metasched.ir.expr import int_value
from metasched.ir.hash import structural_hash
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.lower import lower, plain
from metasched.lower.gpu.pipeline import lower_gpu
from metasched.measure.gpu.plan import LaunchPlan
from metasched.measure.records import ArgSpec, Artefact, BuildOutput, Rejected
from metasched.schedule.replay import replay
from metasched.space.default_schedule import default_schedule
from metasched.space.postprocs import AbstractPostproc, postprocess
from metasched.space.postprocs import Rejected as RejectedSchedule
from metasched.target import Target
from metasched.target.toolchain import c_flags, compile_shared, describe_toolchain, find_toolchain
from metasched.trace.trace import Trace

BUILD_CANDIDATE: Final = "metasched.build:build_candidate"
BUILD_REFERENCE: Final = "metasched.build:build_reference"
"""What builders are asked to do with a `Candidate`."""

_PLAIN_FLOPS: Final = 2e10
"""Operations of which plain loops make up to a billion a second on each core."""

SYMBOLIC: Final = -1
"""What stands for a symbolic extent in the shape of an `ArgSpec`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a builder process needs to build one candidate.

    Attributes:
        program: printed text of the unscheduled program.
        trace: JSON of the trace before postprocessing; None for the default schedule.
        postprocs: run after the replay.
        target: what to build for.
    """

    program: str
    trace: str | None
    postprocs: tuple[AbstractPostproc, ...]
    target: Target


def build_candidate(candidate: Candidate, out_dir: str) -> BuildOutput:
    """Replay, postprocess, lower, print and compile one candidate.

    Raises:
        Rejected: a postprocessor, a primitive or the lowering refused it.
        ToolchainError: the compiler failed.
    """
    clock = _Clock()
    program = _parse(candidate.program)
    try:
        scheduled, trace = _schedule(candidate, program)
    except (ScheduleError, TraceError) as error:
        raise Rejected(str(error).splitlines()[0]) from error
    clock.lap("replay")
    try:
        source = printed(scheduled, candidate.target)
    except CodegenError as error:
        raise Rejected(str(error).splitlines()[0]) from error
    clock.lap("lower")
    artefact = compile_source(source, program, candidate.target, out_dir)
    clock.lap("compile")
    used = {} if candidate.target.gpu is None else total_resources(LaunchPlan.read(artefact.path))
    return BuildOutput(artefact, structural_hash(scheduled), trace.to_json(), clock.laps, used)


def build_reference(candidate: Candidate, out_dir: str) -> BuildOutput:
    """Compile the unscheduled program, accumulating in double, to check others against.

    What runs on a GPU is checked against this host's CPU, too. There, a program of so many
    operations that plain loops would take minutes has the default schedule of the CPU.
    """
    program = _parse(candidate.program)
    host = candidate.target if candidate.target.gpu is None else Target("cpu")
    if host is not candidate.target and _flops(program) > _PLAIN_FLOPS:
        source = emit(lower(default_schedule(program, host).program, host), host)
    else:
        source = emit(plain(program), host)
    artefact = compile_source(source, program, host, out_dir)
    return BuildOutput(artefact, structural_hash(program), Trace().to_json(), {})


def printed(scheduled: Program, target: Target) -> CSource | GpuSource:
    """Lower and print a scheduled program in the language of a target.

    Raises:
        CodegenError: the program has what the target cannot do.
    """
    if target.gpu is None:
        return emit(lower(scheduled, target), target)
    return emit_gpu(lower_gpu(scheduled, target), target)


def compile_source(
    source: CSource | GpuSource, program: Program, target: Target, out_dir: str
) -> Artefact:
    """Compile printed text into ``out_dir``; an artefact that exists already is reused.

    Raises:
        ToolchainError: the compiler is missing or failed.
        DeviceError: OpenCL is missing, whose compiler is its driver's.
    """
    if isinstance(source, GpuSource):
        path, plan = compile_gpu(source, arg_specs(program), target, out_dir)
        entry, scratch = source.launches[0].entry, sum(source.buffers)
        return Artefact(str(path), entry, path.stem, plan.parameters, scratch, _flops(program))
    digest = source_hash(source, target)
    path = Path(out_dir) / f"{digest}.so"
    if not path.exists():
        compile_shared(
            source.text, toolchain=find_toolchain(), flags=c_flags(target), out_path=path
        )
    return Artefact(
        path=str(path),
        entry=source.entry,
        source_hash=digest,
        args=arg_specs(program),
        workspace_bytes=source.workspace_bytes,
        flops=_flops(program),
    )


def source_hash(source: CSource | GpuSource, target: Target) -> str:
    """The hash of printed text with the compiler and its flags: what an artefact is known by."""
    if isinstance(source, GpuSource):
        return gpu_source_hash(source, target)
    key = "\n".join((describe_toolchain(), *c_flags(target), source.text))
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def arg_specs(program: Program) -> tuple[ArgSpec, ...]:
    """The parameters as the runner sees them; symbolic sizes are `SYMBOLIC`."""
    outputs = program.outputs
    return tuple(
        ArgSpec(
            p.name,
            tuple(SYMBOLIC if (n := int_value(s)) is None else n for s in p.shape),
            str(p.dtype),
            p in outputs,
        )
        for p in program.params
    )


def changed_parameter(program: Program, scheduled: Program) -> str | None:
    """Why callers of a program cannot call its scheduled form: a parameter has another layout."""
    for given, taken in zip(program.params, scheduled.params, strict=True):
        if (given.shape, given.dtype) != (taken.shape, taken.dtype):
            return f"the schedule transforms the layout of the parameter '{given.name}'"
    return None


def _schedule(candidate: Candidate, program: Program) -> tuple[Program, Trace]:
    if candidate.trace is None:
        schedule = default_schedule(program, candidate.target)
        return schedule.program, schedule.trace
    schedule = replay(Trace.from_json(candidate.trace), program)
    done = postprocess(schedule, candidate.postprocs, candidate.target)
    if isinstance(done, RejectedSchedule):
        raise Rejected(done.reason)
    if (reason := changed_parameter(program, done.program)) is not None:
        raise Rejected(reason)
    return done.program, done.trace


def _flops(program: Program) -> float:
    """Operations of one call; not a number while sizes are symbolic."""
    try:
        return flops(program)
    except UsageError:
        return math.nan


@lru_cache(maxsize=8)
def _parse(text: str) -> Program:
    return parse(text)


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
