"""Which threads meet at an element."""

from __future__ import annotations

import pytest

from metasched import ops
from metasched.ir.dtype import FLOAT32
from metasched.ir.expr import Buffer, Expr, Var, const
from metasched.lower.gpu.footprints import Access, Footprints
from metasched.lower.gpu.kernel import Axis
from metasched.lower.scope import Scope
from tests.core.lower.programs import Machine

SHARED = Buffer("s", (const(4096),), FLOAT32, "shared")
T, K, J = Var("t"), Var("k"), Var("j")


def meets(a: Expr, b: Expr, *conditions: Expr) -> bool:
    """Whether two of 64 threads meet, one storing at ``a``, the other one reading at ``b``."""
    scope = Scope(ops.relu(m=2, n=2), Machine())
    for var, extent in ((T, 64), (K, 1000), (J, 4)):
        scope.bind(var, const(extent))
    footprints = Footprints([Axis("threadIdx.x", T, 64)], scope)
    inner = ((J, 4),)
    store = Access(SHARED, scope.simplify(a), True, inner, conditions)
    return footprints.conflict(store, Access(SHARED, scope.simplify(b), False, inner))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (T, T, False),
        (T, T + 1, True),
        (T * 4 + J, T * 4 + J, False),
        (T * 4 + J, T * 4 + J + 1, True),
        (T + K * 64, T + K * 64, False),
        (T + K * 64, T + K * 64 + 1, True),
        (T % 32, T % 32, True),
        (T // 2, T // 2 + 100, False),
        (K % 3 * 100 + T, (K + 2) % 3 * 100 + T % 32, False),
        (K % 3 * 100 + T, (K + 3) % 3 * 100 + T % 32, True),
    ],
)
def test_elements_are_counted_out(a: Expr, b: Expr, expected: bool) -> None:
    assert meets(a, b) is expected


def test_conditions_count() -> None:
    assert meets(const(0), T)
    assert meets(T, T - 1, T < 32)
    assert not meets(T, T % 32 + 32, T < 32)


def test_what_cannot_be_counted_out_is_taken_for_a_conflict() -> None:
    assert meets(T + K * K * 64, T + K * 64)
