from __future__ import annotations

from dataclasses import replace

from metasched import ops
from metasched.schedule.schedule import Schedule
from metasched.space.compare import compare
from metasched.space.rules import AutoInline, LeaveAlone, MultiLevelTiling
from metasched.space.rules.multi_level_tiling import WriteReuse
from metasched.space.space import Space
from tests.core.space.outline import TARGET

PROGRAM = ops.matmul(m=8, n=8, k=8)
DEFAULT = Space.default()


def rows(schedule: Schedule) -> None:
    del schedule


def test_equal_spaces_do_not_differ() -> None:
    found = compare(DEFAULT.on(PROGRAM, TARGET), DEFAULT.on(PROGRAM, TARGET))
    assert not found
    assert str(found) == "no difference"


def test_rules_options_and_weights() -> None:
    new = replace(
        DEFAULT.without_rule("random_compute_location").with_block_rule("c", LeaveAlone()),
        mutators=(("tile_size", 0.8), ("own", 0.2)),
        postprocs=(DEFAULT.postprocs or ())[1:],
    )
    new = replace(
        new,
        rules=tuple(
            AutoInline(require_ordered=True) if r.name == "auto_inline" else r for r in new.rules
        ),
    )
    found = compare(DEFAULT, new | Space.from_function(rows))
    assert found.rules.removed == ("random_compute_location",)
    assert "auto_inline.require_ordered: False -> True" in found.rules.changed
    assert any(line.startswith("apply_custom_rule.rules: []") for line in found.rules.changed)
    assert found.postprocs.removed == ("disallow_dynamic_loop",)
    assert found.mutators.added == ("own 0.2",)
    assert found.mutators.changed == ("tile_size: 0.9 -> 0.8",)
    assert found.functions.added == ("tests.core.space.test_compare:rows",)
    assert not found.sketches


def test_sketches_and_sites_of_a_program() -> None:
    coarse = MultiLevelTiling(structure="SRS", reuse_write=WriteReuse("no"))
    old = Space((coarse,)).on(PROGRAM, TARGET)
    new = Space((coarse, *DEFAULT.rules[-2:])).on(PROGRAM, TARGET)
    found = compare(old, new)
    assert found.rules.added == ("parallelize_vectorize_unroll", "random_compute_location")
    assert found.sketches.removed == ("sketch 0: 10 steps of multi_level_tiling",)
    assert len(found.sketches.added) == 1
    assert len(found.sites.added) == 1
    assert found.sites.added[0].startswith("categorical: 0 (25%)")
    assert not found.sites.removed
    assert "  + categorical: 0" in str(found)
    assert found.to_dict()["sites"]["removed"] == ()
