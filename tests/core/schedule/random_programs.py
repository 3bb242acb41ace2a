"""Random tensor programs: stages of many shapes of access, stacked on each other.

Values are small whole numbers and each stage keeps an eye on how large they may get, so that sums
are exact in any order. To cover another access, add a function to `STAGES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from metasched import te
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.te.tensor import Tensor

EXTENTS = (1, 1, 2, 3, 4, 4, 5, 7, 8, 9, 12, 13, 16)
LARGEST = 600
"""Elements of a tensor: the reference interpreter visits each."""


@dataclass(frozen=True, slots=True)
class Item:
    """A tensor with its shape and the largest magnitude of its elements; None if not whole."""

    tensor: Tensor
    shape: tuple[int, ...]
    bound: int | None

    @property
    def dtype(self) -> str:
        return str(self.tensor.dtype)

    def __getitem__(self, index: tuple[Expr | int, ...]) -> Expr:
        return self.tensor[index]


@dataclass(slots=True)
class Pool:
    """The tensors of a program so far."""

    rng: random.Random
    inputs: list[Item] = field(default_factory=lambda: list[Item]())
    stages: list[Item] = field(default_factory=lambda: list[Item]())

    def source(self, rank: int = 0) -> Item:
        """A tensor to read: mostly the last stage, else an earlier one or a new input."""
        choices = [x for x in self.stages if len(x.shape) >= rank]
        if choices and self.rng.random() < 0.85:
            return choices[-1] if self.rng.random() < 0.75 else self.rng.choice(choices)
        return self.input(self.shape(max(rank, self.rng.choice([0, 1, 1, 2, 2, 3]))))

    def shape(self, rank: int) -> tuple[int, ...]:
        sizes: list[int] = []
        for _ in range(rank):
            room = LARGEST // prod(sizes)
            sizes.append(self.rng.choice([e for e in EXTENTS if e <= room]))
        return tuple(sizes)

    def input(self, shape: tuple[int, ...], dtype: str | None = None) -> Item:
        dtype = dtype or self.rng.choice(["float32", "float32", "float32", "int32", "float64"])
        tensor = te.placeholder(shape, dtype, name=f"x{len(self.inputs)}")
        self.inputs.append(Item(tensor, shape, 4))
        return self.inputs[-1]

    def stage(
        self, shape: tuple[int, ...], bound: int | None, define: Callable[..., object]
    ) -> None:
        """Add a stage; what it reads is found when the program is made."""
        tensor = te.compute(shape, define, name=f"s{len(self.stages)}")  # type: ignore[arg-type]
        self.stages.append(Item(tensor, shape, bound))

    def program(self) -> Program:
        """Outputs are the stages that nobody reads, and some of the others."""
        read = {t for item in self.stages for t in _sources(item.tensor)}
        outputs = [x.tensor for x in self.stages if x.tensor not in read]
        outputs += [x.tensor for x in self.stages if x.tensor in read and self.rng.random() < 0.15]
        inputs = [x.tensor for x in self.inputs if x.tensor in read]
        return te.program([*inputs, *outputs])


def _sources(tensor: Tensor) -> list[Tensor]:
    from metasched.te import build

    return build._sources(tensor)


def elementwise(pool: Pool) -> None:
    """A function of one element, in another order of the axes."""
    x = pool.source()
    order = pool.rng.sample(range(len(x.shape)), len(x.shape))
    name, bound = pool.rng.choice([n for n in FUNCTIONS if _allowed(n, x)]), x.bound
    function, grow = FUNCTIONS[name]

    def define(*i: Expr) -> Expr:
        at = tuple(i[order.index(d)] for d in range(len(order)))
        return function(x[at])

    pool.stage(tuple(x.shape[d] for d in order), None if bound is None else grow(bound), define)


def _allowed(name: str, x: Item) -> bool:
    if name in ("tanh", "sqrt"):
        return x.dtype.startswith("float")
    return x.bound is not None or name in ("add", "relu", "negate")


FUNCTIONS: dict[str, tuple[Callable[[Expr], Expr], Callable[[int], int | None]]] = {
    "add": (lambda e: e + 1, lambda b: b + 1),
    "double": (lambda e: e * 2, lambda b: b * 2),
    "negate": (lambda e: 3 - e, lambda b: b + 3),
    "relu": (lambda e: te.max(e, te.const(0, str(e.dtype))), lambda b: b),
    "to_float": (lambda e: te.cast(e, "float32"), lambda b: b),
    "to_int": (lambda e: te.cast(e, "int32"), lambda b: b),
    "tanh": (lambda e: te.tanh(e), lambda b: None),
    "sqrt": (lambda e: te.sqrt(te.abs(e) + 1), lambda b: None),
}


def binary(pool: Pool) -> None:
    """Two operands, the second broadcast over some axes or read at the same place."""
    x = pool.source()
    kept = [d for d in range(len(x.shape)) if pool.rng.random() < 0.6]
    y = next(
        (s for s in pool.stages[:-1] if s.shape == x.shape and s.dtype == x.dtype and s is not x),
        None,
    )
    if y is None or pool.rng.random() < 0.5:
        y = pool.input(tuple(x.shape[d] for d in kept), x.dtype)
    else:
        kept = list(range(len(x.shape)))
    assert y.bound is not None or y in pool.stages
    multiply = x.bound is not None and y.bound is not None and x.bound * y.bound < 2**12
    multiply = multiply and pool.rng.random() < 0.5
    bound = None
    if x.bound is not None and y.bound is not None:
        bound = x.bound * y.bound if multiply else x.bound + y.bound

    def define(*i: Expr) -> Expr:
        a, b = x[i], y[tuple(i[d] for d in kept)]
        return a * b if multiply else a + b

    pool.stage(x.shape, bound, define)


def reduction(pool: Pool) -> None:
    """A reduction over some axes, perhaps all of them."""
    x = pool.source(rank=1)
    rank = len(x.shape)
    over = sorted(pool.rng.sample(range(rank), pool.rng.randint(1, rank)))
    kinds = ["max", "min"]
    total = prod(x.shape[d] for d in over)
    if x.bound is None or x.bound * total < 2**20:
        kinds += ["sum", "sum", "sum"]
    if x.bound is not None:
        kinds.append("argmax")
    kind = pool.rng.choice(kinds)
    axes = [te.reduce_axis(x.shape[d], name=f"r{d}") for d in over]

    def define(*i: Expr) -> te.Reduction:
        free = iter(i)
        at = tuple(axes[over.index(d)] if d in over else next(free) for d in range(rank))
        value = x[at]
        return {
            "max": lambda: te.max(value, axis=axes),
            "min": lambda: te.min(value, axis=axes),
            "sum": lambda: te.sum(value, axis=axes),
            "argmax": lambda: te.argmax(value, axis=axes),
        }[kind]()

    bound = x.bound and (x.bound * total if kind == "sum" else x.bound)
    shape = tuple(x.shape[d] for d in range(rank) if d not in over)
    pool.stage(shape, total if kind == "argmax" else bound, define)


def matmul(pool: Pool) -> None:
    """The last axis against a matrix, which is transposed now and then."""
    x = pool.source(rank=1)
    if x.bound is None or x.bound * 4 * x.shape[-1] > 2**16:
        return elementwise(pool)
    n, k = pool.rng.choice([1, 3, 4, 5, 8]), x.shape[-1]
    if prod(x.shape[:-1]) * n * k > 4 * LARGEST:
        n = 1
    transposed = pool.rng.random() < 0.5
    w = pool.input((n, k) if transposed else (k, n), x.dtype)
    r = te.reduce_axis(k, name="r")

    def define(*i: Expr) -> te.Reduction:
        weight = w[i[-1], r] if transposed else w[r, i[-1]]
        return te.sum(x[(*i[:-1], r)] * weight, axis=r)

    pool.stage((*x.shape[:-1], n), x.bound * 4 * k, define)
    return None


def pad(pool: Pool) -> None:
    """Zeros around some axes."""
    x = pool.source(rank=1)
    room = [(pool.rng.randint(0, 2), pool.rng.randint(0, 2)) for _ in x.shape]
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, room, strict=True))
    if prod(shape) > 4 * LARGEST:
        return elementwise(pool)

    def define(*i: Expr) -> Expr:
        inside = [
            c
            for v, n, (a, b) in zip(i, x.shape, room, strict=True)
            for c in ([v >= a] if a else []) + ([v < n + a] if b else [])
        ]
        at = tuple(v - a for v, (a, _) in zip(i, room, strict=True))
        value = x[at]
        return te.if_then_else(te.all(*inside), value, te.const(0, x.dtype)) if inside else value

    pool.stage(shape, x.bound, define)
    return None


def window(pool: Pool) -> None:
    """Windows of one axis with a stride and a dilation: weighted, summed or their maximum."""
    x = pool.source(rank=1)
    axis = pool.rng.randrange(len(x.shape))
    size = x.shape[axis]
    k, s, d = pool.rng.randint(1, 3), pool.rng.randint(1, 3), pool.rng.randint(1, 2)
    if (k - 1) * d >= size or x.bound is None or x.bound * 12 > 2**16:
        return elementwise(pool)
    weighted = pool.rng.random() < 0.6
    w = pool.input((k,), x.dtype) if weighted else None
    r = te.reduce_axis(k, name="r")
    largest = weighted is False and pool.rng.random() < 0.5

    def define(*i: Expr) -> te.Reduction:
        at = tuple(v * s + r * d if n == axis else v for n, v in enumerate(i))
        value = x[at] * w[(r,)] if w is not None else x[at]
        return te.max(value, axis=r) if largest else te.sum(value, axis=r)

    out = (size - (k - 1) * d - 1) // s + 1
    shape = tuple(out if n == axis else e for n, e in enumerate(x.shape))
    pool.stage(shape, x.bound * k * 4, define)
    return None


def conv(pool: Pool) -> None:
    """Two axes of windows and a sum over channels, which are last or first."""
    h, k, s = pool.rng.choice([3, 4, 5, 6]), pool.rng.randint(1, 3), pool.rng.randint(1, 2)
    ci, co, first = pool.rng.randint(1, 4), pool.rng.randint(1, 4), pool.rng.random() < 0.5
    dtype = pool.rng.choice(["float32", "int32", "int8"])
    x = pool.input((ci, h, h) if first else (h, h, ci), dtype)
    w = pool.input((co, ci, k, k) if first else (k, k, ci, co), dtype)
    rh, rw = te.reduce_axis(k, name="rh"), te.reduce_axis(k, name="rw")
    rc = te.reduce_axis(ci, name="rc")
    out = (h - k) // s + 1
    wide = "int32" if dtype == "int8" else dtype

    def define(i: Expr, j: Expr, c: Expr) -> te.Reduction:
        if first:
            a, b = x[rc, j * s + rh, c * s + rw], w[i, rc, rh, rw]
        else:
            a, b = x[i * s + rh, j * s + rw, rc], w[rh, rw, rc, c]
        return te.sum(te.cast(a, wide) * te.cast(b, wide), axis=[rh, rw, rc])

    pool.stage((co, out, out) if first else (out, out, co), 16 * ci * k * k, define)


def strided(pool: Pool) -> None:
    """A slice with a stride, from an offset, forwards or backwards."""
    x = pool.source(rank=1)
    axis = pool.rng.randrange(len(x.shape))
    size, s = x.shape[axis], pool.rng.randint(1, 3)
    start = pool.rng.randrange(size)
    out = (size - 1 - start) // s + 1
    backwards = pool.rng.random() < 0.3

    def define(*i: Expr) -> Expr:
        moved = [(out - 1 - v if backwards else v) * s + start for v in i]
        return x[tuple(moved[n] if n == axis else v for n, v in enumerate(i))]

    pool.stage(tuple(out if n == axis else e for n, e in enumerate(x.shape)), x.bound, define)


def reshape(pool: Pool) -> None:
    """All axes in one, one axis in two, or each element several times."""
    x = pool.source(rank=1)
    divisors = [d for d in (2, 3, 4) if x.shape[0] % d == 0]
    kind = pool.rng.choice(["flat", "repeat", *(["split"] if divisors else [])])
    if kind == "flat":

        def flat(f: Expr) -> Expr:
            at: list[Expr] = []
            rest = f
            for size in reversed(x.shape):
                at.append(te.indexmod(rest, size))
                rest = te.indexdiv(rest, size)
            return x[tuple(reversed(at))]

        return pool.stage((prod(x.shape),), x.bound, flat)
    factor = pool.rng.choice(divisors) if kind == "split" else 2
    if kind == "split":
        shape = (x.shape[0] // factor, factor, *x.shape[1:])
        return pool.stage(
            shape, x.bound, lambda a, b, *rest: x[(a * factor + b, *rest)] + te.const(0, x.dtype)
        )
    if prod(x.shape) > LARGEST:
        return elementwise(pool)
    shape = (x.shape[0] * factor, *x.shape[1:])
    return pool.stage(shape, x.bound, lambda a, *rest: x[(te.indexdiv(a, factor), *rest)])


def joined(pool: Pool) -> None:
    """A tensor and another behind it, or a part of it replaced by a value of the index."""
    x = pool.source(rank=1)
    size, at = x.shape[0], pool.rng.randint(0, x.shape[0])
    if pool.rng.random() < 0.5 and prod(x.shape) <= LARGEST:
        y = pool.input(x.shape, x.dtype)
        return pool.stage(
            (2 * size, *x.shape[1:]),
            x.bound and max(x.bound, 4),
            lambda i, *rest: te.if_then_else(i < size, x[(i, *rest)], y[(i - size, *rest)]),
        )
    return pool.stage(
        x.shape,
        x.bound and max(x.bound, size),
        lambda i, *rest: te.if_then_else(i < at, te.cast(i, x.dtype), x[(i, *rest)]),
    )


STAGES: tuple[Callable[[Pool], None], ...] = (
    elementwise, elementwise, binary, binary, reduction, reduction, matmul, matmul, pad, window,
    conv, strided, reshape, joined,
)  # fmt: skip


def random_program(rng: random.Random) -> Program:
    """A program of one to five stages."""
    pool = Pool(rng)
    for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 5])):
        rng.choice(STAGES)(pool)
    return pool.program()
