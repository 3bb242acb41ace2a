"""Tensor expressions: describe what to compute; names and meaning as in TVM's ``te``.

    a = te.placeholder((m, k), "float32", name="a")
    b = te.placeholder((k, n), "float32", name="b")
    r = te.reduce_axis(k, name="r")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="c")
    program = te.program([a, b, c], name="matmul")

Read `tensor`, then `reduction`, then `build`.
"""

from __future__ import annotations

from metasched.ir.expr import (
    cast,
    equal,
    floordiv,
    floormod,
    less,
    less_equal,
    not_equal,
)
from metasched.ir.expr import floordiv as indexdiv
from metasched.ir.expr import floormod as indexmod
from metasched.te.build import program
from metasched.te.functions import all_conditions as all  # noqa: A004
from metasched.te.functions import any_condition as any  # noqa: A004
from metasched.te.functions import (
    const,
    erf,
    exp,
    floor,
    if_then_else,
    log,
    logical_not,
    power,
    rsqrt,
    sigmoid,
    sqrt,
    tanh,
)
from metasched.te.functions import magnitude as abs  # noqa: A004
from metasched.te.functions import nearest as round  # noqa: A004
from metasched.te.functions import power as pow  # noqa: A004
from metasched.te.reduction import Axis, Reduction, argmax, argmin, reduce_axis
from metasched.te.reduction import max_of as max  # noqa: A004
from metasched.te.reduction import min_of as min  # noqa: A004
from metasched.te.reduction import reduce_prod as prod
from metasched.te.reduction import reduce_sum as sum  # noqa: A004
from metasched.te.tensor import Tensor, compute, placeholder, var

__all__ = [
    "Axis",
    "Reduction",
    "Tensor",
    "abs",
    "all",
    "any",
    "argmax",
    "argmin",
    "cast",
    "compute",
    "const",
    "equal",
    "erf",
    "exp",
    "floor",
    "floordiv",
    "floormod",
    "if_then_else",
    "indexdiv",
    "indexmod",
    "less",
    "less_equal",
    "log",
    "logical_not",
    "max",
    "min",
    "not_equal",
    "placeholder",
    "pow",
    "power",
    "prod",
    "program",
    "reduce_axis",
    "round",
    "rsqrt",
    "sigmoid",
    "sqrt",
    "sum",
    "tanh",
    "var",
]
