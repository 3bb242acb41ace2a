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

FEATURE_VERSION: Final = 1
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
    "register_pressure", "reduce_run", "is_reduction", "is_predicated", "outer_product", "dtype_bytes",
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


def _log(x: Array) -> Array:
    return np.log2(1.0 + x)


def _seconds(x: Array) -> Array:
    return np.log2(x * 1e9 + 1.0)


def _row(
    store: StoreNumbers, cost: StoreCost, machine: Machine, private: frozenset[str]
) -> npt.NDArray[np.float64]:
    size = store.vector.shape[0]
    summary = store.summary
    ones = np.ones(size)
    total = store.trips[-1]
    reduces = np.array([loop.reduces for loop in summary.loops], dtype=np.bool_)
    reduce_product = np.prod(np.where(reduces[:, None], store.extents, 1.0), axis=0)
    lanes = machine.vector_bytes / summary.dtype.bytes
    innermost = store.extents[-1] if len(store.extents) else ones
    private_bytes = sum(
        (
            a.bytes[0]
            for a, s in zip(store.accesses, summary.accesses, strict=True)
            if s.buffer.name in private
        ),
        np.zeros(size),
    )
    columns: list[Array] = [_log(total * summary.counts[name]) for name in COUNTED]
    columns += [
        _log(total), store.vector, store.vector_ops, store.vector_ops * lanes / store.vector,
        _log(store.parallel), cost.cores, _log(store.unroll), ones * len(summary.loops),
        _log(total / reduce_product), _log(reduce_product), _log(innermost), _log(store.tile),
        store.accumulators, store.accumulators / machine.registers, _log(store.reduce_run),
        ones * summary.reduction, ones * summary.predicated, _log(store.parallel),
        ones * summary.dtype.bytes,
    ]  # fmt: skip
    order = sorted(
        range(len(store.accesses)), key=lambda k: -float(np.median(store.accesses[k].bytes[0]))
    )
    for k in range(_BUFFERS):
        if k < len(order):
            columns += _buffer(store.accesses[order[k]], store)
        else:
            columns += [np.zeros(size)] * len(_BUFFER_FIELDS)
    columns += _curve(store)
    footprint = sum((a.bytes[0] for a in store.accesses), np.zeros(size))
    columns += [_log(private_bytes), _log(footprint)]
    columns += [
        _seconds(x) for x in (cost.total_s, cost.compute_s, cost.l2_s, cost.l3_s, cost.memory_s)
    ]
    columns += [_log(x) for x in cost.traffic]
    return np.stack(columns, axis=1)


def _buffer(access: AccessNumbers, store: StoreNumbers) -> list[Array]:
    size = store.vector.shape[0]
    ones = np.ones(size)
    depth = len(store.extents)
    # The depth just outside the register tile is where operands are streamed.
    outside = np.clip(depth - store.in_tile.sum(axis=0) - 1, 0, depth)
    pick = np.arange(size)
    moves = bool(depth) and bool(access.depends[-1])
    return [
        ones * _KINDS[access.kind],
        _log(store.trips[-1]),
        _log(store.trips[-1] * access.element_bytes),
        _log(access.bytes[0]),
        _log(access.reloads[outside, pick] * access.lines[outside, pick]),
        _log(access.lines[0]),
        _log(access.stride),
        (access.stride <= 1.0).astype(np.float64),
        _log(access.bytes[max(depth - 2, 0)]),
        _log(access.bytes[outside, pick]),
        _log(access.reloads[outside, pick]),
        _log(access.reloads[outside, pick] * access.bytes[outside, pick]),
        ones * moves,
        ones * access.guarded,
        ones * len(access.depends),
    ]


def _curve(store: StoreNumbers) -> list[Array]:
    """Arithmetic intensity inside the nest, at equal steps of the logarithm of the work inside."""
    counts = store.summary.counts
    flops = max(counts["add"] + counts["mul"] + counts["div"] + counts["special"], 1)
    inner = store.trips[-1] / store.trips
    touched = np.sum([a.bytes for a in store.accesses], axis=0)
    intensity = np.log2(1.0 + flops * inner / touched)
    work = np.log2(inner)
    top = np.maximum(work[0], 1e-6)
    points: list[Array] = []
    for k in range(_CURVE):
        wanted = top * k / (_CURVE - 1)
        # The innermost depth that holds at least this much work.
        level = np.argmax((work >= wanted - 1e-9)[::-1], axis=0)
        points.append(intensity[::-1][level, np.arange(len(wanted))])
    return points
