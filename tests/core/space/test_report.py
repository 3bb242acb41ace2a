from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from metasched import ops
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs import AbstractPostproc, Rejected
from metasched.space.report import report, sample
from metasched.space.space import CPU_RULES, Space
from metasched.target import Target
from tests.core.space.outline import TARGET

PROGRAM = ops.matmul(m=8, n=8, k=8)


@dataclass(frozen=True, slots=True)
class RejectAll(AbstractPostproc):
    name: ClassVar[str] = "reject_all"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        return Rejected(self.name, "too dull")


def test_sites_and_sizes() -> None:
    found = report(Space.default(), PROGRAM, TARGET, samples=2)
    # 8 = 2 ** 3 splits into four factors in 20 ways and into two in 4; the unroll limit has 4.
    assert [s.size for s in found.sketches[0].sites] == [20, 20, 4, 4]
    assert [s.kind for s in found.sketches[0].sites] == [
        *["sample_perfect_tile"] * 3,
        "sample_categorical",
    ]
    assert found.size == 3 * 20 * 20 * 4 * 4


def test_samples_and_rejections_are_counted() -> None:
    found = report(Space(CPU_RULES, postprocs=(RejectAll(),)), PROGRAM, TARGET, samples=3)
    for sketch in found.sketches:
        assert (sketch.samples, sketch.accepted) == (3, 0)
        assert sketch.rejections == {"reject_all: too dull": 3}


def test_refusals_name_rule_block_and_reason() -> None:
    found = report(Space.default(), PROGRAM, TARGET, samples=0)
    assert found.refusals["multi_level_tiling: 'root' the root block"] >= 1


def test_the_text_has_a_line_for_each_sketch() -> None:
    text = str(report(Space.default(), PROGRAM, TARGET, samples=2))
    assert text.startswith("matmul: 3 sketches, 1.92e+04 candidates\n")
    assert text.count("2 of 2 samples accepted") == 3


def test_the_json_form_holds_everything() -> None:
    found = report(Space.default(), PROGRAM, TARGET, samples=2).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["size"] == sum(sketch["size"] for sketch in found["sketches"])


def test_a_sample_is_a_function_of_its_seed() -> None:
    space = Space.default()
    (sketch, *_) = space.sketches(PROGRAM, TARGET)
    first, again, other = (sample(space, sketch, PROGRAM, TARGET, seed) for seed in (1, 1, 2))
    assert isinstance(first, Schedule)
    assert isinstance(again, Schedule)
    assert isinstance(other, Schedule)
    assert first.trace == again.trace
    assert first.trace != other.trace


def test_a_sketch_of_another_program_is_rejected_with_a_reason() -> None:
    space = Space.default()
    (sketch,) = space.sketches(ops.relu(m=4, n=4), TARGET)[:1]
    (tiled, *_) = space.sketches(PROGRAM, TARGET)
    assert isinstance(sample(space, tiled, ops.relu(m=4, n=4), TARGET, 0), Rejected)
    assert isinstance(sample(space, sketch, ops.relu(m=8, n=8), TARGET, 0), Schedule)
