"""What the parent, its builders and its runners exchange: frozen, picklable records.

Nothing here starts a process or loads a kernel. Read `workers` next for who sends what to whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from metasched.errors import UsageError


class Status(StrEnum):
    """How a candidate ended; everything but ``OK`` comes with a message that says why."""

    OK = "ok"
    REJECTED = "rejected"
    BUILD_ERROR = "build_error"
    BUILD_TIMEOUT = "build_timeout"
    RUN_ERROR = "run_error"
    RUN_TIMEOUT = "run_timeout"
    WRONG_RESULT = "wrong_result"
    LOST = "lost"


class Rejected(Exception):
    """Raised by a build task for a candidate not worth compiling; the text is the reason."""


@dataclass(frozen=True, slots=True)
class ArgSpec:
    """One array parameter of a kernel, in the order of the parameters.

    Attributes:
        name: The name of the buffer.
        shape: The extents.
        dtype: The name of the element type, such as ``"float32"``.
        is_output: Whether the kernel writes it; an output is never read before it is written.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    is_output: bool


@dataclass(frozen=True, slots=True)
class Artefact:
    """A compiled kernel in a file, and all that is needed to call it.

    On a CPU that is a shared library, whose entry point is ``void entry(void **args, void
    *workspace)``: ``args`` holds the data pointers of `args` in order, ``workspace`` is 64-byte
    aligned scratch memory of the caller. On a GPU it is a cubin or OpenCL's text, and beside it,
    under the same name with the ending ``.json``, lies the `metasched.measure.gpu.plan` of its
    launches.

    Attributes:
        path: The file.
        entry: The name of the function, or of the first kernel.
        source_hash: The hash of the source; two artefacts of one hash compute the same.
        args: The parameters.
        workspace_bytes: Bytes of scratch memory for one call.
        flops: Arithmetic operations of one call, for display.
    """

    path: str
    entry: str
    source_hash: str
    args: tuple[ArgSpec, ...]
    workspace_bytes: int
    flops: float


