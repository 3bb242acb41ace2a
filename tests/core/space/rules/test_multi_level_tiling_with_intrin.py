from __future__ import annotations

from dataclasses import replace

import pytest

from metasched import ops, te
from metasched.analysis.nest import summarise
from metasched.ir.stmt import Program
from metasched.schedule.replay import replay
from metasched.schedule.schedule import Schedule
from metasched.space.cpu import CPU_INTRINS
from metasched.space.default_schedule import default_schedule
from metasched.space.outline import outline
from metasched.space.postprocs import Rejected
from metasched.space.rules import MultiLevelTilingWithIntrin
from metasched.space.space import Space
from metasched.space.tensor_tiles import find_tile
from metasched.target import Target
from metasched.target.intrinsics import FMA_FLOAT32
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET

VNNI = replace(TARGET, features=("avx2", "avx512_vnni", "avx512f"))
BF16 = replace(TARGET, features=("avx512_bf16", "avx512f"))
PLAIN = replace(TARGET, features=("avx2",))
INT8 = ops.matmul(m=8, n=32, k=16, dtype="int8", acc_dtype="int32")


def conv_u8s8() -> Program:
    """A convolution of unsigned by signed bytes, channels last."""
    x = te.placeholder((1, 6, 6, 8), "uint8", name="x")
    w = te.placeholder((3, 3, 8, 16), "int8", name="w")
    p, q, c = (te.reduce_axis(n, name=name) for n, name in ((3, "p"), (3, "q"), (8, "c")))

    def value(b: te.Expr, i: te.Expr, j: te.Expr, o: te.Expr) -> te.Expr:
        product = te.cast(x[b, i + p, j + q, c], "int32") * te.cast(w[p, q, c, o], "int32")
        return te.sum(product, axis=(p, q, c))

    return te.program([x, w, te.compute((1, 4, 4, 16), value, name="y")], name="conv")


CASES = {
    "int8": (INT8, VNNI, "dot_16x4_s8s8_vnni"),
    "int8 on AVX2": (INT8, PLAIN, "dot_8x4_s8s8_avx2"),
    "batched": (
        ops.batch_matmul(b=2, m=4, n=16, k=8, dtype="int8", acc_dtype="int32"),
        VNNI,
        "dot_16x4_s8s8_vnni",
    ),
    "convolution": (conv_u8s8(), VNNI, "dot_16x4_u8s8_vnni"),
    "bfloat16": (
        ops.matmul(m=8, n=32, k=4, dtype="bfloat16", acc_dtype="float32"),
        BF16,
        "dot_8x32x2_bf16",
    ),
}


def intrins(schedule: Schedule) -> list[object]:
    return [s.inputs[1] for s in schedule.trace.instructions if s.kind == "tensorize"]


@pytest.mark.parametrize("name", CASES)
def test_default_space_and_schedule_use_the_intrinsic(name: str) -> None:
    program, target, intrin = CASES[name]
    bound = Space.default().on(program, target)
    kinds = {"multi_level_tiling_with_intrin" in s.origins for s in bound.sketches}
    assert kinds == {True, False}, "plain tiles are offered, too"
    for number, sketch in enumerate(bound.sketches):
        done = bound.attempt(number, seed=number)
        assert isinstance(done, Schedule), done
        used = "multi_level_tiling_with_intrin" in sketch.origins
        assert intrins(done) == ([intrin] if used else [])
        if name != "bfloat16":
            check_equivalent(program, done.program)
        assert replay(done.trace, program).program == done.program
    assert intrins(default_schedule(program, target)) == [intrin]


def test_packed_operands_stand_before_the_nest_or_in_the_tiles() -> None:
    rule = MultiLevelTilingWithIntrin(CPU_INTRINS, keep_plain=False)
    bound = Space((rule,)).on(INT8, VNNI)
    found = [outline(replay(s.trace, INT8).program) for s in bound.sketches]
    tile = "i_2 j_0_2 k_0_1 i_3 j_0_3 k_1 j_1 <c>"
    assert found == [
        ["ax0 ax1 <b_global>", f"i_0 j_0_0 i_1 j_0_1 k_0_0 {tile}"],
        [f"i_0 j_0_0 i_1 j_0_1 k_0_0 [ax0_1 ax1_1 <b_global>] [{tile}]"],
    ]


