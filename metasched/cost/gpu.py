"""Features, prior and limits of GPU candidates: occupancy, waves, coalescing, traffic per level.

A store is evaluated as on a CPU (`metasched.cost.numbers`); what differs is who runs its loops.
The prior is a roofline per memory level (Williams et al., "Roofline", CACM 2009), stretched where
few warps are there to hide latencies and where the last wave leaves multiprocessors idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final

import numpy as np
import numpy.typing as npt

from metasched.analysis.kernel_limits import WORKING_REGISTERS, needs
from metasched.analysis.kernels import GROUP_THREADS, STAGES, Kernel
from metasched.analysis.nest import COUNTED, ProgramSummary, StoreSummary
from metasched.cost.gpu_machine import GpuMachine
from metasched.cost.numbers import (
    LINE_BYTES,
    AccessNumbers,
    Array,
    Evaluator,
    StoreNumbers,
    Values,
    evaluate_store,
    slope_along,
)
from metasched.ir.expr import Expr, int_value
from metasched.ir.threads import SHARED

GPU_FEATURE_VERSION: Final = 2

_ACCESSES: Final = 4
_ACCESS_FIELDS: Final = (
    "scope", "kind", "touches", "bytes", "unique_bytes", "lines", "near_stride", "thread_stride",
    "conflicts",
)  # fmt: skip
_SCOPES: Final = {"global": 0.0, "shared": 1.0, "shared.dyn": 1.0, "local": 2.0}
_KINDS: Final = {"read": 0.0, "write": 1.0, "update": 2.0}

GPU_FEATURE_NAMES: Final[tuple[str, ...]] = (
    *(f"ops_{name}" for name in COUNTED),
    "executions", "per_thread", "blocks", "threads", "virtual_threads", "warps", "resident_blocks",
    "occupancy", "waves", "wave_use", "shared_bytes", "local_words", "tile", "reduce_run",
    "is_reduction", "is_predicated", "is_copy", "fetch_vector", "unroll", "innermost_extent",
    "dtype_bytes", "loops",
    *(f"access{k}_{field}" for k in range(_ACCESSES) for field in _ACCESS_FIELDS),
    "global_bytes", "memory_bytes", "shared_traffic", "flops_per_global", "flops_per_shared",
    "prior_total", "prior_compute", "prior_shared", "prior_l2", "prior_memory",
)  # fmt: skip

_LINEAR: Final = frozenset({
    "occupancy", "wave_use", "is_reduction", "is_predicated", "is_copy", "dtype_bytes", "loops",
    *(f"access{k}_{field}" for k in range(_ACCESSES) for field in ("scope", "kind", "conflicts")),
})  # fmt: skip
"""Features that enter as they are; all others as ``log2(1 + x)``, seconds in nanoseconds."""

_IS_LOG: Final = np.array([name not in _LINEAR for name in GPU_FEATURE_NAMES])
_BANKS: Final = 32
_CONFLICTS: Final = np.array([float(gcd(n, _BANKS)) for n in range(_BANKS)])
_DEFAULT_THREADS: Final = 256.0
_WARP_SPEED: Final = 8.0
_WARPGROUP_SPEED: Final = 14.0
_TENSOR_THREADS: Final = 256.0
"""Threads on a multiprocessor that keep its tensor cores busy, about."""

_TENSOR_REUSE: Final = 64.0
"""How often a tensor core uses an element that it loads, about."""

_WAITING: Final = np.array([1.8, 1.25, 1.0])
"""What a product takes longer by the number of its stages, the last for all larger ones."""

_SPECIAL_FLOPS: Final = 8.0
_INDEX_FLOPS: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Launch:
    """A kernel per candidate, each ``(P,)``."""

    blocks: Array
    threads: Array
    virtual: Array
    shared_bytes: Array
    local_words: Array
    resident: Array
    waves: Array
    use: Array
    occupancy: Array


def evaluate_gpu(
    summary: ProgramSummary,
    kernels: Sequence[Kernel],
    values: Values,
    size: int,
    machine: GpuMachine,
    private: frozenset[str],
) -> tuple[npt.NDArray[np.float32], Array, npt.NDArray[np.bool_]]:
    """Features and prior of every store, and which candidates keep the limits of the GPU.

    Args:
        summary: the scheduled program, before postprocessing.
        kernels: its kernels, as far as they are bound already.
        values: tile sizes and other sampled values, ``(P,)`` each.
        size: P.
        machine: rates and limits.
        private: names of buffers that are not parameters.

    Returns:
        features ``(P, stores, len(GPU_FEATURE_NAMES))`` float32, prior seconds ``(P, stores)`` and
        ``(P,)`` of bool.
    """
    evaluate = Evaluator(values, size)
    valid = np.ones(size, dtype=np.bool_)
    for kernel in kernels:
        for need in needs(kernel, machine.limits):
            valid &= evaluate(need.amount) <= need.most
    bound = {kernel.nest: kernel for kernel in kernels}
    unroll = _note(summary, evaluate, "meta_schedule.unroll_explicit", 0.0)
    features = np.zeros((size, len(summary.stores), len(GPU_FEATURE_NAMES)), dtype=np.float32)
    prior = np.zeros((size, len(summary.stores)))
    homes = _homes(summary.stores)
    launches: dict[int, _Launch] = {}
    one = np.ones(size)
    for k, store in enumerate(summary.stores):
        numbers = evaluate_store(
            store, evaluate, max_jobs=one * np.inf, max_vector=one, unroll=unroll,
            vector_bytes=4, private=private,
        )  # fmt: skip
        first = store.nest not in launches
        if first:
            launches[store.nest] = _launch(
                summary, numbers, bound.get(store.nest), evaluate, machine
            )
        row = _Row(numbers, launches[store.nest], evaluate, machine, homes[k])
        features[:, k, :] = row.features()
        prior[:, k] = row.total_s + (machine.launch_s if first else 0.0) + 1e-9
    return features, prior, valid


def _note(summary: ProgramSummary, evaluate: Evaluator, key: str, default: float) -> Array:
    value = summary.annotations.get(key)
    return np.full(evaluate.size, default) if value is None else evaluate(value)


def _homes(stores: Sequence[StoreSummary]) -> list[int]:
    """How many outer loops each store has in common with the rest of its nest, at most."""
    found: list[int] = []
    for store in stores:
        depth = 0
        for other in stores:
            if other is not store and other.nest == store.nest:
                pairs = zip(store.loops, other.loops, strict=False)
                same = next((k for k, (a, b) in enumerate(pairs) if a.var != b.var), None)
                least = min(len(store.loops), len(other.loops))
                depth = max(depth, least if same is None else same)
        found.append(depth or len(store.loops))
    return found


def _launch(
    summary: ProgramSummary,
    store: StoreNumbers,
    kernel: Kernel | None,
    evaluate: Evaluator,
    machine: GpuMachine,
) -> _Launch:
    limits = machine.limits
    one = np.ones(evaluate.size)
    if kernel is None:
        # As `RewriteUnboundBlock` will bind it.
        jobs = store.parallel
        threads = _note(summary, evaluate, "meta_schedule.thread_extent", _DEFAULT_THREADS)
        across = store.summary.notes.get("meta_schedule.cross_thread_reduction") is not None
        blocks = jobs if across else np.ceil(jobs / threads)
        threads = threads if across else np.minimum(threads, jobs)
        virtual, shared, local = one, one * 0.0, one * 0.0
    else:
        blocks, threads = evaluate(kernel.blocks), evaluate(kernel.threads)
        shared, local = evaluate(kernel.shared_bytes), evaluate(kernel.local_words)
        axes = [loop.thread or "" for loop in store.summary.loops]
        inner = np.array([axis.startswith("vthread") for axis in axes], dtype=np.bool_)
        virtual = np.prod(store.extents[inner], axis=0)
    warps = np.ceil(threads / limits.warp_size)
    registers = (local + WORKING_REGISTERS) * warps * limits.warp_size
    resident = np.minimum(
        np.floor(limits.registers_per_multiprocessor / registers),
        np.floor(limits.max_threads_per_multiprocessor / (warps * limits.warp_size)),
    )
    room = limits.shared_bytes_per_multiprocessor / np.maximum(shared, 1.0)
    resident = np.minimum(resident, np.floor(room))
    resident = np.clip(resident, 1.0, limits.max_blocks_per_multiprocessor)
    slots = limits.multiprocessors * resident
    waves = np.ceil(blocks / slots)
    # Blocks spread over multiprocessors before they share one.
    rounds = np.ceil(blocks / limits.multiprocessors)
    use = blocks / (rounds * limits.multiprocessors)
    present = np.minimum(resident, rounds) * warps
    occupancy = present * limits.warp_size / limits.max_threads_per_multiprocessor
    return _Launch(
        blocks, threads, virtual, shared, local, resident, waves, use, np.minimum(occupancy, 1.0)
    )


class _Row:
    """One store on its kernel: traffic, prior and features, each ``(P,)``."""

    def __init__(
        self,
        store: StoreNumbers,
        launch: _Launch,
        evaluate: Evaluator,
        machine: GpuMachine,
        home: int,
    ) -> None:
        self.store, self.launch, self._evaluate, self._home = store, launch, evaluate, home
        self._machine = machine
        summary = store.summary
        self.is_copy = summary.accesses[0].buffer.scope in SHARED and not summary.reduction
        # The threads of a block run a copy once, together, though it stands inside their loops.
        axes = [(loop.thread or "").split(".")[0] for loop in summary.loops]
        shared = np.array([axis in ("threadIdx", "vthread") for axis in axes], dtype=np.bool_)
        own = np.prod(store.extents[shared], axis=0) if self.is_copy else np.ones(evaluate.size)
        self.executions = store.trips[-1] / own
        self.visits = store.trips[home] / own
        counts = summary.counts
        flops = counts["add"] + counts["mul"] + _SPECIAL_FLOPS * (counts["div"] + counts["special"])
        flops = max(max(counts["add"], counts["mul"]), flops / 2, 1.0)
        pairs = list(zip(store.accesses, summary.accesses, strict=True))
        scopes = [access.buffer.scope for _, access in pairs]
        thread = next(
            (k for k, x in enumerate(summary.loops) if (x.thread or "").startswith("threadIdx")),
            None,
        )
        self.thread_strides = [
            np.zeros(evaluate.size)
            if thread is None or self.is_copy
            else slope_along(access, evaluate, thread)
            for access in summary.accesses
        ]
        self.conflicts = [
            _conflicts(stride, access.element_bytes)
            for stride, (access, _) in zip(self.thread_strides, pairs, strict=True)
        ]
        zero = np.zeros(evaluate.size)
        self.global_bytes, self.memory_bytes, self.shared_bytes = zero, zero, zero
        for scope, (access, _), stride, conflicts in zip(
            scopes, pairs, self.thread_strides, self.conflicts, strict=True
        ):
            if scope == "global":
                self.global_bytes = self.global_bytes + self._global(access, stride)
                self.memory_bytes = self.memory_bytes + access.lines[0] * LINE_BYTES
            elif scope in SHARED:
                self.shared_bytes = self.shared_bytes + self._shared(access) * conflicts
        group = summary.notes.get(GROUP_THREADS)
        speed = 1.0 if group is None or not summary.reduction else _tensor_speed(group)
        if speed > 1.0:
            self.shared_bytes = self.shared_bytes / _TENSOR_REUSE
        flops = flops / speed
        work = self.executions * (flops + _INDEX_FLOPS / np.maximum(store.tile, 1.0))
        hidden = self._hidden()
        rate = launch.use * hidden
        self.compute_s = work / (machine.flops * rate)
        self.shared_s = self.shared_bytes / (machine.shared_rate * rate)
        self.l2_s = self.global_bytes / (machine.l2_rate * np.maximum(rate, 0.05))
        spread = np.minimum(launch.blocks / machine.limits.multiprocessors, 1.0)
        self.memory_s = self.memory_bytes / (machine.memory_rate * np.maximum(spread, 0.02))
        parts = np.stack([self.compute_s, self.shared_s, self.l2_s, self.memory_s])
        stages = summary.notes.get(STAGES)
        if stages is not None:
            # Without a pipeline the product waits for its operands, with one it hides them.
            ahead = np.minimum(evaluate(stages), float(len(_WAITING))) - 1.0
            parts = parts * np.take(_WAITING, ahead.astype(np.int64))
        self.total_s = parts.max(axis=0) + 0.2 * (parts.sum(axis=0) - parts.max(axis=0))

    def _hidden(self) -> Array:
        """How much of the latency other warps, and independent work of a thread, hide."""
        launch, store = self.launch, self.store
        if store.summary.reduction and GROUP_THREADS in store.summary.notes:
            # Tensor cores work ahead of the threads that feed them: two groups of warps are enough.
            most = self._machine.limits.max_threads_per_multiprocessor
            return np.clip(launch.occupancy * most / _TENSOR_THREADS, 0.1, 1.0)
        work = np.clip(store.tile * launch.virtual, 1.0, 16.0)
        full = launch.threads / (np.ceil(launch.threads / 32.0) * 32.0)
        return np.clip(launch.occupancy * 2.0 * np.sqrt(work), 0.02, 1.0) * full

    def _global(self, access: AccessNumbers, stride: Array) -> Array:
        """Bytes that cross the second-level cache, by whole lines."""
        if self.is_copy:
            return self.visits * access.lines[self._home] * LINE_BYTES
        width = access.element_bytes
        # Neighbouring threads that are far apart fetch a sector of 32 bytes each.
        near = np.maximum(access.elements[max(len(access.depends) - 1, 0)], 1.0)
        waste = np.clip(stride / near, 1.0, 32.0 / width)
        shared = np.where(stride == 0.0, 1.0 / 32.0, 1.0)
        return self.executions * width * waste * shared

    def _shared(self, access: AccessNumbers) -> Array:
        """Bytes that go through shared memory: what a register tile loads once is used again."""
        if self.is_copy:
            return self.executions * access.element_bytes
        moving = np.where(self.store.in_tile & access.depends[:, None], self.store.extents, 1.0)
        loads = np.prod(moving, axis=0)
        return self.executions / np.maximum(self.store.tile, 1.0) * loads * access.element_bytes

    def features(self) -> npt.NDArray[np.float32]:
        """One column each of `GPU_FEATURE_NAMES`, ``(P, features)``."""
        store, launch, summary = self.store, self.launch, self.store.summary
        flops = self.executions * max(summary.counts["add"], summary.counts["mul"], 1)
        fetch = summary.notes.get("meta_schedule.cooperative_fetch")
        columns: list[Array | float] = [self.executions * summary.counts[name] for name in COUNTED]
        columns += [
            self.executions, self.executions / (launch.blocks * launch.threads), launch.blocks,
            launch.threads, launch.virtual, np.ceil(launch.threads / 32.0), launch.resident,
            launch.occupancy, launch.waves, launch.use, launch.shared_bytes, launch.local_words,
            store.tile, store.reduce_run, summary.reduction, summary.predicated, self.is_copy,
            0.0 if fetch is None else self._evaluate(fetch), store.unroll,
            store.extents[-1] if len(store.extents) else 1.0, summary.dtype.bytes,
            len(summary.loops),
        ]  # fmt: skip
        order = sorted(
            range(len(store.accesses)), key=lambda k: -float(store.accesses[k].bytes[0, 0])
        )
        for k in order[:_ACCESSES]:
            columns += self._access(k)
        columns += [0.0] * (len(_ACCESS_FIELDS) * (_ACCESSES - len(order[:_ACCESSES])))
        columns += [
            self.global_bytes, self.memory_bytes, self.shared_bytes,
            flops / np.maximum(self.global_bytes, 1.0), flops / np.maximum(self.shared_bytes, 1.0),
        ]  # fmt: skip
        parts = (self.total_s, self.compute_s, self.shared_s, self.l2_s, self.memory_s)
        columns += [x * 1e9 for x in parts]
        table = np.empty((len(GPU_FEATURE_NAMES), self._evaluate.size))
        for k, column in enumerate(columns):
            table[k] = column
        table[_IS_LOG] = np.log2(1.0 + table[_IS_LOG])
        return table.T.astype(np.float32)

    def _access(self, k: int) -> list[Array | float]:
        access, buffer = self.store.accesses[k], self.store.summary.accesses[k].buffer
        return [
            _SCOPES.get(buffer.scope, 2.0),
            _KINDS[access.kind],
            self.executions,
            access.bytes[self._home],
            access.bytes[0],
            access.lines[self._home],
            access.stride,
            self.thread_strides[k],
            self.conflicts[k],
        ]


def _tensor_speed(group: Expr) -> float:
    """Multiply-adds of tensor cores for one of a float32 lane, by the threads that go together."""
    threads = int_value(group)
    return _WARP_SPEED if threads is not None and threads <= _BANKS else _WARPGROUP_SPEED


def _conflicts(stride: Array, element_bytes: int) -> Array:
    """How many threads of a warp meet in one bank, as far as wide loads do not help."""
    words = np.ceil(stride * element_bytes / 4.0).astype(np.int64)
    degree = _CONFLICTS[words % _BANKS]
    # Four words that lie side by side are loaded at once.
    return np.where(words == 0, 1.0, np.maximum(degree / 4.0, 1.0))
