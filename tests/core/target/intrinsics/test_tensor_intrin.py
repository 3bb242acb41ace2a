from __future__ import annotations

import pytest

from metasched.errors import UsageError
from metasched.ir.dtype import DType
from metasched.ir.extern import EXTERNS
from metasched.target.intrinsics import (
    DOT_INT8,
    TENSOR_INTRINS,
    TensorIntrin,
    pick_intrin,
    register_intrin,
)
from metasched.testing.intrinsics import check_intrin

DESCRIPTION = """\
@program
def add(a: Buffer((4,), "float32"), c: Buffer((4,), "float32")):
    for i in serial(4):
        with block("add"):
            v = spatial(4, i)
            reads(c[v], a[v])
            writes(c[v])
            c[v] = c[v] + a[v]"""

IMPLEMENTATION = """\
@program
def add(a: Buffer((4,), "float32"), c: Buffer((4,), "float32")):
    c[ramp(0, 1, 4)] = c[ramp(0, 1, 4)] + a[ramp(0, 1, 4)]"""


def intrin(old: str = "", new: str = "", *, description: bool = False) -> TensorIntrin:
    """An intrinsic whose implementation, or description, differs in one place."""
    first, second = DESCRIPTION, IMPLEMENTATION
    if description:
        first = first.replace(old, new)
    elif old:
        second = second.replace(old, new)
    return TensorIntrin.of("add4", first, second)


@pytest.mark.parametrize("name", list(TENSOR_INTRINS))
def test_implementations_compute_what_descriptions_say(name: str) -> None:
    check_intrin(TENSOR_INTRINS[name])


def test_a_wrong_implementation_is_found() -> None:
    check_intrin(intrin())
    with pytest.raises(AssertionError, match="'c' of add4"):
        check_intrin(intrin("+ a", "- a"))


def test_names_are_taken_once() -> None:
    with pytest.raises(UsageError, match="'dot_16x4_u8s8_vnni' is registered already"):
        register_intrin(TENSOR_INTRINS["dot_16x4_u8s8_vnni"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"float32"), c', '"float64"), c', r"takes \(a: float32\[4\], c.*float64\[4\]"),
        ("a: Buffer", "x: Buffer", "the implementation .x: float32"),
        ("4,", "8,", r"implementation \(a: float32\[8\]"),
    ],
)
def test_signatures_must_agree(old: str, new: str, message: str) -> None:
    text = IMPLEMENTATION.replace(old, new)
    text = text.replace("+ a[ramp(0, 1, 4)]", "+ c[ramp(0, 1, 4)]")
    with pytest.raises(UsageError, match=message):
        TensorIntrin.of("add4", DESCRIPTION, text)


def test_outputs_must_agree() -> None:
    with pytest.raises(UsageError, match="description writes c, the implementation writes a"):
        intrin("    c[", "    a[")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("            c[v] = ", "            where(i < 3)\n            c[v] = ", "a predicate"),
        ("spatial(4, i)", "spatial(8, i)", "a loop of its own|leaves its size"),
        ("spatial(4, i)", "spatial(4, 3 - i)", "each iteration of the description must be a loop"),
    ],
)
def test_descriptions_must_be_plain(old: str, new: str, message: str) -> None:
    text = DESCRIPTION
    if "where" in new:
        text = text.replace("            reads", "            where(i < 3)\n            reads")
    else:
        text = text.replace(old, new)
    with pytest.raises(Exception, match=message):
        TensorIntrin.of("add4", text, IMPLEMENTATION)


def test_an_extern_must_be_registered_and_fit() -> None:
    lone = 'extern("unheard_of", "float32x4", a[ramp(0, 1, 4)])'
    with pytest.raises(UsageError, match="'unheard_of' is not registered"):
        intrin("a[ramp(0, 1, 4)]", lone)
    function = EXTERNS["fma_avx2"]
    with pytest.raises(UsageError, match=r"float32x8 of \(float32x8, float32x8, float32x8\), got"):
        function()
    assert function.result == DType("float", 32, 8)


def test_the_target_decides() -> None:
    names = DOT_INT8["u8s8"]
    assert pick_intrin(names, ("avx2", "avx512_vnni", "avx512f")) == "dot_16x4_u8s8_vnni"
    assert pick_intrin(names, ("avx2", "avx_vnni")) == "dot_8x4_u8s8_avxvnni"
    assert pick_intrin(names, ("avx2",)) == "dot_8x4_u8s8_avx2"
    with pytest.raises(UsageError, match="none of the intrinsics: 'dot_16x4_u8s8_vnni' needs avx"):
        pick_intrin(names, ("sse4_2",))
