from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import ClassVar

from metasched import ops
from metasched.schedule.schedule import Schedule
from metasched.space.cpu import CPU_RULES
from metasched.space.postprocs import AbstractPostproc, Rejected
from metasched.space.report import SpaceReport
from metasched.space.space import Space
from metasched.target import Target
from tests.core.space.outline import TARGET

PROGRAM = ops.matmul(m=8, n=8, k=8)


@dataclass(frozen=True, slots=True)
class RejectWide(AbstractPostproc):
    name: ClassVar[str] = "reject_wide"
    most: int = 0

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        widest = max(loop.extent.value for loop in schedule.state.tree.loops.values())  # type: ignore[attr-defined]
        return schedule if widest <= self.most else Rejected(self.name, "too wide")


def found(space: Space | None = None, samples: int = 2) -> SpaceReport:
    return (space or Space.default()).report(PROGRAM, TARGET, samples=samples)


def test_sites_and_sizes() -> None:
    sketch = found().sketches[0]
    # 8 = 2 ** 3 splits into four factors in 20 ways and into two in 4; the unroll limit has 4.
    assert [s.size for s in sketch.sites] == [20, 20, 4, 4]
    assert [str(s) for s in sketch.sites[1:]] == [
        "perfect_tile of 'j': 8 as 4 factors: 20 ways, equally likely (multi_level_tiling)",
        "perfect_tile of 'k': 8 as 2 factors: 4 ways, equally likely (multi_level_tiling)",
        "categorical: 0 (25%), 16 (25%), 64 (25%), 512 (25%) (parallelize_vectorize_unroll)",
    ]
    assert sketch.rules == ("multi_level_tiling", "parallelize_vectorize_unroll")
    assert found().size.value == 3 * 20 * 20 * 4 * 4
    assert found().size.exact


def test_samples_and_rejections_are_counted() -> None:
    report = found(Space(CPU_RULES, postprocs=(RejectWide(8), RejectWide())), samples=3)
    for sketch in report.sketches:
        assert (sketch.samples, sketch.accepted) == (3, 0)
        assert sketch.rejections == {"reject_wide: too wide": 3}
    (stage,) = report.postprocs
    assert stage.acceptance is not None
    assert stage.reasons == {"too wide": 9}


def test_rules_have_the_share_of_blocks_and_samples_that_they_took() -> None:
    stages = {stage.name: stage for stage in found(samples=2).rules}
    tiling = stages["multi_level_tiling"]
    assert (tiling.visits, tiling.applied, tiling.drawn, tiling.replayed) == (4, 1, 6, 6)
    assert tiling.reasons == {"'root' the root block": 3}
    assert stages["auto_inline"].acceptance == 0.0
    assert tiling.acceptance == 1.0


def too_short(schedule: Schedule) -> None:
    i, _ = schedule.get_loops(schedule.get_block("o"))
    schedule.split(i, (schedule.sample_categorical([3, 4], [0.5, 0.5]), 2))


def test_a_step_that_random_decisions_break_is_laid_to_what_took_it() -> None:
    report = Space.from_function(too_short).report(ops.relu(m=8, n=8), TARGET, samples=32)
    (stage,) = report.rules
    assert stage.name == "function"
    assert 0 < stage.replayed < stage.drawn == 32
    assert sum(stage.reasons.values()) == stage.drawn - stage.replayed


def test_the_text_has_a_line_for_each_sketch_and_stage() -> None:
    text = str(found())
    assert text.startswith("matmul: 3 sketches, 19200 candidates\n")
    assert text.count("2 of 2 samples accepted") == 3
    assert "    rewrite_reduction_block: 6 of 6" in text
    assert "    i_0 j_0 i_1 j_1 k_0 i_2 j_2 k_1 i_3 j_3 <c>\n" in text
    assert text.count("choices as in sketch 0") == 2


def test_the_json_form_holds_everything() -> None:
    report = found().to_dict()
    assert json.loads(json.dumps(report)) == report
    total = sum(sketch["size"]["value"] for sketch in report["sketches"])
    assert report["size"] == {"value": total, "error": 0.0, "exact": True}
    assert {"name", "acceptance", "reasons"} <= set(report["postprocs"][0])


def test_the_picture_has_a_bar_for_each_site_and_stage() -> None:
    report = found()
    root = ET.fromstring(report.to_svg())
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    sites = sum(len(sketch.sites) for sketch in report.sketches)
    assert len(titles) == sites + 2 * (len(report.rules) + len(report.postprocs))
    assert str(report.sketches[0].sites[0]) in titles


def test_an_empty_space_has_a_report_and_a_picture() -> None:
    report = found(Space(()))
    assert str(report).startswith("matmul: 0 sketches, 0 candidates")
    assert ET.fromstring(report.to_svg()).tag.endswith("svg")
