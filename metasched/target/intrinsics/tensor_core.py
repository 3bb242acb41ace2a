"""What the intrinsics of tensor cores have in common: groups that a tiling rule takes together.

A group multiplies tiles that lie in the registers of a warp, or of four: it clears sums, loads
operands, multiplies and stores. The members (`mma_sync`, `wgmma`) are data: texts and sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from metasched.ir.dtype import DType
from metasched.ir.expr import Expr, cast, const
from metasched.ir.procedure import PROCEDURES, Param, Procedure
from metasched.registry import Registry
from metasched.target.intrinsics.tensor_intrin import TensorIntrin, register_intrin

Order = Literal["kn", "nk"]
"""How the second operand lies in memory: rows along the reduction, or along the columns."""


@dataclass(frozen=True, slots=True)
class Operand:
    """How one operand gets from global memory to the tensor cores.

    Args:
        load: the intrinsic that loads a tile to registers; None where the product reads shared
            memory itself.
        scope: of what the product reads.
        layouts: index maps of the copy in shared memory, none where it keeps its rows. The copy
            runs over what the first makes; the others only name the places anew.
        order: in which order the copy runs over what the first layout makes, so that threads side
            by side read side by side.
        pad: elements that the last rows of the copy are longer, so that threads side by side write
            to different banks.
    """

    load: str | None
    scope: str
    layouts: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    pad: int = 0


@dataclass(frozen=True, slots=True)
class TensorCoreGroup:
    """Intrinsics that together multiply a tile.

    Args:
        name: the name.
        shape: rows, columns and terms of a tile.
        dtypes: of the operands, and of the sums.
        order: how the second operand lies in memory.
        threads: how many threads hold a tile together.
        a: the first operand.
        b: the second operand.
        zero: the intrinsic that clears sums.
        product: the intrinsic that multiplies.
        store: the intrinsic that stores sums to global memory.
        features: what the target must offer.
        speed: higher is preferred where several groups fit.
        rounds: whether operands lose digits, so that a user has to ask for it.
    """

    name: str
    shape: tuple[int, int, int]
    dtypes: tuple[str, str]
    order: Order
    threads: int
    a: Operand
    b: Operand
    zero: str
    product: str
    store: str
    features: tuple[str, ...]
    speed: int
    rounds: bool = False


GROUPS: Final = Registry[TensorCoreGroup]("group of tensor core intrinsics")


def zero(name: str, sums: Param, text: str, threads: int) -> str:
    """An intrinsic that clears a tile of sums."""
    m, n = sums.shape
    head = f"@program\ndef zero({_buffer('c', sums)}):\n"
    body = _loops(("i", m), ("j", n)) + (
        f'            with block("zero"):\n'
        f"                vi = spatial({m}, i)\n"
        f"                vj = spatial({n}, j)\n"
        f"                writes(c[vi, vj])\n"
        f"                c[vi, vj] = {_zero_of(sums.dtype)}"
    )
    PROCEDURES.register(
        name,
        Procedure(
            name, (sums,), (), sums.shape,
            lambda v, o, x: (o[0][v[0], v[1]], const(0, sums.dtype)),
            {"cuda": text}, threads=threads,
        ),
    )  # fmt: skip
    return _intrin(name, head, body, f'    invoke("{name}", [c[0, 0]])')


def copy(
    name: str, source: Param, target: Param, text: str, threads: int, features: tuple[str, ...] = ()
) -> str:
    """An intrinsic that moves a tile between memory and registers."""
    m, n = target.shape
    head = f"@program\ndef copy({_buffer('s', source)}, {_buffer('t', target)}):\n"
    body = _loops(("i", m), ("j", n)) + (
        f'            with block("copy"):\n'
        f"                vi = spatial({m}, i)\n"
        f"                vj = spatial({n}, j)\n"
        f"                reads(s[vi, vj])\n"
        f"                writes(t[vi, vj])\n"
        f"                t[vi, vj] = s[vi, vj]"
    )
    PROCEDURES.register(
        name,
        Procedure(
            name, (target,), (source,), target.shape,
            lambda v, o, x: (o[0][v[0], v[1]], x[0][v[0], v[1]]),
            {"cuda": text}, threads=threads, features=features,
        ),
    )  # fmt: skip
    return _intrin(name, head, body, f'    invoke("{name}", [t[0, 0]], s[0, 0])')


@dataclass(frozen=True, slots=True)
class Indices:
    """Where an operand keeps the element of row (or column) ``x`` and term ``k``.

    Args:
        texts: the indices in a description.
        at: the same as a function.
    """

    texts: tuple[str, ...]
    at: Callable[[Expr, Expr], tuple[Expr, ...]]


ROWS: Final = Indices(("x", "k"), lambda x, k: (x, k))
COLUMNS: Final = Indices(("k", "x"), lambda x, k: (k, x))
CORES: Final = Indices(
    ("x // 8", "k // 8", "x % 8 * 8 + k % 8"),
    lambda x, k: (x // 8, k // 8, x % 8 * 8 + k % 8),
)
"""Blocks of 8 rows and 8 terms, each in one piece, all terms of 8 rows after another."""

CORE_COLUMNS: Final = Indices(
    ("k // 8", "x // 8", "k % 8 * 8 + x % 8"),
    lambda x, k: (k // 8, x // 8, k % 8 * 8 + x % 8),
)
"""Blocks of 8 terms and 8 columns, each in one piece, all columns of 8 terms after another."""


def product(
    name: str,
    shape: tuple[int, int, int],
    params: tuple[Param, Param, Param],
    at: tuple[Indices, Indices],
    text: str,
    threads: int,
    features: tuple[str, ...],
    fence: str = "",
) -> str:
    """An intrinsic that adds the product of two tiles to a tile of sums."""
    a, b, c = params
    m, n, k = shape
    at_a, at_b = at
    wide = f'"{c.dtype}"'
    first = ", ".join(t.replace("k", "vk").replace("x", "vi") for t in at_a.texts)
    second = ", ".join(t.replace("k", "vk").replace("x", "vj") for t in at_b.texts)
    x, y = (
        f"{v}[{i}]" if p.dtype == c.dtype else f"cast({v}[{i}], {wide})"
        for v, i, p in (("a", first, a), ("b", second, b))
    )
    head = f"@program\ndef mma({_buffer('a', a)}, {_buffer('b', b)}, {_buffer('c', c)}):\n"
    body = _loops(("i", m), ("j", n), ("k", k)) + (
        f'                with block("mma"):\n'
        f"                    vi = spatial({m}, i)\n"
        f"                    vj = spatial({n}, j)\n"
        f"                    vk = reduce({k}, k)\n"
        f"                    reads(c[vi, vj], a[{first}], b[{second}])\n"
        f"                    writes(c[vi, vj])\n"
        f"                    c[vi, vj] = c[vi, vj] + {x} * {y}"
    )
    PROCEDURES.register(
        name,
        Procedure(
            name, (c,), (a, b, c), shape,
            lambda v, o, t: (
                o[0][v[0], v[1]],
                t[2][v[0], v[1]]
                + _widened(t[0][at_a.at(v[0], v[2])], c.dtype)
                * _widened(t[1][at_b.at(v[1], v[2])], c.dtype),
            ),
            {"cuda": text}, threads=threads, features=features,
            before_barrier={"cuda": fence} if fence else {},
        ),
    )  # fmt: skip
    first, second = (", ".join("0" for _ in p.shape) for p in (a, b))
    call = f'    invoke("{name}", [c[0, 0]], a[{first}], b[{second}], c[0, 0])'
    return _intrin(name, head, body, call)


def _widened(value: Expr, dtype: DType) -> Expr:
    return value if value.dtype == dtype else cast(value, dtype)


def _zero_of(dtype: DType) -> str:
    return f"{dtype}(0.0)" if dtype.is_float else f"{dtype}(0)"


def _buffer(name: str, param: Param) -> str:
    return f'{name}: Buffer({param.shape}, "{param.dtype}", scope="{param.scope}")'


def _loops(*loops: tuple[str, int]) -> str:
    return "".join(
        f"{'    ' * (depth + 1)}for {name} in serial({extent}):\n"
        for depth, (name, extent) in enumerate(loops)
    )


def _intrin(name: str, head: str, description: str, call: str) -> str:
    return register_intrin(TensorIntrin.of(name, head + description, head + call)).name
