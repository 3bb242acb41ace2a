"""Convolutions over channels-last data, direct, with padding as a stage of its own.

Sizes: ``n`` batch, ``l`` or ``h, w`` or ``d, h, w`` positions, ``ci`` and ``co`` channels, ``k``
kernel width in every direction, ``s`` stride, ``p`` zeros on each side. Weights hold the kernel
positions first, then input channels, then output channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metasched import te
from metasched.errors import UsageError
from metasched.ir.expr import Expr
from metasched.ir.stmt import Program
from metasched.ops.registry import at_least, operator, positive


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves over positions: width, stride, padding and dilation."""

    k: int
    s: int = 1
    p: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        positive(k=self.k, s=self.s, dilation=self.dilation)
        at_least(0, p=self.p)

    def output(self, size: int) -> int:
        """Positions of the output along a dimension of ``size`` input positions.

        Raises:
            UsageError: the kernel is wider than the padded input.
        """
        reach = self.dilation * (self.k - 1) + 1
        if reach > size + 2 * self.p:
            raise UsageError(
                f"a kernel that reaches over {reach} positions does not fit an input of {size} "
                f"with padding {self.p}; give a larger input or more padding"
            )
        return (size + 2 * self.p - reach) // self.s + 1


@dataclass(frozen=True, slots=True)
class Convolution:
    """The tensors of a convolution."""

    x: te.Tensor
    weight: te.Tensor
    y: te.Tensor

    def program(self, name: str) -> Program:
        """The program of the convolution alone."""
        return te.program([self.x, self.weight, self.y], name=name)


def pad(x: te.Tensor, widths: Sequence[tuple[int, int]]) -> te.Tensor:
    """``x`` with zeros around it, ``widths`` before and after per dimension; x itself for none."""
    if not any(before or after for before, after in widths):
        return x
    shape = [e + (before + after) for e, (before, after) in zip(x.shape, widths, strict=True)]

    def body(*i: Expr) -> Expr:
        inside: list[Expr] = []
        for axis, size, (before, after) in zip(i, x.shape, widths, strict=True):
            inside += [axis >= before] if before else []
            inside += [axis < size + before] if after else []
        source = [axis - before for axis, (before, _) in zip(i, widths, strict=True)]
        return te.if_then_else(te.all(*inside), x(*source), te.const(0, str(x.dtype)))

    return te.compute(shape, body, name="pad")


def convolve(
    n: int,
    sizes: Sequence[int],
    ci: int,
    co: int,
    window: Window,
    groups: int,
    dtype: str,
    acc_dtype: str | None = None,
) -> Convolution:
    """``y[n, ..., co] = sum of pad[n, ... * s + r * dilation, channel] * w[r..., rc, co]``.

    Args:
        n: batch.
        sizes: positions, one per direction.
        ci: input channels, split into ``groups``.
        co: output channels, split likewise; each group sees its own input channels only.
        window: movement of the kernel, the same in every direction.
        groups: number of independent groups.
        dtype: of all tensors.
        acc_dtype: of the products, the sums and y (default: ``dtype``).
    """
    acc = acc_dtype or dtype
    positive(n=n, ci=ci, co=co, groups=groups)
    if ci % groups or co % groups:
        raise UsageError(f"groups={groups} must divide both ci={ci} and co={co}")
    rank, per_in, per_out = len(sizes), ci // groups, co // groups
    x = te.placeholder((n, *sizes, ci), dtype, name="x")
    weight = te.placeholder((*[window.k] * rank, per_in, co), dtype, name="w")
    padded = pad(x, [(0, 0), *[(window.p, window.p)] * rank, (0, 0)])
    taps = [te.reduce_axis(window.k, name=f"r{axis}") for axis in "dhw"[3 - rank :]]
    rc = te.reduce_axis(per_in, name="rc")

    def body(*i: Expr) -> te.Reduction:
        batch, *position, c = i
        channel = rc if groups == 1 else c // per_out * per_in + rc
        source = [o * window.s + r * window.dilation for o, r in zip(position, taps, strict=True)]
        factors = padded(batch, *source, channel), weight(*taps, rc, c)
        left, right = (te.cast(factor, acc) for factor in factors)
        return te.sum(left * right, axis=[*taps, rc])

    shape = (n, *(window.output(size) for size in sizes), co)
    return Convolution(x, weight, te.compute(shape, body, name="conv"))


