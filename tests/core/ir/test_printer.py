from __future__ import annotations

from metasched import ops
from metasched.ir.dtype import BOOL, FLOAT32
from metasched.ir.expr import Binary, Call, Const, Var, const
from metasched.ir.printer import print_expr, print_program

HEADER = (
    'def matmul(a: Buffer((4, 6), "float32"), b: Buffer((6, 5), "float32"), '
    'c: Buffer((4, 5), "float32")):'
)
MATMUL = f"""\
@program
{HEADER}
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
                    c[v_i, v_j] = c[v_i, v_j] + a[v_i, v_k] * b[v_k, v_j]"""


def test_matmul() -> None:
    assert str(ops.matmul(m=4, n=5, k=6)) == MATMUL


def marked(name: str) -> list[str]:
    text = print_program(ops.matmul(m=4, n=5, k=6), mark=name)
    assert text.replace("  # <--", "") == MATMUL
    return [line.strip() for line in text.splitlines() if line.endswith("  # <--")]


def test_marks_loops_blocks_buffers_and_iteration_variables() -> None:
    assert marked("j") == ["for j in serial(5):  # <--"]
    assert marked("v_k") == ["v_k = reduce(6, k)  # <--"]
    assert marked("nothing") == []
    header, block = marked("c")
    assert header.startswith("def matmul(")
    assert block == 'with block("c"):  # <--'


def test_grouping_is_kept() -> None:
    i, j, k = Var("i"), Var("j"), Var("k")
    assert print_expr(Binary("sub", i, Binary("sub", j, k))) == "i - (j - k)"
    assert print_expr(Binary("sub", Binary("sub", i, j), k)) == "i - j - k"
    assert print_expr(Binary("mul", Binary("add", i, j), const(-2))) == "(i + j) * -2"
    less = Binary("lt", i, j)
    assert print_expr(Binary("eq", less, less)) == "(i < j) == (i < j)"
    assert print_expr(Binary("and", less, Binary("or", less, less))) == "i < j and (i < j or i < j)"
    assert print_expr(Call("not", (Binary("and", less, less),))) == "not (i < j and i < j)"
    assert print_expr(Binary("and", Call("not", (less,)), less)) == "not i < j and i < j"


def test_constants_keep_value_and_dtype() -> None:
    assert print_expr(const(-3)) == "-3"
    assert print_expr(const(3, "int8")) == "int8(3)"
    assert print_expr(Const(0.1, FLOAT32)) == "float32(0.1)"
    assert print_expr(Const(-0.0, FLOAT32)) == "float32(-0.0)"
    assert print_expr(Const(float("-inf"), FLOAT32)) == "float32(-inf)"
    assert print_expr(Const(True, BOOL)) == "True"
