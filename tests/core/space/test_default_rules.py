from __future__ import annotations

from metasched import ops
from metasched.ir.stmt import Program
from metasched.space.default_rules import InRegisters, PlaceInReader
from metasched.space.default_tiles import default_tiles
from metasched.space.generate import drafts
from metasched.space.rules import AddRFactor, MultiLevelTiling
from metasched.space.rules.multi_level_tiling import PackReads, WriteReuse
from metasched.testing import suite
from metasched.testing.equivalence import check_equivalent
from tests.core.space.outline import TARGET, outline

TILES = MultiLevelTiling(
    reuse_write=WriteReuse("no"), pack_reads=PackReads("no"), fixed=default_tiles
)


def placed(program: Program) -> list[str]:
    (draft,) = drafts(program, (PlaceInReader(),), TARGET)
    return outline(draft.program)


def test_stages_of_a_row_meet_in_the_loop_over_rows() -> None:
    (line,) = placed(ops.softmax(m=64, n=64))
    assert line.startswith("o_i [")


def test_the_meeting_computes_the_same() -> None:
    program = ops.softmax(m=6, n=16)
    (draft,) = drafts(program, (PlaceInReader(),), TARGET)
    check_equivalent(program, draft.program)


def test_stages_stay_where_nothing_could_run_in_parallel() -> None:
    assert len(placed(ops.softmax(m=1, n=64))) == 4


def test_stages_stay_where_they_would_be_computed_again() -> None:
    (draft,) = drafts(suite.program("C2D"), (TILES, PlaceInReader()), TARGET)
    assert len(outline(draft.program)) == 2, "windows of 7 rows overlap"


def test_stages_stay_out_of_reductions() -> None:
    lanes = AddRFactor(variants=("lanes",), fixed=True)
    (draft,) = drafts(ops.reduce_sum(m=4, n=256), (lanes, PlaceInReader()), TARGET)
    assert outline(draft.program) == ["i_1 [ax0 ax1 ax2 <o_rf>] [k_1_1 <o>]"]


def test_sums_that_fit_the_registers_are_accepted() -> None:
    rules = (TILES, InRegisters())
    assert len(drafts(ops.matmul(m=64, n=64, k=64), rules, TARGET)) == 1


def test_sums_over_split_reductions_are_not() -> None:
    rules = (TILES, InRegisters())
    assert not drafts(ops.matmul(m=512, n=512, k=4096), rules, TARGET)


def test_a_result_that_is_read_again_is_not() -> None:
    program = ops.dense(m=64, n=64, k=64, bias=True, activation="relu")
    assert not drafts(program, (TILES, InRegisters()), TARGET)
