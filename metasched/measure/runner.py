"""What a runner process does with a request: checks a kernel against a reference and times it.

Inputs and expected outputs are kept between candidates, because one program has thousands.
`worker` runs it, `local` sends the requests, `check` and `timing` do the two halves, `engine`
knows the device.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from metasched.errors import MetaschedError
from metasched.measure.check import compare_outputs, stray_writes
from metasched.measure.engine import AbstractEngine, Arguments, CpuEngine
from metasched.measure.kernel import Array
from metasched.measure.records import (
    CompareRequest,
    CompareResult,
    MeasureConfig,
    RunRequest,
    RunResult,
    Status,
)
from metasched.measure.reference import References
from metasched.measure.timing import TimeCalls, repeats_for, take_samples


class Runner:
    """Checks and times kernels in this process, which may not survive it.

    Args:
        scratch: The job's folder.
        engine: Loads and times; that of the CPU by default.
    """

    def __init__(self, scratch: str, engine: AbstractEngine[Any, Any] | None = None) -> None:
        self._references = References(scratch)
        self._engine: AbstractEngine[Any, Any] = engine or CpuEngine()

    @property
    def is_spent(self) -> bool:
        """Whether the process has to be replaced; its device may be gone."""
        return self._engine.is_spent

    def __call__(self, request: RunRequest | CompareRequest) -> RunResult | CompareResult:
        """Serve one request; what goes wrong without ending the process is in the result."""
        try:
            return self._run(request) if isinstance(request, RunRequest) else self._compare(request)
        except (MetaschedError, MemoryError) as error:
            kind = RunResult if isinstance(request, RunRequest) else CompareResult
            return kind(request.candidate_id, Status.RUN_ERROR, str(error) or "out of memory")

    def _run(self, request: RunRequest) -> RunResult:
        floor = self._engine.noise_floor()
        args, config, clock = request.artefact.args, request.config, _Clock()
        engine = self._engine
        expected = self._expected(request)
        reference_s = clock.lap()
        kernel = engine.load(request.artefact)
        arguments = engine.prepare(args, request.seed)
        with engine.timer(kernel, args, arguments, config) as time_calls:
            load_s = clock.lap()
            time_calls(1)
            judged = _judge(request, engine.results(args, arguments), expected)
            result = replace(judged, load_s=load_s, check_s=reference_s + clock.lap())
            if result.status != Status.OK:
                # The inputs may be what it destroyed.
                engine.drop(args, request.seed)
                return result
            for _ in range(config.warmup - 1):
                time_calls(1)
            samples_s, dropped = take_samples(
                time_calls, config, request.incumbent_s, interruptions=engine.interruptions
            )
        conditions = engine.conditions()
        return replace(
            result,
            samples_s=samples_s,
            dropped=dropped,
            run_s=clock.lap(),
            noise_floor=floor,
            conditions=conditions,
        )

    def _compare(self, request: CompareRequest) -> CompareResult:
        clock, engine, config = _Clock(), self._engine, request.config
        kernels = [engine.load(artefact) for artefact in request.artefacts]
        args = request.artefacts[0].args
        arguments = engine.prepare(args, request.seed)
        with ExitStack() as stack:
            timers = [
                stack.enter_context(engine.timer(kernel, args, arguments, config))
                for kernel in kernels
            ]
            load_s = clock.lap()
            samples_s = _interleave(timers, request.rounds, request.seed, config)
        return CompareResult(
            request.candidate_id,
            Status.OK,
            samples_s=samples_s,
            load_s=load_s,
            run_s=clock.lap(),
        )

    def _expected(self, request: RunRequest) -> tuple[Array, ...] | None:
        if request.reference is None:
            return None
        args = request.artefact.args
        return self._references.expected(request.reference, args, request.seed)


def _judge(
    request: RunRequest, arguments: Arguments, expected: tuple[Array, ...] | None
) -> RunResult:
    """Return what can be said of a kernel from what it left in its arguments."""
    args, number = request.artefact.args, request.candidate_id
    if stray := stray_writes(args, arguments):
        return RunResult(number, Status.WRONG_RESULT, stray)
    if expected is None:
        return RunResult(number, Status.OK)
    pairs = zip(args, arguments, strict=True)
    outputs = [guarded.array for arg, guarded in pairs if arg.is_output]
    specs = [arg for arg in args if arg.is_output]
    verdict = compare_outputs(specs, outputs, expected, request.config.tolerance)
    return RunResult(
        number,
        Status.WRONG_RESULT if verdict.problem else Status.OK,
        verdict.problem,
        max_error=verdict.max_error,
        tolerance=verdict.tolerance,
    )


def _interleave(
    timers: Sequence[TimeCalls], rounds: int, seed: int, config: MeasureConfig
) -> tuple[tuple[float, ...], ...]:
    """Return samples of each kernel; every round takes them all, in a shuffled order."""
    for time_calls in timers:
        time_calls(config.warmup)
    repeats = [repeats_for(time_calls, config) for time_calls in timers]
    samples: list[list[float]] = [[] for _ in timers]
    order, rng = list(range(len(timers))), random.Random(seed)
    for _ in range(rounds):
        rng.shuffle(order)
        for index in order:
            samples[index].append(timers[index](repeats[index]) / repeats[index])
    return tuple(tuple(one) for one in samples)


class _Clock:
    """Tells the seconds since it was last asked."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed
