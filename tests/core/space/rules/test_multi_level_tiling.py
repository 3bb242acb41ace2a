from __future__ import annotations

from typing import Any

import pytest

from metasched import ops, te
from metasched.errors import UsageError
from metasched.ir.stmt import Block, Program, annotation
from metasched.schedule.state import State
from metasched.space.generate import drafts
from metasched.space.postprocs import Rejected
from metasched.space.rules import AutoInline, MultiLevelTiling
from metasched.space.rules.multi_level_tiling import TILED, PackReads, WriteReuse
from metasched.space.rules.rule import RULES
from metasched.space.space import Space
from metasched.space.tiling import Tiles
from metasched.target import Target
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline

PLAIN = MultiLevelTiling(reuse_write=WriteReuse("no"), pack_reads=PackReads("no"))


def tiled(program: Program, rule: MultiLevelTiling) -> list[list[str]]:
    found = drafts(program, (rule,), TARGET)
    for draft in found:
        check_equivalent(program, draft.program)
    return [outline(draft.program) for draft in found]


def test_the_structure_orders_the_levels() -> None:
    rule = MultiLevelTiling(
        structure="SRSR", reuse_write=WriteReuse("no"), pack_reads=PackReads("no")
    )
    assert tiled(ops.matmul(m=8, n=8, k=8), rule) == [["i_0 j_0 k_0 i_1 j_1 k_1 <c>"]]


def test_loops_of_one_iteration_are_not_split() -> None:
    assert tiled(ops.batch_matmul(b=1, m=8, n=8, k=8), PLAIN) == [
        ["q i_0 j_0 i_1 j_1 k_0 i_2 j_2 k_1 i_3 j_3 <z>"]
    ]


def test_a_program_of_one_iteration_is_still_legal() -> None:
    assert tiled(ops.matmul(m=1, n=1, k=1), MultiLevelTiling())[0] == ["i j k <c>"]


def test_the_write_back_must_stand_where_it_is_asked_for() -> None:
    rule = MultiLevelTiling(reuse_write=WriteReuse("must", (2,)), pack_reads=PackReads("no"))
    assert tiled(ops.matmul(m=8, n=8, k=8), rule) == [
        ["i_0 j_0 i_1 j_1 [k_0 i_2 j_2 k_1 i_3 j_3 <c>] [ax0_1 ax1_1 <c_global>]"]
    ]


def test_packing_stands_where_it_is_asked_for() -> None:
    rule = MultiLevelTiling(reuse_write=WriteReuse("no"), pack_reads=PackReads("must", level=2))
    assert tiled(ops.attention_scores(h=2, l=32, d=8), rule) == [
        [
            "hh_0 i_0 j_0 hh_1 i_1 j_1 [ax0_1 ax1_1 ax2_1 <k_global>] "
            "[r_0 hh_2 i_2 j_2 r_1 hh_3 i_3 j_3 <o>]"
        ]
    ]


def test_a_stage_with_two_readers_is_written_through_a_cache() -> None:
    a, b = te.placeholder((8, 8), name="a"), te.placeholder((8, 8), name="b")
    k = te.reduce_axis(8, name="k")
    c = te.compute((8, 8), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    more = [te.compute((8, 8), lambda i, j, n=n: c[i, j] + float(n), name=f"o{n}") for n in (1, 2)]
    rule = MultiLevelTiling(reuse_write=WriteReuse("must", (1,)), pack_reads=PackReads("no"))
    (lines,) = tiled(te.program([a, b, *more]), rule)
    assert lines[0].endswith("<c_global>]")


def test_the_longest_innermost_loop_is_limited() -> None:
    rule = MultiLevelTiling(
        max_innermost_factor=4,
        max_innermost_reduce=8,
        reuse_write=WriteReuse("no"),
        pack_reads=PackReads("no"),
    )
    (draft,) = drafts(ops.matmul(m=64, n=64, k=64), (rule,), TARGET)
    assert [site.max_innermost for site in draft.sites.values()] == [4, 4, 8]  # type: ignore[attr-defined]


def test_prime_extents_are_padded_to_have_tiles() -> None:
    program = ops.matmul(m=19, n=23, k=19)
    (draft,) = drafts(program, (PLAIN,), TARGET)
    assert [site.extent for site in draft.sites.values()] == [24, 24, 19]  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(4))