@operator
def conv1d(
    *,
    n: int = 1,
    l: int,  # noqa: E741
    ci: int,
    co: int,
    k: int,
    s: int = 1,
    p: int = 0,
    dilation: int = 1,
    groups: int = 1,
    dtype: str = "float32",
) -> Program:
    """``x[n, l, ci]`` with ``w[k, ci / groups, co]`` to ``conv[n, lo, co]``."""
    positive(l=l)
    return convolve(n, [l], ci, co, Window(k, s, p, dilation), groups, dtype).program("conv1d")


@operator
def conv2d(
    *,
    n: int = 1,
    h: int,
    w: int,
    ci: int,
    co: int,
    k: int,
    s: int = 1,
    p: int = 0,
    dilation: int = 1,
    groups: int = 1,
    dtype: str = "float32",
    acc_dtype: str | None = None,
) -> Program:
    """``x[n, h, w, ci]`` with ``w[k, k, ci / groups, co]`` to ``conv[n, ho, wo, co]``.

    ``acc_dtype`` is that of the products, the sums and conv; ``dtype`` by default.
    """
    positive(h=h, w=w)
    window = Window(k, s, p, dilation)
    return convolve(n, [h, w], ci, co, window, groups, dtype, acc_dtype).program("conv2d")


@operator
def conv3d(
    *,
    n: int = 1,
    d: int,
    h: int,
    w: int,
    ci: int,
    co: int,
    k: int,
    s: int = 1,
    p: int = 0,
    dilation: int = 1,
    groups: int = 1,
    dtype: str = "float32",
) -> Program:
    """``x[n, d, h, w, ci]`` with ``w[k, k, k, ci / groups, co]`` to ``conv[n, do, ho, wo, co]``."""
    positive(d=d, h=h, w=w)
    window = Window(k, s, p, dilation)
    return convolve(n, [d, h, w], ci, co, window, groups, dtype).program("conv3d")


@operator
def depthwise_conv2d(
    *, n: int = 1, h: int, w: int, c: int, k: int, s: int = 1, p: int = 0, dtype: str = "float32"
) -> Program:
    """Each channel with a kernel of its own: ``x[n, h, w, c]``, ``w[k, k, c]``."""
    positive(n=n, h=h, w=w, c=c)
    window = Window(k, s, p)
    x = te.placeholder((n, h, w, c), dtype, name="x")
    weight = te.placeholder((k, k, c), dtype, name="w")
    padded = pad(x, [(0, 0), (p, p), (p, p), (0, 0)])
    rh, rw = te.reduce_axis(k, name="rh"), te.reduce_axis(k, name="rw")
    y = te.compute(
        (n, window.output(h), window.output(w), c),
        lambda b, i, j, ch: te.sum(
            padded[b, i * s + rh, j * s + rw, ch] * weight[rh, rw, ch], axis=[rh, rw]
        ),
        name="depthwise",
    )
    return te.program([x, weight, y], name="depthwise_conv2d")


@operator
def conv2d_bias_relu(
    *,
    n: int = 1,
    h: int,
    w: int,
    ci: int,
    co: int,
    k: int,
    s: int = 1,
    p: int = 0,
    dtype: str = "float32",
) -> Program:
    """A convolution with bias, folded batch norm and relu: ``max((y + bias) * scale + shift, 0)``.

    Parameters in order: x, w, bias[co], scale[co], shift[co], relu (the output, as conv2d's).
    """
    positive(h=h, w=w)
    conv = convolve(n, [h, w], ci, co, Window(k, s, p), 1, dtype)
    y, shape = conv.y, conv.y.shape
    bias, scale, shift = (te.placeholder((co,), dtype, name=m) for m in ("bias", "scale", "shift"))
    t = te.compute(shape, lambda b, i, j, c: y[b, i, j, c] + bias[c], name="add_bias")
    u = te.compute(shape, lambda b, i, j, c: t[b, i, j, c] * scale[c], name="bn_mul")
    v = te.compute(shape, lambda b, i, j, c: u[b, i, j, c] + shift[c], name="bn_add")
    out = te.compute(shape, lambda b, i, j, c: te.max(v[b, i, j, c], 0), name="relu")
    return te.program([conv.x, conv.weight, bias, scale, shift, out], name="conv2d_bias_relu")