@dataclass(frozen=True, slots=True)
class MeasureConfig:
    """How long and how carefully a candidate is built, checked and timed.

    Attributes:
        warmup: Calls before the first sample; the first of them is the one that is checked.
        sample_s: Seconds that a sample lasts at least; fast kernels are repeated within one.
        min_samples: Samples taken before the spread can end the measurement.
        max_samples: Samples taken at most.
        half_width: The measurement ends when half the confidence interval of the median is at
            most this share of the median.
        max_total_s: Seconds after which no further sample is begun, once there are two.
        drop_factor: A first sample worse than this many times the incumbent ends the
            measurement; the sample is kept.
        flush: Whether the caches are emptied before every call (a sample is then one call).
        rotate: Whether calls on a GPU take turns over copies of the arrays that together are
            larger than its cache.
        build_timeout_s: Deadline of a build, in seconds.
        run_timeout_s: Deadline of a run, from loading to the last sample, in seconds.
        reference_timeout_s: Seconds allowed on top while the expected outputs are not known yet.
        tolerance: The largest relative error that passes; ``None`` chooses by the dtype.
    """

    warmup: int = 1
    sample_s: float = 2e-3
    min_samples: int = 3
    max_samples: int = 12
    half_width: float = 0.02
    max_total_s: float = 0.1
    drop_factor: float = 3.0
    flush: bool = False
    rotate: bool = False
    build_timeout_s: float = 15.0
    run_timeout_s: float = 10.0
    reference_timeout_s: float = 60.0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.warmup < 1:
            raise UsageError(f"warmup is {self.warmup}, expected at least 1: the checked call")
        if not 1 <= self.min_samples <= self.max_samples:
            given = f"min_samples is {self.min_samples} and max_samples {self.max_samples}"
            raise UsageError(f"{given}, expected 1 <= min_samples <= max_samples")
        names = ("sample_s", "half_width", "max_total_s", "drop_factor")
        for name in (*names, "build_timeout_s", "run_timeout_s", "reference_timeout_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}, expected a positive number")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One candidate to build.

    Attributes:
        candidate_id: Chosen by the caller, returned with the result.
        task: ``"module:function"``, called in a builder as ``function(payload, out_dir)``; it
            returns a `BuildOutput` or raises `Rejected`, ``CodegenError`` or ``ToolchainError``.
        payload: Any picklable value whose classes a builder can import.
        target: The key of what it is built for; empty where workers serve one target only.
        modules: The folder of modules that come with the job, see `metasched.measure.modules`;
            empty without any.
    """

    candidate_id: int
    task: str
    payload: Any
    target: str = ""
    modules: str = ""


@dataclass(frozen=True, slots=True)
class BuildOutput:
    """What a build task returns.

    Attributes:
        artefact: The compiled kernel.
        program_hash: The structural hash of the scheduled program.
        trace: The JSON text of the trace with its decisions.
        detail: Seconds, or other figures, by name.
        resources: What the compiler says that the kernel uses, such as registers, by name.
    """

    artefact: Artefact
    program_hash: str
    trace: str
    detail: Mapping[str, float] = field(default_factory=dict[str, float])
    resources: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class BuildResult:
    """How a build ended; `output` is present exactly when the status is ``OK``.

    `build_s` counts no time in which the builder was paused for a measurement.
    """

    candidate_id: int
    status: Status
    message: str = ""
    output: BuildOutput | None = None
    queue_s: float = 0.0
    build_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One kernel to check against a reference and to time.

    Attributes:
        candidate_id: Chosen by the caller, returned with the result.
        artefact: The kernel.
        reference: The unscheduled program, compiled plainly; ``None`` skips the comparison.
        seed: What the inputs are drawn from.
        config: How it is measured.
        incumbent_s: The best time so far in seconds, for the drop rule.
        target: The key of what it runs on; empty where workers serve one target only.
    """

    candidate_id: int
    artefact: Artefact
    reference: Artefact | None = None
    seed: int = 0
    config: MeasureConfig = MeasureConfig()
    incumbent_s: float | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        candidate_id: That of the request.
        status: How it ended.
        message: Why it failed; empty when it did not.
        samples_s: Seconds of one call, one figure a sample, in the order they were taken.
        dropped: Whether the drop rule ended the measurement.
        max_error: The largest relative error over all outputs; ``None`` when not compared.
        tolerance: What `max_error` may be at most, on the same scale.
        queue_s: Seconds spent waiting for a runner.
        load_s: Seconds spent loading the kernel and preparing its inputs.
        check_s: Seconds spent on the checked call, the comparison and, once, the reference.
        run_s: Seconds spent on warm-up and samples.
        noise_floor: What times of a fixed piece of work differ by on this runner, as a share of
            the time; ``None`` when that was not measured.
        conditions: What the device said of itself after the samples, such as its clock and
            temperature, by name.
        is_late: Whether it came from a worker that had been given up, after or beside the result
            that counts; its samples are additional.
    """

    candidate_id: int
    status: Status
    message: str = ""
    samples_s: tuple[float, ...] = ()
    dropped: bool = False
    max_error: float | None = None
    tolerance: float | None = None
    queue_s: float = 0.0
    load_s: float = 0.0
    check_s: float = 0.0
    run_s: float = 0.0
    noise_floor: float | None = None
    conditions: Mapping[str, float] = field(default_factory=dict[str, float])
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """Kernels with the same parameters to time interleaved in one process.

    Attributes:
        candidate_id: Chosen by the caller, returned with the result.
        artefacts: The kernels; they have passed their check already.
        rounds: How often each is sampled; every round takes them in another order.
        seed: What the inputs and the orders are drawn from.
        config: How they are measured.
        target: As in `RunRequest`.
    """

    candidate_id: int
    artefacts: tuple[Artefact, ...]
    rounds: int = 10
    seed: int = 0
    config: MeasureConfig = MeasureConfig()
    target: str = ""

    def __post_init__(self) -> None:
        if not self.artefacts or self.rounds < 1:
            given = f"{len(self.artefacts)} artefacts and {self.rounds} rounds"
            raise UsageError(f"cannot compare {given}, expected at least one of each")
        if any(_shapes(artefact) != _shapes(self.artefacts[0]) for artefact in self.artefacts):
            raise UsageError("cannot compare kernels whose parameters differ in shape or dtype")


@dataclass(frozen=True, slots=True)
class CompareResult:
    """The samples of each kernel of a `CompareRequest`, in the order of its artefacts."""

    candidate_id: int
    status: Status
    message: str = ""
    samples_s: tuple[tuple[float, ...], ...] = ()
    queue_s: float = 0.0
    load_s: float = 0.0
    run_s: float = 0.0


AnyRun: TypeAlias = RunRequest | CompareRequest
AnyResult: TypeAlias = BuildResult | RunResult | CompareResult


def _shapes(artefact: Artefact) -> tuple[tuple[tuple[int, ...], str, bool], ...]:
    return tuple((arg.shape, arg.dtype, arg.is_output) for arg in artefact.args)