def test_only_what_does_not_fit_is_packed() -> None:
    sch = Schedule(INT8)
    tile = find_tile(sch, sch.get_block("c"), CPU_INTRINS, VNNI)
    assert tile is not None
    assert tile.packed == {1: "v0, v1, v2 -> [v1 // 16, v2 // 4, v1 % 16, v2 % 4]"}
    assert list(tile.sizes.items()) == [("k", 4), ("j", 16)]
    sch = Schedule(ops.matmul(m=8, n=48, k=4))
    fma = find_tile(sch, sch.get_block("c"), FMA_FLOAT32, replace(TARGET, features=("avx512f",)))
    assert fma is not None
    assert (fma.intrin, dict(fma.packed)) == ("fma_8x48_f32_avx512", {})


def test_float32_tiles_are_an_option() -> None:
    program = ops.matmul(m=16, n=48, k=8)
    target = replace(TARGET, features=("avx512f",))
    assert intrins(default_schedule(program, target)) == []
    rule = MultiLevelTilingWithIntrin(FMA_FLOAT32, keep_plain=False)
    bound = Space.default().with_rule(rule, before="multi_level_tiling").on(program, target)
    assert len(bound.sketches) == 1
    done = bound.attempt(0, seed=0)
    assert not isinstance(done, Rejected)
    assert intrins(done) == ["fma_8x48_f32_avx512"]
    check_equivalent(program, done.program)


@pytest.mark.parametrize(
    ("program", "target", "reason"),
    [
        (INT8, replace(TARGET, features=()), "the target has none of the intrinsics"),
        (ops.matmul(m=8, n=32, k=16), VNNI, "no intrinsic of the target computes what it does"),
        (
            ops.matmul(m=8, n=30, k=16, dtype="int8", acc_dtype="int32"),
            VNNI,
            "no intrinsic of the target computes what it does",
        ),
        (
            ops.matmul(m=8, n=32, k=16, dtype="uint8", acc_dtype="int32"),
            VNNI,
            "no intrinsic of the target computes what it does",
        ),
        (ops.relu(m=8, n=32), VNNI, "no reduction with data reuse"),
    ],
)
def test_other_blocks_stay_for_the_reason_given(
    program: Program, target: Target, reason: str
) -> None:
    tally = Space((MultiLevelTilingWithIntrin(CPU_INTRINS),)).on(program, target).tally
    assert reason in {why for _, block, why in tally.refused if block != "root"}


def quantised() -> Program:
    """An int8 product with its sums scaled to float32."""
    x = te.placeholder((8, 16), "int8", name="x")
    w = te.placeholder((16, 32), "int8", name="w")
    k = te.reduce_axis(16, name="k")
    c = te.compute(
        (8, 32),
        lambda i, j: te.sum(te.cast(x[i, k], "int32") * te.cast(w[k, j], "int32"), axis=k),
        name="c",
    )
    scaled = te.compute((8, 32), lambda i, j: te.cast(c[i, j], "float32") * 0.5, name="scaled")
    return te.program([x, w, scaled], name="quantised")


def test_a_stage_that_reads_the_result_moves_into_the_tiles() -> None:
    program = quantised()
    rule = MultiLevelTilingWithIntrin(CPU_INTRINS, keep_plain=False, pack_levels=(0,))
    bound = replace(Space.default(), rules=(rule,)).on(program, VNNI)
    found = [outline(replay(s.trace, program).program) for s in bound.sketches]
    assert found[0][-1] == "scaled_i scaled_j <scaled>"
    assert found[1][-1].endswith("<c>] [ax0_1 ax1_1 <scaled>]")
    for number in range(2):
        done = bound.attempt(number, seed=1)
        assert isinstance(done, Schedule), done
        assert intrins(done) == ["dot_16x4_s8s8_vnni"]
        check_equivalent(program, done.program)


def test_the_default_schedule_fills_the_registers() -> None:
    program = ops.matmul(m=64, n=96, k=64, dtype="int8", acc_dtype="int32")
    steps = default_schedule(program, VNNI).trace.instructions
    factors = [step.inputs[1] for step in steps if step.kind == "split"]
    # Eight rows by three vectors of sums leave registers for the operands.
    assert (None, 1, 1, 8) in factors
    assert (None, 1, 1, 3) in factors


def test_the_prior_counts_instructions_of_the_tile() -> None:
    bound = Space((MultiLevelTilingWithIntrin(CPU_INTRINS, keep_plain=False),)).on(INT8, VNNI)
    summary = summarise(replay(bound.sketches[0].trace, INT8).program)
    (init_and_update,) = [s for s in summary.stores if s.block == "c" and s.reduction]
    names = [loop.var.name for loop in init_and_update.loops]
    assert init_and_update.tensorized
    assert names[-1] == "j_1"
    assert "k_1" not in names
    assert not any(s.tensorized for s in summary.stores if s.block == "b_global")
