from __future__ import annotations

import pytest

from metasched import te
from metasched.errors import VerifyError
from metasched.ir.dtype import FLOAT32
from metasched.ir.expr import Buffer, Const, const
from metasched.ir.parser import parse
from metasched.ir.stmt import Block, Program, Store
from metasched.ir.verify import verify
from metasched.testing.suite import SUITE, program, small

MATMUL = """\
@program
def matmul(a: Buffer((4, 6), "float32"), b: Buffer((6, 5), "float32"), c: Buffer((4, 5), "float32")):
    for i in serial(4):
        for j in serial(5):
            for k in serial(6):
                with block("c"):
                    v_i = spatial(4, i)
                    v_j = spatial(5, j)
                    v_k = reduce(6, k)
                    reads(a[v_i, v_k], b[v_k, v_j])
                    writes(c[v_i, v_j])
                    with init():
                        c[v_i, v_j] = float32(0.0)
                    c[v_i, v_j] = c[v_i, v_j] + a[v_i, v_k] * b[v_k, v_j]"""  # noqa: E501


def changed(*edits: tuple[str, str]) -> Program:
    text = MATMUL
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


@pytest.mark.parametrize("name", SUITE)
def test_operators_hold_the_rules(name: str) -> None:
    verify(program(name))
    verify(small(name))


def test_symbolic_sizes_hold_the_rules() -> None:
    n = te.var("n")
    a = te.placeholder((n, n + 1), name="a")
    verify(te.program([a, te.compute((n, n), lambda i, j: a[i, j + 1], name="b")]))


@pytest.mark.parametrize(
    ("edits", "message", "marked"),
    [
        ([("for j ", "for i ")], "the name 'i' is declared twice", "for i "),
        ([("v_j", "k")], "the name 'k' is declared twice", "for k "),
        ([("serial(5)", "serial(0)")], "loop 'j' has extent 0", "for j "),
        ([("serial(5)", "thread(5)")], "'j' is thread, but its thread axis is None", "for j "),
        (
            [("serial(5)", 'serial(5, axis="threadIdx.x")')],
            "'j' is serial, but its thread axis is threadIdx.x",
            "for j ",
        ),
        ([("serial(5)", 'serial(5, dtype="int32")')], "'j' is int32, but its extent", "for j "),
        ([("spatial(4, i)", "spatial(4, v_k)")], "uses 'v_k', which is not in sight", "v_i = "),
        ([("a[v_i, v_k] *", "a[v_i, k] *")], "uses loop variable 'k' inside block 'c'", "with"),
        ([("spatial(4, i)", "spatial(3, i)")], "bound to i, past its extent 3", "v_i = "),
        ([("spatial(4, i)", "spatial(4, i - 1)")], "bound to i - 1, past its extent 4", "v_i = "),
        ([("spatial(4, i)", "spatial(4, i)\n" + " " * 20 + "where(k)")], "predicate", "with"),
        ([("reads(a[v_i, v_k], ", "reads(")], "has no region of it", "with"),
        ([("reads(a[v_i, v_k]", "reads(a[v_i, 0]")], "outside its regions", "with"),
        ([("reads(a[v_i, v_k]", "reads(a[v_i, 1:6]")], "outside its regions", "with"),
        ([("reads(a[v_i, v_k]", "reads(a[v_i, j]")], "uses loop variable 'j'", "with"),
        ([("a[v_i, v_k]", "a[v_i, v_k + 1]")], r"index v_k \+ 1 of 'a' leaves its size 6", "with"),
        ([("a[v_i, v_k]", "a[v_i, v_k * 2 - 5]")], "of 'a' leaves its size 6", "with"),
        ([("v_k = reduce", "v_k = spatial")], "has an init but reduces over nothing", "with"),
        ([("v_j = spatial", "v_j = reduce")], "writes at reduce variable 'v_j'", "v_j = "),
        ([("(5, j)", "(5, cast(j, 'int32'))")], "'v_j' of block 'c' is int64, bound to", "v_j = "),
    ],
)
def test_broken_rules(edits: list[tuple[str, str]], message: str, marked: str) -> None:
    with pytest.raises(VerifyError, match=message) as caught:
        verify(changed(*edits))
    text = str(caught.value).splitlines()[1:]
    notes = [line.strip() for line in text if line.endswith("# <--")]
    assert any(line.startswith(marked) for line in notes)


