"""Procedures: what is checked of them and of calls, and what they mean."""

from __future__ import annotations

import pytest

from metasched.errors import UsageError
from metasched.ir.dtype import DType
from metasched.ir.expr import Buffer, Load, Var, const
from metasched.ir.procedure import PROCEDURES, Param, Procedure, meaning_of, why_not_invocable
from metasched.ir.stmt import Invoke
from tests.core.codegen.tensor_core import register

FLOAT = DType("float", 32)


def tile(name: str, dtype: str, scope: str, *shape: int) -> Load:
    buffer = Buffer(name, tuple(map(const, shape)), DType.of(dtype), scope)
    return Load(buffer, tuple(const(0) for _ in shape))


def test_a_fragment_has_to_spread_over_the_threads() -> None:
    odd = Param(FLOAT, (3, 5), "wmma.accumulator")
    with pytest.raises(UsageError, match="15 elements does not spread over 32 threads"):
        Procedure("odd", (odd,), (), (3, 5), lambda v, o, x: (o[0][v[0], v[1]], const(0, FLOAT)))


def test_calls_are_checked() -> None:
    register()
    store = PROCEDURES["test_store"]
    result = tile("c", "float32", "global", 16, 8)
    with pytest.raises(UsageError, match="takes x0 as float32 in 'wmma"):
        store([result], [tile("f", "float32", "shared", 16, 8)])
    with pytest.raises(UsageError, match="writes 1 tiles and reads 1, got 1 and 0"):
        store([result], [])
    assert why_not_invocable(Invoke("no_such_thing")) is not None


def test_the_meaning_is_loops_around_one_store() -> None:
    register()
    call = PROCEDURES["test_store"](
        [tile("c", "float32", "global", 64, 64)], [tile("f", "float32", "wmma.accumulator", 16, 8)]
    )
    text = str(meaning_of(call, lambda name, extent: Var(name, extent.dtype)))
    assert text == (
        "for test_store_0 in serial(16):\n"
        "    for test_store_1 in serial(8):\n"
        "        c[test_store_0, test_store_1] = f[test_store_0, test_store_1]"
    )
