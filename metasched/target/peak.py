"""How fast this host is: measured peak arithmetic and copy bandwidth of each cache level.

Used to show shares of the peak and as a prior for costs. Measured once by a small generated
program in a process of its own, then kept in the user's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

from metasched.errors import ToolchainError
from metasched.target.cache import cache_dir, write_atomically
from metasched.target.target import Target
from metasched.target.toolchain import c_flags, compile_program, find_toolchain

_FORMAT = 1
_COMPILE_TIMEOUT_S = 60.0
_RUN_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Peak:
    """What the machine can do at best, on all cores of a target together.

    Attributes:
        float32_flops: Float32 operations a second; a fused multiply-add counts two.
        float64_flops: The same for float64.
        l1_bytes_per_s: Bytes read and written a second by copies in the first-level caches.
        l2_bytes_per_s: The same in the second-level caches.
        l3_bytes_per_s: The same in the last-level cache.
        memory_bytes_per_s: The same in main memory.
    """

    float32_flops: float
    float64_flops: float
    l1_bytes_per_s: float
    l2_bytes_per_s: float
    l3_bytes_per_s: float
    memory_bytes_per_s: float


def measure_peak(target: Target) -> Peak:
    """Return the peak of a target that is this host; the first call on a machine measures it.

    Raises:
        ToolchainError: there is no compiler, or the program fails.
        UsageError: the target is of another architecture.
    """
    return _peak(target, str(cache_dir()))


@lru_cache(maxsize=8)
def _peak(target: Target, folder: str) -> Peak:
    path = cache_dir() / f"peak-{_FORMAT}-{target.key()}.json"
    known = _read(path.read_text() if path.exists() else "")
    if known is not None:
        return known
    peak = _measure(target)
    write_atomically(path, json.dumps(asdict(peak)).encode())
    return peak


def _read(text: str) -> Peak | None:
    """Return what a cache file holds; a damaged one is measured again."""
    try:
        values: Mapping[str, Any] = json.loads(text)
        return Peak(**{field.name: float(values[field.name]) for field in fields(Peak)})
    except (ValueError, TypeError, KeyError):
        return None


def _measure(target: Target) -> Peak:
    with tempfile.TemporaryDirectory(prefix="metasched-") as folder:
        program = compile_program(
            _source(target),
            toolchain=find_toolchain(),
            flags=c_flags(target),
            out_path=f"{folder}/peak",
            timeout_s=_COMPILE_TIMEOUT_S,
        )
        environment = {"OMP_NUM_THREADS": str(target.cores), "OMP_PROC_BIND": "true"}
        try:
            done = subprocess.run(
                [str(program)],
                capture_output=True,
                text=True,
                timeout=_RUN_TIMEOUT_S,
                env={**os.environ, **environment},
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ToolchainError(f"cannot measure the peak of this host: {error}") from error
    peak = _read(done.stdout)
    if peak is None:
        raise ToolchainError(f"the peak program printed '{done.stdout[:80]}', expected JSON")
    return peak


def _source(target: Target) -> str:
    """Return the program for the vector width and the cache sizes of a target."""
    shared = target.l3_bytes // target.cores
    # Two buffers of each size are copied into each other, so each is well under half a level.
    per_core = {
        "l1": target.l1_bytes // 3,
        "l2": max(target.l1_bytes, target.l2_bytes // 3),
        "l3": max(target.l2_bytes, shared // 3),
        "memory": 2 * max(shared, target.l2_bytes),
    }
    copies = {f"{name}_bytes_per_s": size // 4096 * 4096 or 4096 for name, size in per_core.items()}
    parts = [f'{{"float{bits}_flops", {int(bits == 64)}, 0}}' for bits in (32, 64)]
    parts += [f'{{"{name}", 0, {size}}}' for name, size in copies.items()]
    accumulators = 12 if target.vector_registers >= 32 else 10
    return (
        _TEMPLATE.replace("@VECTOR_BYTES@", str(target.vector_bits // 8))
        .replace("@PARTS@", ", ".join(parts))
        .replace("@FMA32@", _fma("float", accumulators))
        .replace("@FMA64@", _fma("double", accumulators))
        .replace("@ACCUMULATORS@", str(accumulators))
    )


def _fma(element: str, count: int) -> str:
    """Return a loop of independent multiply-adds, one named vector for each accumulator."""
    names = [f"a{index}" for index in range(count)]
    declared = " ".join(f"vec_{element} {name} = x + {i};" for i, name in enumerate(names))
    steps = " ".join(f"{name} = {name} * x + y;" for name in names)
    total = " + ".join(names)
    return f"{declared}\nfor (long i = 0; i < steps; ++i) {{ {steps} }}\nreturn ({total})[0];"


_TEMPLATE = r"""
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VECTOR_BYTES = @VECTOR_BYTES@, ACCUMULATORS = @ACCUMULATORS@, FEW = 12, MANY = 40 };
typedef float vec_float __attribute__((vector_size(@VECTOR_BYTES@)));
typedef double vec_double __attribute__((vector_size(@VECTOR_BYTES@)));
static const double PART_S = 0.001, ROUNDS_S = 0.8;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

