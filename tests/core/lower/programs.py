"""Scheduled programs built by hand, so that lowering is tested apart from the schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metasched.ir.expr import TRUE, Buffer, Expr, Var, all_of, cast, const, less
from metasched.ir.stmt import Block, For, IterVar, LoopKind, Program, Region, Stmt, Store


@dataclass(frozen=True)
class Machine:
    """A target as lowering sees it: 512-bit vectors, 32 registers."""

    cores: int = 2
    features: tuple[str, ...] = ()
    vector_bits: int = 512
    vector_registers: int = 32
    kind: str = "cpu"
    gpu: None = None


@dataclass(frozen=True)
class Axis:
    """An iteration variable of a block, split into loops of the given extents (outer to inner)."""

    name: str
    size: int
    factors: tuple[int, ...]
    kind: str = "spatial"

    @property
    def loops(self) -> tuple[Var, ...]:
        return tuple(Var(f"{self.name}{n}") for n in range(len(self.factors)))

    @property
    def binding(self) -> Expr:
        total: Expr = const(0)
        for loop, factor in zip(self.loops, self.factors, strict=True):
            total = total * factor + loop
        return total

    @property
    def exact(self) -> bool:
        product = 1
        for factor in self.factors:
            product *= factor
        return product == self.size


def point(buffer: Buffer, *indices: Expr) -> Region:
    return Region(buffer, tuple((i, const(1)) for i in indices))


def nest(
    order: str, axes: tuple[Axis, ...], body: Stmt, kinds: dict[str, LoopKind] | None = None
) -> Stmt:
    """Loops in the given order ("i0 j0 k0 i1 ...") around ``body``."""
    extents = {v.name: f for a in axes for v, f in zip(a.loops, a.factors, strict=True)}
    for name in reversed(order.split()):
        body = For(Var(name), const(extents[name]), body, (kinds or {}).get(name, "serial"))
    return body


def block(name: str, axes: tuple[Axis, ...], body: Stmt, init: Stmt | None = None) -> Block:
    """A block over axes whose iteration variables are ``v_<axis>``."""
    iters = tuple(
        IterVar(Var(f"v_{a.name}"), const(a.size), a.kind, a.binding)  # type: ignore[arg-type]
        for a in axes
    )
    bounds = [less(a.binding, a.size) for a in axes if not a.exact]
    return Block(name, iters, (), (), body, init, all_of(bounds) if bounds else TRUE)


def tiled_matmul(
    i: tuple[int, ...],
    j: tuple[int, ...],
    k: tuple[int, ...],
    *,
    order: str = "i0 j0 i1 j1 k0 i2 j2 k1 i3 j3",
    kinds: dict[str, LoopKind] | None = None,
    sizes: tuple[int, int, int] | None = None,
    dtype: str = "float32",
    acc_dtype: str | None = None,
) -> Program:
    """A matmul whose axes are split by the given factors; sizes default to their products."""
    axes = (_axis("i", i, sizes and sizes[0]), _axis("j", j, sizes and sizes[1]))
    axes += (_axis("k", k, sizes and sizes[2], "reduce"),)
    m, n, r = (a.size for a in axes)
    program = matmul(m, n, r, dtype, acc_dtype)
    a, b, c = program.params
    vi, vj, vk = (Var(f"v_{x.name}") for x in axes)
    acc = c.dtype
    body = Store(c, (vi, vj), c[vi, vj] + cast(a[vi, vk], acc) * cast(b[vk, vj], acc))
    inner = block("c", axes, body, Store(c, (vi, vj), const(0, acc)))
    loops = nest(order, axes, inner, {"j3": "vectorized", **(kinds or {})})
    return replace(program, root=replace(program.root, body=loops))


def _axis(name: str, factors: tuple[int, ...], size: int | None, kind: str = "spatial") -> Axis:
    product = 1
    for factor in factors:
        product *= factor
    return Axis(name, size or product, factors, kind)


def matmul(m: int, n: int, k: int, dtype: str = "float32", acc_dtype: str | None = None) -> Program:
    """The unscheduled matmul."""
    from metasched import ops

    return ops.matmul(m=m, n=n, k=k, dtype=dtype, acc_dtype=acc_dtype)


def after(program: Program | str, last: str, machine: Machine | None = None) -> str:
    """The printed statements after the pass named ``last`` ("lower_blocks" is the first)."""
    from metasched.ir.parser import parse
    from metasched.lower.blocks import lower_blocks
    from metasched.lower.pipeline import PASSES
    from metasched.lower.scope import Scope

    parsed = parse(program) if isinstance(program, str) else program
    scope = Scope(parsed, machine or Machine())
    stmt = lower_blocks(parsed.root, scope)
    names = [step.__name__ for step in PASSES]
    for step in PASSES[: names.index(last) + 1 if last != "lower_blocks" else 0]:
        stmt = step(stmt, scope)
    return str(stmt)