def test_padded_tiles_compute_the_same(seed: int) -> None:
    program = ops.dense(m=19, n=23, k=5, bias=True, activation="relu")
    bound = Space.default().on(program, TARGET)
    for number in range(len(bound.sketches)):
        done = bound.attempt(number, seed)
        assert not isinstance(done, Rejected), done
        check_equivalent(program, done.program)


def test_padding_can_be_turned_off() -> None:
    rule = MultiLevelTiling(
        pad_extents=False, reuse_write=WriteReuse("no"), pack_reads=PackReads("no")
    )
    (draft,) = drafts(ops.matmul(m=19, n=23, k=19), (rule,), TARGET)
    assert [site.extent for site in draft.sites.values()] == [19, 23, 19]  # type: ignore[attr-defined]


def by_hand(state: State, block: Block, target: Target) -> Tiles:
    return {"i": (None, 1, 1, 3), "j": (None, 1, 1, 4), "k": (None, 2)}


def test_fixed_tiles_are_taken_and_need_not_divide() -> None:
    rule = MultiLevelTiling(reuse_write=WriteReuse("no"), pack_reads=PackReads("no"), fixed=by_hand)
    program = ops.matmul(m=8, n=8, k=8)
    (draft,) = drafts(program, (rule,), TARGET)
    check_equivalent(program, draft.program)
    assert not draft.trace.decisions
    assert draft.state.loop("i_3").extent.value == 3  # type: ignore[attr-defined]


def test_the_block_is_marked_and_tiled_once() -> None:
    found = drafts(ops.matmul(m=8, n=8, k=8), (PLAIN, PLAIN), TARGET)
    (draft,) = found
    assert annotation(draft.state.block("c").annotations, TILED) == "SSRSRS"


@pytest.mark.parametrize(
    ("program", "block", "why"),
    [
        (ops.reduce_sum(m=8, n=8), "o", "no reduction with data reuse"),
        (ops.layer_norm(m=8, n=8), "squares", "no reduction with data reuse"),
        (suite.small("C2D"), "pad", "no reduction with data reuse"),
        (suite.small("C2D"), "root", "the root block"),
    ],
)
def test_what_is_left_alone(program: Program, block: str, why: str) -> None:
    (draft,) = drafts(program, (AutoInline(),), TARGET)
    assert MultiLevelTiling().refusal(draft.state, draft.state.block(block), TARGET) == why


def test_a_symbolic_extent_is_left_alone() -> None:
    n = te.var("n")
    a, b = te.placeholder((n, 8), name="a"), te.placeholder((8, 8), name="b")
    k = te.reduce_axis(8, name="k")
    c = te.compute((n, 8), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    (draft,) = drafts(te.program([a, b, c]), (), TARGET)
    why = MultiLevelTiling().refusal(draft.state, draft.state.block("c"), TARGET)
    assert why == "a loop has a symbolic extent"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": ""}, "a text of S and R such as 'SSRSRS', got ''"),
        ({"structure": "SXR"}, "a text of S and R such as 'SSRSRS', got 'SXR'"),
        (
            {"reuse_write": WriteReuse("may", (3,))},
            r"the write-back may stand at levels 1 to 2 of 'SSRSRS', got \(3,\)",
        ),
        (
            {"pack_reads": PackReads("may", level=9)},
            r"packing may stand at levels 1 to 6 of 'SSRSRS', got \(9,\)",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MultiLevelTiling(**options)


def test_registered() -> None:
    assert RULES["multi_level_tiling"] is MultiLevelTiling