__attribute__((noinline)) static double fma32(long steps, float start) {
    vec_float x = {0}, y = {0};
    x += start; y += 0.5f;
    @FMA32@
}

__attribute__((noinline)) static double fma64(long steps, double start) {
    vec_double x = {0}, y = {0};
    x += start; y += 0.5;
    @FMA64@
}

static volatile double sink;

static void compute(int is_double, long steps) {
    double sum = 0;
    #pragma omp parallel reduction(+ : sum)
    sum += is_double ? fma64(steps, 0.25) : fma32(steps, 0.25f);
    sink = sum;
}

__attribute__((noinline)) static void copy(vec_float *to, const vec_float *from, long bytes) {
    for (long i = 0; i < bytes / VECTOR_BYTES; ++i) {
        to[i] = from[i];
        __asm__ volatile("" ::: "memory");
    }
}

typedef struct {
    const char *name;
    int is_double;     /* for arithmetic */
    long bytes;        /* for copies; 0 for arithmetic */
    void **to, **from; /* buffers of each thread */
    long steps;
    double best;
} part;

static double run(const part *p) {
    double begin = now();
    if (!p->bytes) {
        compute(p->is_double, p->steps);
    } else {
        #pragma omp parallel
        {
            int t = omp_get_thread_num();
            for (long i = 0; i < p->steps; ++i) copy(p->to[t], p->from[t], p->bytes);
        }
    }
    return now() - begin;
}

static double work(const part *p) {
    double lanes = VECTOR_BYTES / (p->is_double ? 8.0 : 4.0);
    double once = p->bytes ? 2.0 * p->bytes : 2.0 * lanes * ACCUMULATORS;
    return once * p->steps * omp_get_max_threads();
}

static void prepare(part *p) {
    p->to = calloc(omp_get_max_threads(), sizeof *p->to);
    p->from = calloc(omp_get_max_threads(), sizeof *p->from);
    #pragma omp parallel
    if (p->bytes) {
        int t = omp_get_thread_num();
        p->to[t] = aligned_alloc(4096, p->bytes);
        p->from[t] = aligned_alloc(4096, p->bytes);
        if (!p->to[t] || !p->from[t]) abort();
        memset(p->to[t], 1, p->bytes);
        memset(p->from[t], 2, p->bytes);
    }
    for (p->steps = 1; run(p) < PART_S; p->steps *= 2) {}
}

int main(void) {
    part parts[] = {@PARTS@};
    int count = sizeof parts / sizeof *parts;
    if (nice(-10) == -1) { /* not permitted: other processes disturb more */ }
    for (int i = 0; i < count; ++i) prepare(&parts[i]);
    /* Short turns in many rounds: what disturbs one turn is gone in another. */
    double begin = now();
    for (int round = 0; round < FEW || (round < MANY && now() - begin < ROUNDS_S); ++round)
        for (int i = 0; i < count; ++i) {
            double spent = run(&parts[i]), rate = work(&parts[i]) / spent;
            if (rate > parts[i].best) parts[i].best = rate;
            /* A disturbed preparation can have found too few steps. */
            if (spent < PART_S / 2) parts[i].steps *= 2;
        }
    for (int i = 0; i < count; ++i)
        printf("%s\"%s\": %.6g", i ? ", " : "{", parts[i].name, parts[i].best);
    printf("}\n");
    return 0;
}
"""