def test_two_blocks_of_one_name() -> None:
    nest = MATMUL.split("\n", 2)[2]
    for name in ("i", "j", "k"):
        nest = nest.replace(f"for {name} ", f"for {name}2 ").replace(f", {name})", f", {name}2)")
        nest = nest.replace(f"v_{name}", f"w_{name}")
    with pytest.raises(VerifyError, match="two blocks are named 'c'"):
        verify(parse(f"{MATMUL}\n{nest}"))


def test_a_predicate_excuses_a_binding() -> None:
    verify(changed(("spatial(4, i)", "spatial(3, i)\n" + " " * 20 + "where(i < 3)")))


def test_a_guard_excuses_an_access() -> None:
    guarded = "if_then_else(v_k < 5, a[v_i, v_k + 1], float32(0.0))"
    wide = ("reads(a[v_i, v_k]", "reads(a[v_i, 0:6]")
    verify(changed(("+ a[v_i, v_k]", f"+ {guarded}"), wide))


def test_undeclared_and_mistaken_buffers() -> None:
    a = Buffer("a", (const(4),), FLOAT32)
    other = Buffer("a", (const(5),), FLOAT32)

    def storing(buffer: Buffer, *indices: Const) -> Program:
        store = Store(buffer, indices, Const(0.0, FLOAT32))
        return Program("f", (a,), Block("root", (), (), (), store))

    verify(storing(a, const(3)))
    with pytest.raises(VerifyError, match="index 4 of 'a' leaves its size 4"):
        verify(storing(a, const(4)))
    with pytest.raises(VerifyError, match="another shape"):
        verify(storing(other, const(0)))
    with pytest.raises(VerifyError, match="used with 2 indices"):
        verify(storing(a, const(0), const(0)))
    with pytest.raises(VerifyError, match="'b' is used where it is not declared"):
        verify(storing(Buffer("b", (const(4),), FLOAT32), const(0)))
    keyword = Buffer("for", (const(4),), FLOAT32)
    with pytest.raises(VerifyError, match="'for' is no identifier"):
        verify(Program("f", (keyword,), storing(a, const(0)).root))


def test_nested_blocks_name_what_inner_ones_touch() -> None:
    text = """\
@program
def f(a: Buffer((8,), "float32"), b: Buffer((8,), "float32")):
    for i in serial(2):
        with block("outer"):
            v_i = spatial(2, i)
            reads(a[v_i * 4:v_i * 4 + 4])
            writes(b[v_i * 4:v_i * 4 + 4])
            for j in serial(4):
                with block("inner"):
                    v_j = spatial(4, j)
                    reads(a[v_i * 4 + v_j])
                    writes(b[v_i * 4 + v_j])
                    b[v_i * 4 + v_j] = a[v_i * 4 + v_j]"""
    verify(parse(text))
    missing = text.replace("            reads(a[v_i * 4:v_i * 4 + 4])\n", "", 1)
    with pytest.raises(VerifyError, match="'outer' does not name 'a' in its regions"):
        verify(parse(missing))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([("serial(5)", 'thread(5, axis="warp")')], r"a thread axis \(blockIdx.x, .*got 'warp'"),
        (
            [(f"serial({n})", f'thread({n}, axis="threadIdx.x")') for n in (4, 5)],
            "one extent of all loops on an axis in a kernel, got 5 of 'j' and 4 of 'i'",
        ),
    ],
)
def test_thread_bound_loops_go_together(edits: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(changed(*edits))
