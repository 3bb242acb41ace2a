from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metasched import ops, te
from metasched.ir.expr import Expr
from metasched.ir.parser import parse
from metasched.ir.stmt import Program
from metasched.schedule.schedule import Schedule
from tests.core.schedule.primitives.compiled import check_compiled
from tests.core.schedule.primitives.stages import check_valid, refuses
from tests.core.schedule.programs import body

Epilogue = Callable[[Expr, Expr], Expr]

ZERO, LOW, HIGH = te.const(0.0), te.const(-5.0), te.const(6.0)
EPILOGUES: dict[str, Epilogue] = {
    "bias": lambda c, z: c + z,
    "bias in front": lambda c, z: z + c,
    "relu": lambda c, z: te.max(c, ZERO),
    "bias and relu": lambda c, z: te.max(c + z, ZERO),
    "clipping": lambda c, z: te.min(te.max(c, LOW), HIGH),
    "clipping the other way": lambda c, z: te.max(te.min(HIGH, c), LOW),
    "bias and clipping": lambda c, z: te.min(te.max(z + c, LOW), HIGH),
    "leaky": lambda c, z: te.if_then_else(c + z > 0.0, c + z, (c + z) * 0.125),
    "scaled": lambda c, z: c * z - c,
    "constant": lambda c, z: c + 3.0,
}


def dense(epilogue: str, m: int = 3, n: int = 5, k: int = 4, dtype: str = "float32") -> Program:
    """``d = epilogue(a @ b, bias)``."""
    a = te.placeholder((m, k), dtype, name="a")
    b = te.placeholder((k, n), dtype, name="b")
    z = te.placeholder((n,), dtype, name="bias")
    r = te.reduce_axis(k, name="r")
    c = te.compute((m, n), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="c")
    d = te.compute((m, n), lambda i, j: EPILOGUES[epilogue](c[i, j], z[j]), name="d")
    return te.program([a, b, z, d], name="dense")


def fused(program: Program) -> Schedule:
    sch = Schedule(program)
    sch.fuse_reduction_epilogue(sch.get_block("c"), sch.get_block("d"))
    return sch


def test_a_bias_is_where_the_sum_starts() -> None:
    assert body(fused(dense("bias"))) == (
        "for i in serial(3):\n"
        "    for j in serial(5):\n"
        "        for r in serial(4):\n"
        '            with block("c"):\n'
        "                v_i = spatial(3, i)\n"
        "                v_j = spatial(5, j)\n"
        "                v_r = reduce(4, r)\n"
        "                reads(a[v_i, v_r], b[v_r, v_j], bias[v_j])\n"
        "                writes(d[v_i, v_j])\n"
        "                with init():\n"
        "                    d[v_i, v_j] = bias[v_j]\n"
        "                d[v_i, v_j] = d[v_i, v_j] + a[v_i, v_r] * b[v_r, v_j]\n"
    )


def test_a_formula_is_applied_at_the_last_step() -> None:
    assert body(fused(dense("bias and relu"))).endswith(
        "                with init():\n"
        "                    d[v_i, v_j] = bias[v_j]\n"
        "                d[v_i, v_j] = if_then_else(v_r == 3, max(d[v_i, v_j] + "
        "a[v_i, v_r] * b[v_r, v_j], float32(0.0)), d[v_i, v_j] + a[v_i, v_r] * b[v_r, v_j])\n"
    )


@pytest.mark.cc
@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize(("m", "n", "k"), [(3, 5, 4), (1, 1, 1), (2, 17, 7), (5, 1, 13)])
def test_epilogues(epilogue: str, m: int, n: int, k: int, tmp_path: Path) -> None:
    sch = fused(dense(epilogue, m, n, k))
    assert "alloc" not in body(sch)
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_integers_are_exact() -> None:
    check_valid(fused(dense_int()))


