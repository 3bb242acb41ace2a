"""The analytic prior: seconds of each store from issue slots, caches and parallelism.

A roofline per cache level (Williams et al., "Roofline", CACM 2009) with the footprints of the loop
nest deciding what each level must deliver, and an issue-slot count for the register tile. It ranks
candidates before anything was measured; the learned model corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metasched.cost.machine import Machine
from metasched.cost.numbers import LINE_BYTES, AccessNumbers, Array, StoreNumbers

_SPECIAL_CYCLES = 18.0
_DIVIDE_CYCLES = 10.0
_SELECT_CYCLES = 2.0
_GATHER_CYCLES = 1.5
_LATENCY_CYCLES = 4.0
_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class StoreCost:
    """Predicted seconds of one store and their parts, each ``(P,)``."""

    total_s: Array
    compute_s: Array
    l2_s: Array
    l3_s: Array
    memory_s: Array
    cores: Array
    traffic: tuple[Array, Array, Array]


def store_cost(store: StoreNumbers, machine: Machine) -> StoreCost:
    """Predict the seconds that one store costs."""
    cores = store.parallel / np.ceil(store.parallel / machine.cores)
    cycles = _reduction(store, machine) if store.summary.reduction else _elementwise(store)
    compute_s = cycles * machine.cycle_s / cores
    footprint = np.sum([a.lines for a in store.accesses], axis=0) * LINE_BYTES
    traffic = tuple(
        _traffic(store, footprint, float(level))
        for level in (machine.l1_bytes * 0.75, machine.l2_bytes * 0.75, machine.l3_bytes * 0.75)
    )
    l2_s = traffic[0] / machine.l2_rate / cores
    l3_s = traffic[1] / machine.l3_rate / cores
    memory_s = traffic[2] / machine.memory_rate
    parts = np.stack([compute_s, l2_s, l3_s, memory_s])
    longest = parts.max(axis=0)
    total = longest + _OVERLAP * (parts.sum(axis=0) - longest)
    return StoreCost(
        total, compute_s, l2_s, l3_s, memory_s, cores, (traffic[0], traffic[1], traffic[2])
    )


def _loads(access: AccessNumbers, store: StoreNumbers) -> Array:
    """Load slots of one access for one step of the register tile (or one vector statement)."""
    moving = np.where(store.in_tile & access.depends[:, None], store.extents, 1.0)
    vectorised = store.vector > 1.0
    if len(moving):
        moving[-1] = np.where(vectorised, 1.0, moving[-1])
    rows = np.prod(moving, axis=0) if len(moving) else np.ones_like(store.vector)
    if not len(access.depends) or not access.depends[-1]:
        return rows
    # Operands of an intrinsic lie as its vectors take them.
    dense = store.summary.tensorized | (access.stride <= 1.0)
    per_vector = np.where(dense, store.vector_ops, store.vector * _GATHER_CYCLES)
    return rows * np.where(vectorised, per_vector, 1.0)


def _arithmetic(store: StoreNumbers) -> float:
    counts = store.summary.counts
    return (
        max(counts["add"], counts["mul"])
        + _DIVIDE_CYCLES * counts["div"]
        + _SPECIAL_CYCLES * counts["special"]
        + _SELECT_CYCLES * counts["select"]
        + 0.5 * counts["compare"]
    )


def _reduction(store: StoreNumbers, machine: Machine) -> Array:
    steps = store.trips[-1] / store.tile
    issue = store.accumulators * max(_arithmetic(store), 1.0)
    loads = np.sum([_loads(a, store) for a in store.accesses[1:]], axis=0)
    spare = machine.registers - 4.0
    spilled = np.maximum(store.accumulators - spare, 0.0)
    in_memory = store.accumulators > 2.0 * machine.registers
    cycles = np.maximum(np.maximum(issue, loads), _LATENCY_CYCLES)
    cycles = cycles + 2.0 * spilled + np.where(in_memory, 2.0 * store.accumulators, 0.0) + 0.7
    visits = steps / store.reduce_run
    return steps * cycles + visits * (2.0 * store.accumulators + 12.0)


def _elementwise(store: StoreNumbers) -> Array:
    statements = store.trips[-1] / store.vector
    loads = np.sum([_loads(a, store) for a in store.accesses], axis=0)
    guarded = any(a.guarded for a in store.accesses)
    arithmetic = store.vector_ops * _arithmetic(store)
    return statements * (loads + arithmetic + (3.0 if guarded else 1.0))


def _traffic(store: StoreNumbers, footprint: Array, capacity: float) -> Array:
    """Bytes that a level of the given capacity must fetch from the next one, all cores together."""
    depth = footprint.shape[0] - 1
    fits = footprint <= capacity
    fits[-1] = True
    level = np.argmax(fits, axis=0)
    size = len(level)
    total, pick = np.zeros(size), np.arange(size)
    for access in store.accesses:
        fetched = access.reloads[level, pick] * access.lines[level, pick] * LINE_BYTES
        total = total + (2.0 * fetched if access.kind == "update" else fetched)
    # What fits as a whole stays between calls; only the outermost depth means that.
    return np.where((level == 0) & (depth > 0), 0.0, total)
