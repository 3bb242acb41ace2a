"""How long primitives and replays take: ``python -m tests.bench.bench_primitives``.

A primitive is applied to a tiled convolution again and again: some with arguments that are a fair
use, and each of them with those that the random tests draw. The trace of such a schedule is
replayed concretely and with symbolic tiles. Times are medians in milliseconds of processor time,
which other work on the machine disturbs least.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable

from metasched import ops
from metasched.errors import ScheduleError
from metasched.ir.stmt import Block
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import AbstractChoices, Replay, Symbolic
from metasched.schedule.schedule import Schedule
from metasched.trace.instruction import Ref
from metasched.trace.trace import Trace
from tests.core.schedule.steps import STEPS
from tests.core.schedule.steps.step import Step

CONV = ops.conv2d(h=56, w=56, ci=64, co=64, k=3, s=1, p=1)


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


def median_ms(work: Callable[[], object], count: int = 30) -> float:
    """The median processor time of one call."""
    samples: list[float] = []
    for _ in range(count):
        start = time.process_time()
        work()
        samples.append(time.process_time() - start)
    return statistics.median(samples) * 1e3


def primitives() -> Iterable[tuple[str, Callable[[Schedule, list[list[Ref]]], object]]]:
    """Each loop primitive with a fair use of it on the tiled convolution."""
    yield "split", lambda s, x: s.split(x[-1][-1], [None, 2])
    yield "fuse", lambda s, x: s.fuse(*x[0])
    yield "reorder", lambda s, x: s.reorder(*x[3], *x[2])
    yield "parallel", lambda s, x: s.parallel(x[0][1])
    yield "vectorize", lambda s, x: s.vectorize(x[-1][-1])
    yield "unroll", lambda s, x: s.unroll(x[-1][-1])
    yield "annotate", lambda s, x: s.annotate(x[0][0], "key", 1)
    yield "add_unit_loop", lambda s, x: s.add_unit_loop(x[0][0])
    yield "get_loops", lambda s, x: s.get_loops(s.get_block("conv"))
    yield "cache_write", lambda s, x: s.cache_write(s.get_block("conv"), 0, "local")
    yield "cache_read", lambda s, x: s.cache_read(s.get_block("conv"), 0, "local")
    yield "compute_at", lambda s, x: s.compute_at(s.get_block("pad"), x[1][-1], True)


def at_random(start: Schedule, step: Step, count: int = 15) -> tuple[float, int] | None:
    """The median time of a primitive with random arguments, and how often it was legal."""
    samples: list[float] = []
    for seed in range(20 * count):
        sch, rng = start.copy(), random.Random(seed)
        try:
            proposal = step.draw(rng, sch)
            begin = time.process_time()
            proposal()
            samples.append(time.process_time() - begin)
        except ScheduleError:
            continue
        if len(samples) == count:
            break
    return (statistics.median(samples) * 1e3, len(samples)) if samples else None


def replayed(trace: Trace, choices: Callable[[Trace], AbstractChoices]) -> float:
    """The time of one replay."""
    return median_ms(lambda: replay(trace, CONV, choices=choices(trace)))


def main() -> None:
    """Print one line per measurement."""
    start, levels = tiled()
    for name, apply in primitives():
        sch = start.copy()
        base = median_ms(start.copy)
        spent = median_ms(lambda apply=apply: apply(start.copy(), levels)) - base
        print(f"{name:16} {spent:7.3f} ms on {len(sch.state.tree.loops)} loops")
    start, _ = tiled("SRSR")
    print(f"with random arguments, on {len(start.get_loops(start.get_block('conv')))} loops")
    for step in sorted(STEPS, key=lambda s: s.name):
        found = at_random(start, step)
        said = "refused every time" if found is None else f"{found[0]:7.3f} ms of {found[1]}"
        print(f"  {step.name:26} {said}")
    trace = whole()
    print(f"replay of {len(trace.instructions)} steps")
    print(f"  concrete       {replayed(trace, lambda t: Replay(dict(t.decisions))):7.3f} ms")
    begun = trace.without_postproc()
    print(f"  symbolic       {replayed(begun, lambda t: Symbolic(dict(t.decisions))):7.3f} ms")


if __name__ == "__main__":
    main()