def dense_int() -> Program:
    a = te.placeholder((3, 5), "int32", name="a")
    z = te.placeholder((3,), "int32", name="bias")
    r = te.reduce_axis(5, name="r")
    c = te.compute((3,), lambda i: te.sum(a[i, r], axis=r), name="c")
    d = te.compute((3,), lambda i: te.max(c[i] + z[i], te.const(0, "int32")), name="d")
    return te.program([a, z, d], name="dense_int")


@pytest.mark.parametrize("kind", ["max", "min", "prod"])
def test_other_reductions(kind: str) -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    reduce = {"max": te.max, "min": te.min, "prod": te.prod}[kind]
    c = te.compute((3,), lambda i: reduce(a[i, r], axis=r), name="c")
    d = te.compute((3,), lambda i: te.max(c[i] + 1.0, ZERO), name="d")
    sch = fused(te.program([a, d], name="other"))
    assert "v_r == 3" in body(sch)
    check_valid(sch)


@pytest.mark.cc
@pytest.mark.parametrize("epilogue", ["bias", "bias and relu"])
def test_tiles_vectors_and_threads_afterwards(epilogue: str, tmp_path: Path) -> None:
    sch = fused(dense(epilogue, 6, 35, 10))
    block = sch.get_block("c")
    i, j, r = sch.get_loops(block)
    j_0, j_1 = sch.split(j, [None, 16])
    r_0, r_1 = sch.split(r, [None, 4])
    sch.reorder(i, j_0, r_0, r_1, j_1)
    sch.parallel(i)
    sch.vectorize(j_1)
    check_valid(sch)
    check_compiled(sch, tmp_path)


@pytest.mark.cc
@pytest.mark.parametrize("epilogue", ["bias", "clipping"])
def test_the_start_of_its_own_afterwards(epilogue: str, tmp_path: Path) -> None:
    sch = fused(dense(epilogue, 4, 7, 6))
    block = sch.get_block("c")
    i, j, r = sch.get_loops(block)
    sch.reorder(i, r, j)
    sch.decompose_reduction(block, r)
    check_valid(sch)
    check_compiled(sch, tmp_path)


@pytest.mark.cc
def test_where_the_tile_of_the_epilogue_is(tmp_path: Path) -> None:
    sch = Schedule(dense("bias and relu", 7, 5, 3))
    block, epilogue = sch.get_block("c"), sch.get_block("d")
    tile, _ = sch.split(sch.get_loops(epilogue)[0], [None, 2])
    sch.compute_at(block, tile)
    sch.fuse_reduction_epilogue(block, epilogue)
    check_valid(sch)
    check_compiled(sch, tmp_path)


@pytest.mark.cc
def test_a_bias_that_is_made_in_the_reducing_loop(tmp_path: Path) -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    z = te.placeholder((3,), "float32", name="z")
    bias = te.compute((3,), lambda i: z[i] * 2.0, name="bias")
    r = te.reduce_axis(4, name="r")
    c = te.compute((3,), lambda i: te.sum(a[i, r], axis=r), name="c")
    d = te.compute((3,), lambda i: bias[i] + c[i], name="d")
    sch = fused(te.program([a, z, d], name="early"))
    sch.compute_at(sch.get_block("bias"), sch.get_loops(sch.get_block("c"))[1])
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_an_inlined_bias() -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    z = te.placeholder((3,), "float32", name="z")
    bias = te.compute((3,), lambda i: z[i] * 2.0, name="bias")
    r = te.reduce_axis(4, name="r")
    c = te.compute((3,), lambda i: te.sum(a[i, r], axis=r), name="c")
    d = te.compute((3,), lambda i: bias[i] + c[i], name="d")
    sch = fused(te.program([a, z, d], name="early"))
    sch.compute_inline(sch.get_block("bias"))
    assert "d[v_c_i] = z[v_c_i] * float32(2.0)" in body(sch)
    check_valid(sch)


