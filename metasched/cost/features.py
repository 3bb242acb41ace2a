"""Per-store features of a population, in the manner of Ansor and MetaSchedule, and the prior.

The families are theirs (arithmetic, loop kinds, buffers with touched bytes, lines, reuse and
stride, the arithmetic-intensity curve, allocation, outer scope); the register tile and the parts of
the analytic prior are added. Magnitudes enter as ``log2(1 + x)``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from metasched.analysis.nest import COUNTED, ProgramSummary
from metasched.cost.analytic import StoreCost, store_cost
from metasched.cost.machine import Machine
from metasched.cost.numbers import (
    AccessNumbers,
    Array,
    Evaluator,
    StoreNumbers,
    Values,
    evaluate_store,
)

FEATURE_VERSION: Final = 3
_BUFFERS: Final = 5
_CURVE: Final = 10
_KINDS: Final = {"read": 0.0, "write": 1.0, "update": 2.0}

_BUFFER_FIELDS: Final = (
    "kind", "touches", "bytes", "unique_bytes", "lines", "unique_lines", "stride", "contiguous",
    "inner_bytes", "tile_bytes", "reloads_tile", "reload_bytes", "moves_innermost", "guarded",
    "dims",
)  # fmt: skip

FEATURE_NAMES: Final[tuple[str, ...]] = (
    *(f"ops_{name}" for name in COUNTED),
    "executions", "vector", "vector_ops", "vector_waste", "parallel", "cores", "unroll",
    "loops", "spatial_product", "reduce_product", "innermost_extent", "tile", "accumulators",
    "register_pressure", "reduce_run", "is_reduction", "is_predicated", "is_tensorized",
    "outer_product", "dtype_bytes",
    *(f"buffer{k}_{field}" for k in range(_BUFFERS) for field in _BUFFER_FIELDS),
    *(f"intensity_{k}" for k in range(_CURVE)),
    "alloc_bytes", "footprint",
    "prior_total", "prior_compute", "prior_l2", "prior_l3", "prior_memory",
    "traffic_l1", "traffic_l2", "traffic_l3",
)  # fmt: skip


def evaluate_program(
    summary: ProgramSummary, values: Values, size: int, machine: Machine, private: frozenset[str]
) -> tuple[npt.NDArray[np.float32], Array]:
    """Features and prior of every store for a population.

    Args:
        summary: the scheduled program, before postprocessing.
        values: tile sizes and other sampled values, ``(P,)`` each.
        size: P.
        machine: rates of the target.
        private: names of buffers that are not parameters.

    Returns:
        features ``(P, stores, len(FEATURE_NAMES))`` float32 and prior seconds ``(P, stores)``.
    """
    evaluate = Evaluator(values, size)
    limit = _note(summary, evaluate, "meta_schedule.parallel", 16.0 * machine.cores)
    vector = _note(summary, evaluate, "meta_schedule.vectorize", 64.0)
    unroll = _note(summary, evaluate, "meta_schedule.unroll_explicit", 0.0)
    features = np.zeros((size, len(summary.stores), len(FEATURE_NAMES)), dtype=np.float32)
    prior = np.zeros((size, len(summary.stores)))
    seen: set[int] = set()
    for k, store in enumerate(summary.stores):
        numbers = evaluate_store(
            store, evaluate, max_jobs=limit, max_vector=vector, unroll=unroll,
            vector_bytes=machine.vector_bytes, private=private,
        )  # fmt: skip
        cost = store_cost(numbers, machine)
        total = cost.total_s
        if store.nest not in seen:
            seen.add(store.nest)
            total = total + np.where(numbers.parallel > 1.0, machine.fork_s, 0.0)
        prior[:, k] = total + 1e-9
        features[:, k, :] = _row(numbers, cost, machine, private)
    return features, prior


def _note(summary: ProgramSummary, evaluate: Evaluator, key: str, default: float) -> Array:
    value = summary.annotations.get(key)
    return np.full(evaluate.size, default) if value is None else evaluate(value)


_LINEAR: Final = frozenset({
    "vector", "vector_ops", "vector_waste", "cores", "loops", "accumulators", "register_pressure",
    "is_reduction", "is_predicated", "is_tensorized", "dtype_bytes",
    *(
        f"buffer{k}_{field}"
        for k in range(_BUFFERS)
        for field in ("kind", "contiguous", "moves_innermost", "guarded", "dims")
    ),
})  # fmt: skip
"""Features that enter as they are; all others as ``log2(1 + x)``, seconds in nanoseconds."""

_IS_LOG: Final = np.array([name not in _LINEAR for name in FEATURE_NAMES])


def _row(
    store: StoreNumbers, cost: StoreCost, machine: Machine, private: frozenset[str]
) -> npt.NDArray[np.float32]:
    """The features of one store, ``(P, features)``."""
    summary = store.summary
    total = store.trips[-1]
    reduces = np.array([loop.reduces for loop in summary.loops], dtype=np.bool_)
    reduce_product = np.prod(store.extents[reduces], axis=0)
    lanes = machine.vector_bytes / summary.dtype.bytes
    columns: list[Array | float] = [total * summary.counts[name] for name in COUNTED]
    columns += [
        total, store.vector, store.vector_ops, store.vector_ops * lanes / store.vector,
        store.parallel, cost.cores, store.unroll, len(summary.loops),
        total / reduce_product, reduce_product, store.extents[-1] if len(store.extents) else 1.0,
        store.tile, store.accumulators, store.accumulators / machine.registers, store.reduce_run,
        summary.reduction, summary.predicated, summary.tensorized, store.parallel,
        summary.dtype.bytes,
    ]  # fmt: skip
    ordered = store.accesses[:_BUFFERS]
    for access in ordered:
        columns += _buffer(access, store)
    columns += [0.0] * (len(_BUFFER_FIELDS) * (_BUFFERS - len(ordered)))
    columns += list(_curve(store))
    footprint = sum(a.bytes[0] for a in store.accesses)
    held = sum(
        a.bytes[0]
        for a, s in zip(store.accesses, summary.accesses, strict=True)
        if s.buffer.name in private
    )
    columns += [held, footprint]
    parts = (cost.total_s, cost.compute_s, cost.l2_s, cost.l3_s, cost.memory_s)
    columns += [x * 1e9 for x in parts]
    columns += cost.traffic
    table = np.empty((len(FEATURE_NAMES), len(total)))
    for k, column in enumerate(columns):
        table[k] = column
    table[_IS_LOG] = np.log2(1.0 + table[_IS_LOG])
    return table.T.astype(np.float32)


def _buffer(access: AccessNumbers, store: StoreNumbers) -> list[Array | float]:
    depth = len(store.extents)
    # The depth just outside the register tile is where operands are streamed.
    outside = np.clip(depth - store.in_tile.sum(axis=0) - 1, 0, depth)
    pick = np.arange(len(store.vector))
    reloads, touched = access.reloads[outside, pick], access.bytes[outside, pick]
    return [
        _KINDS[access.kind],
        store.trips[-1],
        store.trips[-1] * access.element_bytes,
        access.bytes[0],
        reloads * access.lines[outside, pick],
        access.lines[0],
        access.stride,
        np.where(access.stride <= 1.0, 1.0, 0.0),
        access.bytes[max(depth - 2, 0)],
        touched,
        reloads,
        reloads * touched,
        bool(depth) and bool(access.depends[-1]),
        access.guarded,
        len(access.depends),
    ]


def _curve(store: StoreNumbers) -> Array:
    """Arithmetic intensity inside the nest, at equal steps of the logarithm of the work inside."""
    counts = store.summary.counts
    flops = max(counts["add"] + counts["mul"] + counts["div"] + counts["special"], 1)
    inner = store.trips[-1] / store.trips
    touched = np.sum([a.bytes for a in store.accesses], axis=0)
    intensity = (flops * inner / touched)[::-1]
    work = np.log2(inner)
    steps = np.linspace(0.0, 1.0, _CURVE)[:, None, None]
    # Per step the innermost depth that holds at least this much work.
    enough = work[::-1] >= steps * work[0] - 1e-9
    return np.take_along_axis(intensity, np.argmax(enough, axis=1), axis=0)
