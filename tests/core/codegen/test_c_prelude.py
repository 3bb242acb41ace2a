from __future__ import annotations

import pytest

from metasched.codegen.c_prelude import prelude
from metasched.errors import CodegenError
from metasched.ir.dtype import DType

VECTOR = DType("float", 32, 8)


def test_only_what_is_used_is_defined() -> None:
    text = prelude([VECTOR], [("splat", VECTOR)])
    assert "ms_splat_f32x8" in text
    assert "ms_exp" not in text
    assert text.count("typedef") == 2


def test_helpers_bring_what_they_call_first() -> None:
    text = prelude([], [("sigmoid", VECTOR)])
    order = [text.index(f" ms_{fn}_f32x8(") for fn in ("select", "bits", "exp", "sigmoid")]
    assert order == sorted(order)


def test_double_precision_uses_the_c_library() -> None:
    assert "r[i] = exp(a);" in prelude([], [("exp", DType("float", 64, 8))])


def test_a_function_that_c_lacks_is_refused() -> None:
    with pytest.raises(CodegenError, match="C has no 'exp' for int32"):
        prelude([], [("exp", DType("int", 32))])