@pytest.mark.cc
def test_one_epilogue_after_the_other(tmp_path: Path) -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    c = te.compute((3,), lambda i: te.sum(a[i, r], axis=r), name="c")
    d = te.compute((3,), lambda i: te.max(c[i] + 1.0, ZERO), name="d")
    e = te.compute((3,), lambda i: te.min(d[i] * 2.0, HIGH), name="e")
    sch = fused(te.program([a, e], name="chain"))
    sch.fuse_reduction_epilogue(sch.get_block("c"), sch.get_block("e"))
    check_valid(sch)
    check_compiled(sch, tmp_path)


def test_a_transposed_result() -> None:
    a = te.placeholder((3, 5, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    c = te.compute((3, 5), lambda i, j: te.sum(a[i, j, r], axis=r), name="c")
    d = te.compute((5, 3), lambda i, j: c[j, i] + 1.0, name="d")
    sch = fused(te.program([a, d], name="transposed"))
    assert "writes(d[v_j, v_i])" in body(sch)
    check_valid(sch)


def test_the_order_of_the_reduce_loops_is_kept() -> None:
    sch = fused(dense("relu", 3, 5, 13))
    i, j, r = sch.get_loops(sch.get_block("c"))
    r_0, r_1 = sch.split(r, [None, 4])
    rule = "expected reduce loops in their order where a reduction depends on it, got 'c', which"
    with refuses(sch, rule):
        sch.reorder(r_1, r_0)
    with refuses(sch, "single sum"):
        sch.rfactor(r_0, 0)
    sch.reorder(r_0, j, r_1, i)
    check_valid(sch)
    plain = fused(dense("bias", 3, 5, 13))
    r_0, r_1 = plain.split(plain.get_loops(plain.get_block("c"))[2], [None, 4])
    plain.reorder(r_1, r_0)
    check_valid(plain)


# -- requirements ------------------------------------------------------------------------------


def fusible(*statements: str) -> Program:
    """A reduction under a loop of no use, and its epilogue of the given statements over ``v_x``."""
    lines = "\n            ".join(statements or ["d[v_x] = c[v_x] + a[v_x, 0]"])
    return parse(
        f"""@program
def fusible(a: Buffer((3, 4), "float32"), d: Buffer((3,), "float32")):
    c = alloc((3,), "float32")
    for q in serial(1):
        for i in serial(3):
            for r in serial(4):
                with block("c"):
                    v_i = spatial(3, i)
                    v_r = reduce(4, r)
                    reads(a[v_i, v_r])
                    writes(c[v_i])
                    with init():
                        c[v_i] = float32(0.0)
                    c[v_i] = c[v_i] + a[v_i, v_r]
    for x in serial(3):
        with block("d"):
            v_x = spatial(3, x)
            reads(c[v_x], a[v_x, 0])
            writes(d[v_x])
            {lines}
"""
    )


def test_the_program_of_the_requirements_is_fused_otherwise() -> None:
    check_valid(fused(fusible()))


def both(sch: Schedule, reduction: str = "c", epilogue: str = "d") -> None:
    sch.fuse_reduction_epilogue(sch.get_block(reduction), sch.get_block(epilogue))


def test_requires_a_reduction_block() -> None:
    sch = Schedule(dense("bias"))
    with refuses(sch, "expected a reduction block, got 'd', which has no init"):
        both(sch, "d", "d")


def test_requires_a_complete_block_as_epilogue() -> None:
    sch = Schedule(ops.softmax(m=2, n=4))
    names = [str(sch.value(b)) for b in sch.get_child_blocks(sch.get_block("root"))]
    reductions = [n for n in names if sch.state.block(n).init is not None]
    with refuses(sch, f"expected a complete block as epilogue, got '{reductions[1]}', whose iter"):
        both(sch, reductions[0], reductions[1])


def test_requires_a_single_store_in_both_blocks() -> None:
    sch = Schedule(fusible("if v_x < 2:", "    d[v_x] = c[v_x] + a[v_x, 0]"))
    with refuses(sch, "expected a single store in both blocks, got several statements"):
        both(sch)


def test_requires_blocks_without_conditions() -> None:
    sch = Schedule(parse(str(fusible()).replace("reads(c", "where(x < 2)\n            reads(c")))
    with refuses(sch, "expected blocks without conditions, got x < 2"):
        both(sch)


def test_requires_an_epilogue_that_reads_the_result_of_the_reduction() -> None:
    sch = Schedule(ops.softmax(m=2, n=4))
    names = [str(sch.value(b)) for b in sch.get_child_blocks(sch.get_block("root"))]
    reductions = [n for n in names if sch.state.block(n).init is not None]
    rule = f"expected an epilogue that reads the result of the reduction, got '{names[-1]}', which"
    with refuses(sch, rule):
        both(sch, reductions[0], names[-1])


def test_requires_a_result_that_only_the_epilogue_reads() -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    c = te.compute((3,), lambda i: te.sum(a[i, r], axis=r), name="c")
    d = te.compute((3,), lambda i: c[i] + 1.0, name="d")
    e = te.compute((3,), lambda i: c[i] * 2.0, name="e")
    rule = "expected a result that only the epilogue reads, got "
    sch = Schedule(te.program([a, d, e], name="two"))
    with refuses(sch, rule + "'e', which reads it too"):
        both(sch)
    sch = Schedule(te.program([a, c, d], name="out"))
    with refuses(sch, rule + "the output 'c'"):
        both(sch)


@pytest.mark.parametrize("case", ["broadcast", "part", "twice", "shifted"])
def test_requires_an_epilogue_that_takes_the_elements_of_the_result_one_by_one(case: str) -> None:
    a = te.placeholder((4, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    c = te.compute((4,), lambda i: te.sum(a[i, r], axis=r), name="c")
    shapes: dict[str, tuple[int, ...]] = {"broadcast": (2, 4), "part": (3,)}
    formulas: dict[str, Callable[..., Expr]] = {
        "broadcast": lambda i, j: c[j] + 1.0,
        "part": lambda i: c[i] + 1.0,
        "twice": lambda i: c[i] + c[3 - i],
        "shifted": lambda i: c[3 - i] + 1.0,
    }
    d = te.compute(shapes.get(case, (4,)), formulas[case], name="d")
    sch = Schedule(te.program([a, d], name=case))
    with refuses(sch, "an epilogue that takes the elements of the result one by one, got c["):
        both(sch)


def test_requires_results_of_one_dtype() -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    c = te.compute((3,), lambda i: te.sum(a[i, r], axis=r), name="c")
    d = te.compute((3,), lambda i: te.cast(c[i], "int32"), name="d")
    sch = Schedule(te.program([a, d], name="cast"))
    with refuses(sch, "expected results of one dtype, got float32 and int32"):
        both(sch)


def test_requires_a_reduction_that_runs_each_iteration_once_and_has_finished() -> None:
    rule = "a reduction that runs each iteration once and has finished what the epilogue reads, got"
    sch = Schedule(parse(str(fusible()).replace("for q in serial(1)", "for q in serial(2)")))
    with refuses(sch, rule + " 'c', which is computed again and again"):
        both(sch)
    lines = str(fusible()).splitlines()
    nest = next(k for k, line in enumerate(lines) if "for x in" in line)
    inside = [f"            {line}" for line in lines[nest:]]
    sch = Schedule(parse("\n".join([*lines[:nest], *inside])))
    with refuses(sch, rule + " 'c', which is still reducing over 'v_r' there"):
        both(sch)


def test_requires_other_operands_of_the_epilogue_that_are_finished() -> None:
    a = te.placeholder((3, 4), "float32", name="a")
    r = te.reduce_axis(4, name="r")
    c = te.compute((3,), lambda i: te.sum(a[i, r], axis=r), name="c")
    z = te.compute((3,), lambda i: a[i, 0] * 2.0, name="z")
    d = te.compute((3,), lambda i: c[i] + z[i], name="d")
    sch = Schedule(te.program([a, d], name="late"))
    rule = "other operands of the epilogue that are finished before the reduction, got "
    with refuses(sch, rule + "'z' behind it"):
        both(sch)
