"""How long primitives and replays take: ``python -m tests.bench.bench_primitives [NAME ...]``.

Every primitive of the registries is applied to a convolution's nest of 12 loops again and again,
to a state that nothing has looked at yet, and the trace of a tiled convolution is replayed
concretely and with symbolic tiles. Times are medians in milliseconds of processor time, which
other work on the machine disturbs least. The exit status is 1 where a primitive takes longer than
a millisecond, or has no use to be timed (see `tests.bench.uses`).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from metasched import ops
from metasched.ir.stmt import Block
from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.replay import replay
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.site import AbstractChoices, Replay, Symbolic
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from metasched.trace.trace import Trace
from tests.bench.uses import nest, use_of

LIMIT_MS: Final = 1.0
"""What a primitive may take in the median."""

CONV: Final = ops.conv2d(h=56, w=56, ci=64, co=64, k=3, s=1, p=1)


def median_ms(work: Callable[[], object], prepare: Callable[[], object], count: int = 51) -> float:
    """The median processor time of one call, each after a preparation that is not timed."""
    samples: list[float] = []
    for _ in range(count):
        prepare()
        start = time.process_time_ns()
        work()
        samples.append((time.process_time_ns() - start) / 1e6)
    return statistics.median(samples)


def primitive_ms(kind: str) -> float | None:
    """The median time of a primitive; None where no use of it is known."""
    use = use_of(kind)
    if use is None:
        return None
    start = nest()
    step = use(start)
    fresh: list[Schedule] = []

    def prepare() -> None:
        fresh[:] = [start.copy()]
        fresh[0].state = replace(start.state)

    return median_ms(lambda: step(fresh[0]), prepare)


def tiled(structure: str = "SSRSRS", seed: int = 1) -> tuple[Schedule, list[list[Ref]]]:
    """A convolution tiled as MetaSchedule does on CPUs, and its loops by level."""
    sch = Schedule(CONV, seed=seed)
    block = sch.get_block("conv")
    target = sch.get(block)
    assert isinstance(target, Block)
    parts: dict[str, list[list[Ref]]] = {"S": [], "R": []}
    for loop, it in zip(sch.get_loops(block), target.iters, strict=True):
        kind = "S" if it.kind == "spatial" else "R"
        factors = sch.sample_perfect_tile(loop, structure.count(kind), max_innermost_factor=64)
        parts[kind].append(list(sch.split(loop, factors)))
    levels = [[loops.pop(0) for loops in parts[kind]] for kind in structure]
    sch.reorder(*(loop for level in levels for loop in level))
    return sch, levels


def whole() -> Trace:
    """A trace of some forty steps with everything that a search applies."""
    sch, levels = tiled()
    block = sch.get_block("conv")
    cache = sch.cache_write(block, 0, "local")
    sch.reverse_compute_at(cache, levels[1][-1], preserve_unit_loops=True)
    (pad,) = sch.get_producers(block)
    sch.compute_at(pad, sch.sample_compute_location(pad, decision=7), preserve_unit_loops=True)
    sch.enter_postproc()
    fused = sch.fuse(*sch.get_loops(block)[:4])
    sch.parallel(fused)
    sch.annotate(fused, "pragma_auto_unroll_max_step", sch.sample_categorical([16], [1.0]))
    loops = sch.get_loops(block)
    sch.vectorize(loops[-1])
    sch.decompose_reduction(block, loops[4])
    return sch.trace


def replayed(trace: Trace, choices: Callable[[Trace], AbstractChoices]) -> float:
    """The time of one replay."""
    return median_ms(lambda: replay(trace, CONV, choices=choices(trace)), lambda: None, count=30)


def main(names: list[str]) -> int:
    """Print a line per measurement; the exit status."""
    failed = 0
    for kind in names or [*PRIMITIVES, *SAMPLERS]:
        spent = primitive_ms(kind)
        if spent is None:
            print(f"{kind:26} no use found")
        else:
            print(f"{kind:26} {spent:7.3f} ms{'  <-- too slow' if spent > LIMIT_MS else ''}")
        failed += spent is None or spent > LIMIT_MS
    if names:
        return int(failed > 0)
    trace = whole()
    print(f"replay of {len(trace.instructions)} steps")
    print(f"  concrete       {replayed(trace, lambda t: Replay(dict(t.decisions))):7.3f} ms")
    begun = trace.without_postproc()
    print(f"  symbolic       {replayed(begun, lambda t: Symbolic(dict(t.decisions))):7.3f} ms")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
