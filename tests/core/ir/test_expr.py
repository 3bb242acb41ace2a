from __future__ import annotations

import pickle
from copy import deepcopy

import pytest

from metasched.errors import UsageError
from metasched.ir.dtype import INT64, DType
from metasched.ir.expr import FALSE, Binary, Const, Var, const, less
from metasched.te.reduction import Axis


def test_a_variable_is_one_object() -> None:
    i = Var("i")
    assert i is Var("i", DType("int", 64))
    assert i is not Var("i", DType("int", 32))
    assert i is pickle.loads(pickle.dumps(i)) is deepcopy(i)


def test_axes_of_one_name_differ() -> None:
    i = Axis("i", extent=const(3))
    assert i != Axis("i", extent=const(3))
    assert i != Var("i")
    assert pickle.loads(pickle.dumps(i)).extent == const(3)


def test_constants_fold_to_their_type() -> None:
    small = const(100, "int8")
    assert small - 1 == Const(99, DType("int", 8))
    assert less(const(2), 1) is FALSE


def test_operands_have_one_dtype() -> None:
    with pytest.raises(UsageError, match="'add' needs operands of one dtype, got int64 and int32"):
        Binary("add", Var("i", INT64), Var("j", DType("int", 32)))
