"""Times calls of a compiled kernel from C, so that no Python overhead is in the figures.

A tiny library is generated, compiled once for each compiler and kept in the user's cache.
`statistics` decides how many samples are taken, `kernel` is what is timed.
"""

from __future__ import annotations

import ctypes
import hashlib
import resource
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from metasched.measure.records import MeasureConfig
from metasched.measure.statistics import is_decided, is_hopeless, repeats_per_sample
from metasched.target.cache import cache_dir
from metasched.target.detect import host_facts
from metasched.target.toolchain import BASE_FLAGS, Toolchain, compile_shared, find_toolchain

TimeCalls = Callable[[int], float]
"""Calls a kernel so many times in a row and returns the seconds that took."""

_SOURCE = r"""
#include <stdint.h>
#include <time.h>

typedef void (*kernel)(void **, void *);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double metasched_time(kernel call, void **args, void *workspace, int64_t repeats) {
    double begin = now();
    for (int64_t i = 0; i < repeats; ++i) call(args, workspace);
    return now() - begin;
}

/* Always the same chain of arithmetic on every thread, some 2 ms of it, from a value to one. */
double metasched_work(double *value) {
    double begin = now(), start = *value, sum = 0.0;
    #pragma omp parallel reduction(+ : sum)
    {
        double x = start;
        for (int64_t i = 0; i < 1500000; ++i) x = x * 0.999999 + 1e-9;
        sum += x;
    }
    *value = sum;
    return now() - begin;
}

/* Touches a buffer larger than the caches on every thread, so that they hold nothing else. */
void metasched_flush(char *buffer, int64_t bytes) {
    #pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < bytes; i += 64) ((volatile char *)buffer)[i] += 1;
}
"""
_COMPILE_TIMEOUT_S = 60.0
_CALIBRATION_S = 2e-4
_MAX_REPEATS = 1 << 24
_PATIENCE = 2
_SHORT_S = 2e-2


def involuntary_switches() -> int:
    """Return how often a thread of this process has lost its core to another process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def take_samples(
    time_calls: TimeCalls,
    config: MeasureConfig,
    incumbent_s: float | None = None,
    *,
    interruptions: Callable[[], int] = involuntary_switches,
) -> tuple[tuple[float, ...], bool]:
    """Time a warm kernel until its median is known well enough.

    A sample in which another process took a core is set aside while there is time for better
    ones: a thread that waits for its core doubles the time of a parallel kernel.

    Args:
        time_calls: Calls the kernel.
        config: When it is well enough.
        incumbent_s: The best time so far in seconds, for the drop rule.
        interruptions: A counter that moves when a sample is disturbed.

    Returns:
        Seconds of one call for each sample, and whether the drop rule ended it.
    """
    begin, before = time.perf_counter(), interruptions()
    repeats, first_s = _calibrate(time_calls, config)
    taken = [] if first_s is None else [first_s]
    clean = taken[:] if interruptions() == before else []
    while True:
        spent_s = time.perf_counter() - begin
        # One short sample may just have met a thread that woke late; a second one is cheap.
        enough = len(taken) > 1 or (clean and spent_s > _SHORT_S)
        if enough and is_hopeless(min(taken), incumbent_s, config):
            return tuple(taken), True
        if is_decided(clean, spent_s, config):
            return tuple(clean), False
        if is_decided(taken, spent_s, config) and _is_patience_spent(taken, spent_s, config):
            return tuple(taken), False
        before = interruptions()
        taken.append(time_calls(repeats) / repeats)
        if interruptions() == before:
            clean.append(taken[-1])


def _is_patience_spent(taken: Sequence[float], spent_s: float, config: MeasureConfig) -> bool:
    """Whether too much was tried for undisturbed samples to go on."""
    too_long = spent_s >= _PATIENCE * config.max_total_s
    return too_long or len(taken) >= _PATIENCE * config.max_samples


def repeats_for(time_calls: TimeCalls, config: MeasureConfig) -> int:
    """Return the calls that one sample of a warm kernel needs."""
    return _calibrate(time_calls, config)[0]


def _calibrate(time_calls: TimeCalls, config: MeasureConfig) -> tuple[int, float | None]:
    """Return the calls of one sample, and the first sample where finding out was as long as one.

    Times too short for the clock are repeated until they are not.
    """
    if config.flush:
        return 1, None
    repeats = 1
    while (elapsed_s := time_calls(repeats)) < _CALIBRATION_S and repeats < _MAX_REPEATS:
        repeats *= 8
    call_s = elapsed_s / repeats
    needed = min(_MAX_REPEATS, repeats_per_sample(call_s, config))
    return (repeats, call_s) if elapsed_s >= config.sample_s else (needed, None)


def timer_library() -> ctypes.CDLL:
    """Return the loaded timing library, compiling it on the first use on this machine.

    Raises:
        ToolchainError: there is no compiler.
    """
    return _load(str(_compiled(find_toolchain())))


def flush_caches() -> None:
    """Fill the caches of all cores with other data."""
    buffer, size = _flush_buffer()
    timer_library().metasched_flush(buffer, size)


def time_fixed_work() -> float:
    """Return the seconds that a fixed piece of arithmetic takes on all threads."""
    return float(timer_library().metasched_work(ctypes.byref(ctypes.c_double(1.0))))


@lru_cache(maxsize=4)
def _compiled(toolchain: Toolchain) -> Path:
    text = f"{toolchain} {BASE_FLAGS} {_SOURCE}"
    path = cache_dir() / f"timer-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not path.exists():
        compile_shared(
            _SOURCE,
            toolchain=toolchain,
            flags=BASE_FLAGS,
            out_path=path,
            timeout_s=_COMPILE_TIMEOUT_S,
        )
    return path


@lru_cache(maxsize=4)
def _load(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(path)
    library.metasched_time.restype = ctypes.c_double
    library.metasched_time.argtypes = (*(ctypes.c_void_p,) * 3, ctypes.c_int64)
    library.metasched_work.restype = ctypes.c_double
    library.metasched_work.argtypes = (ctypes.c_void_p,)
    library.metasched_flush.restype = None
    library.metasched_flush.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    return library


@lru_cache(maxsize=1)
def _flush_buffer() -> tuple[ctypes.Array[ctypes.c_char], int]:
    facts = host_facts()
    size = 2 * (facts["l3_bytes"] + facts["cores"] * facts["l2_bytes"])
    return ctypes.create_string_buffer(size), size
