"""A loop-nest summary evaluated with NumPy for a whole population of tile sizes at once.

Arrays have the candidate as last axis, of length P. Depth ``k`` of ``L`` loops means "inside the
outermost k loops"; arrays over depth have ``L + 1`` rows, from the whole nest to one execution.
One concrete program is a population of one, so features of both are the same by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from metasched.analysis.nest import AccessSummary, LinearForm, StoreSummary
from metasched.errors import MetaschedError
from metasched.ir.expr import Binary, Const, Expr, Var

Array: TypeAlias = npt.NDArray[np.float64]
Values: TypeAlias = Mapping[Var, Array]

LINE_BYTES = 64


class Evaluator:
    """Evaluates integer expressions on arrays of values, each distinct expression once."""

    def __init__(self, values: Values, size: int) -> None:
        self.size = size
        self._known: dict[Expr, Array] = {**values}

    def __call__(self, expr: Expr) -> Array:
        """The values of an expression, float64 ``(P,)``."""
        found = self._known.get(expr)
        if found is None:
            found = self._known[expr] = self._compute(expr)
        return found

    def _compute(self, expr: Expr) -> Array:
        match expr:
            case Const():
                return np.full(self.size, float(expr.value))
            case Binary():
                a, b = self(expr.a), self(expr.b)
                match expr.op:
                    case "add":
                        return a + b
                    case "sub":
                        return a - b
                    case "mul":
                        return a * b
                    case "floordiv":
                        return np.floor(a / b)
                    case "floormod":
                        return a - b * np.floor(a / b)
                    case "min":
                        return np.minimum(a, b)
                    case "max":
                        return np.maximum(a, b)
                    case _:
                        pass
            case _:
                pass
        raise MetaschedError(f"the extent {expr} depends on more than tile sizes")


@dataclass(frozen=True, slots=True)
class AccessNumbers:
    """One access of a store, per candidate.

    Attributes:
        depends: per loop whether the access moves with it, ``(L,)`` of bool.
        stride: elements between two iterations of the innermost loop, ``(P,)``.
        elements: distinct elements touched per depth, ``(L + 1, P)``.
        bytes: the same in bytes.
        lines: cache lines touched per depth, ``(L + 1, P)``.
        reloads: how often the data of a depth is fetched again, ``(L + 1, P)``; an outer loop that
            does not move the access reuses it.
        element_bytes: bytes of one element.
        kind: "read", "write" or "update".
        guarded: whether a condition decides if the access happens.
    """

    depends: npt.NDArray[np.bool_]
    stride: Array
    elements: Array
    bytes: Array
    lines: Array
    reloads: Array
    element_bytes: int
    kind: str
    guarded: bool


@dataclass(frozen=True, slots=True)
class StoreNumbers:
    """A store with its loops, per candidate.

    Attributes:
        summary: where it comes from.
        extents: loop extents, ``(L, P)``.
        trips: executions of each depth, ``(L + 1, P)``; the last row counts the store itself.
        parallel: jobs of the fused parallel loop, ``(P,)``; 1 when it is serial.
        vector: elements that one vectorised statement covers, ``(P,)``; 1 when it is scalar.
        vector_ops: machine vectors per vectorised statement, ``(P,)``.
        tile: elements of the register tile inside the innermost reduction, ``(P,)``.
        accumulators: machine vectors of the register tile, ``(P,)``.
        reduce_run: iterations of the reduction run directly around the tile, ``(P,)``.
        in_tile: which loops form the register tile, ``(L, P)`` of bool.
        accesses: the write first, then the reads.
        unroll: the automatic unroll limit, ``(P,)``.
    """

    summary: StoreSummary
    extents: Array
    trips: Array
    parallel: Array
    vector: Array
    vector_ops: Array
    tile: Array
    accumulators: Array
    reduce_run: Array
    in_tile: npt.NDArray[np.bool_]
    accesses: tuple[AccessNumbers, ...]
    unroll: Array


def evaluate_store(
    summary: StoreSummary,
    evaluate: Evaluator,
    *,
    max_jobs: Array,
    max_vector: Array,
    unroll: Array,
    vector_bytes: int,
    private: frozenset[str],
) -> StoreNumbers:
    """Evaluate one store.

    Args:
        summary: the store.
        evaluate: values of the tile sizes.
        max_jobs: most jobs of the parallel loop, ``(P,)``.
        max_vector: longest vectorised loop, ``(P,)``.
        unroll: automatic unroll limit, ``(P,)``.
        vector_bytes: bytes of a machine vector.
        private: names of buffers that are compacted to what is touched.
    """
    size, depth = evaluate.size, len(summary.loops)
    extents = np.ones((depth, size))
    for k, loop in enumerate(summary.loops):
        extents[k] = evaluate(loop.extent)
    trips = np.ones((depth + 1, size))
    np.cumprod(extents, axis=0, out=trips[1:])
    accesses = tuple(
        _access(access, evaluate, extents, trips, access.buffer.name in private)
        for access in summary.accesses
    )
    parallel = _parallel(summary, extents, max_jobs)
    lanes = max(vector_bytes // summary.dtype.bytes, 1)
    vector = _vector(summary, extents, accesses, max_vector)
    vector_ops = np.where(vector > 1, _pieces(vector, lanes), vector)
    in_tile, reduce_run = _tile(summary, extents)
    tile = np.prod(np.where(in_tile, extents, 1.0), axis=0)
    accumulators = np.maximum(tile / vector, 1.0) * vector_ops
    return StoreNumbers(
        summary, extents, trips, parallel, vector, vector_ops, tile, accumulators, reduce_run,
        in_tile, accesses, unroll,
    )  # fmt: skip


def _access(
    access: AccessSummary, evaluate: Evaluator, extents: Array, trips: Array, private: bool
) -> AccessNumbers:
    depth, size = extents.shape
    elements = np.ones((depth + 1, size))
    run = elements
    whole: npt.NDArray[np.bool_] | None = None
    row_stride: Array | float = 1.0
    stride = np.zeros(size)
    depends = np.zeros(depth, dtype=np.bool_)
    for form, length in zip(reversed(access.forms), reversed(access.shape), strict=True):
        shape = evaluate(length)
        touched = np.minimum(_span(form, evaluate, extents) + 1.0, shape)
        elements = elements * touched
        run = elements if whole is None else np.where(whole, run * touched, run)
        whole = touched >= shape if whole is None else whole & (touched >= shape)
        if depth:
            slope = _slope(form, evaluate, depth - 1)
            if slope is not None:
                stride = stride + row_stride * slope
        row_stride = row_stride * shape
        _mark(form, depends)
    width = access.buffer.dtype.bytes
    if private:
        run = elements
    lines = elements / run * np.ceil(run * (width / LINE_BYTES))
    reloads = np.ones((depth + 1, size))
    moves = (extents > 1.0) & depends[:, None]
    np.maximum.accumulate(np.where(moves, trips[1:], 1.0), axis=0, out=reloads[1:])
    return AccessNumbers(
        depends, np.abs(stride), elements, elements * width, lines, reloads, width, access.kind,
        access.guarded,
    )  # fmt: skip


def _span(form: LinearForm, evaluate: Evaluator, extents: Array) -> Array:
    """How far an index moves inside each depth, ``(L + 1, P)``."""
    depth, size = extents.shape
    steps = np.zeros((depth + 1, size))
    others: list[Array] = []
    for term in form.terms:
        scale = np.abs(evaluate(term.coefficient))
        if term.loop is not None:
            steps[term.loop] += scale * (extents[term.loop] - 1.0)
            continue
        assert term.inner is not None
        assert term.divisor is not None
        inner = _span(term.inner, evaluate, extents)
        divisor = evaluate(term.divisor)
        others.append(
            scale * (np.minimum(inner, divisor - 1.0) if term.modulo else np.floor(inner / divisor))
        )
    # Inside depth k the loops k, k + 1, ... still run.
    total = np.cumsum(steps[::-1], axis=0)[::-1]
    for other in others:
        total = total + other
    return total


def _slope(form: LinearForm, evaluate: Evaluator, loop: int) -> Array | None:
    """How far an index moves with one step of a loop, ``(P,)``; None where it does not."""
    total: Array | None = None
    for term in form.terms:
        if term.loop is not None:
            if term.loop != loop:
                continue
            part = evaluate(term.coefficient)
        else:
            assert term.inner is not None
            assert term.divisor is not None
            inner = _slope(term.inner, evaluate, loop)
            if inner is None:
                continue
            moved = inner if term.modulo else np.trunc(inner / evaluate(term.divisor))
            part = evaluate(term.coefficient) * moved
        total = part if total is None else total + part
    return total


def slope_along(access: AccessSummary, evaluate: Evaluator, loop: int) -> Array:
    """Elements between what neighbouring iterations of a loop touch, ``(P,)``."""
    stride: Array = np.zeros(evaluate.size)
    step: Array | float = 1.0
    for form, length in zip(reversed(access.forms), reversed(access.shape), strict=True):
        slope = _slope(form, evaluate, loop)
        if slope is not None:
            stride = stride + step * slope
        step = step * evaluate(length)
    return np.abs(stride)


def _mark(form: LinearForm, depends: npt.NDArray[np.bool_]) -> None:
    for term in form.terms:
        if term.loop is not None:
            depends[term.loop] = True
        elif term.inner is not None:
            _mark(term.inner, depends)


def _parallel(summary: StoreSummary, extents: Array, max_jobs: Array) -> Array:
    """Jobs of the fused outer loops, as the postprocessor fuses them."""
    size = extents.shape[1]
    jobs = np.ones(size)
    taking = np.ones(size, dtype=np.bool_)
    for k, loop in enumerate(summary.loops):
        if not loop.parallel_safe:
            break
        longer = jobs * extents[k]
        taking &= (longer <= max_jobs) | (jobs == 1.0)
        jobs = np.where(taking, longer, jobs)
    return jobs


def _vector(
    summary: StoreSummary, extents: Array, accesses: tuple[AccessNumbers, ...], limit: Array
) -> Array:
    """Elements that one vectorised statement covers: the innermost loop where it may be one."""
    if not summary.loops or summary.loops[-1].reduces:
        return np.ones_like(limit)
    # Below two elements, and where the store jumps, the loop stays scalar.
    longest = np.minimum(extents[-1], limit)
    return np.maximum(np.where(accesses[0].stride == 1.0, longest, 1.0), 1.0)


def _pieces(vector: Array, lanes: int) -> Array:
    """Machine vectors that cover a vector: whole ones, then powers of two for the rest."""
    whole = np.floor(vector / lanes)
    rest = vector - whole * lanes
    pieces = whole
    while np.any(rest):
        pieces = pieces + rest % 2.0
        rest = np.floor(rest / 2.0)
    return pieces


def _tile(summary: StoreSummary, extents: Array) -> tuple[npt.NDArray[np.bool_], Array]:
    """The spatial loops inside the innermost real reduction, and the reduction run around them."""
    depth, size = extents.shape
    in_tile = np.zeros((depth, size), dtype=np.bool_)
    run = np.ones(size)
    before = np.ones(size, dtype=np.bool_)
    running = np.ones(size, dtype=np.bool_)
    for k in reversed(range(depth)):
        real = extents[k] > 1.0
        if summary.loops[k].reduces:
            before &= ~real
            run = np.where(running, run * extents[k], run)
        else:
            in_tile[k] = before & real
            running &= before | ~real
    if not summary.reduction:
        in_tile[:] = False
    return in_tile, run
