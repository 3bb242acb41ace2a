from __future__ import annotations

from metasched import ops
from metasched.schedule.samplers.site import Categorical
from metasched.space.generate import drafts
from metasched.space.rules import ParallelizeVectorizeUnroll
from metasched.space.rules.rule import RULES
from tests.core.space.outline import TARGET

PROGRAM = ops.gelu(m=4, n=8)


def test_the_root_block_is_annotated_for_the_target() -> None:
    (draft,) = drafts(PROGRAM, (ParallelizeVectorizeUnroll(unroll_max_steps=(16,)),), TARGET)
    assert dict(draft.program.root.annotations) == {
        "meta_schedule.parallel": 16 * TARGET.cores,
        "meta_schedule.unroll_explicit": 16,
        "meta_schedule.vectorize": 64,
    }


def test_the_unroll_limit_is_sampled_evenly() -> None:
    (draft,) = drafts(PROGRAM, (ParallelizeVectorizeUnroll(),), TARGET)
    (site,) = draft.sites.values()
    assert site == Categorical((0, 16, 64, 512), (0.25,) * 4)


def test_what_is_turned_off_is_not_annotated() -> None:
    rule = ParallelizeVectorizeUnroll(max_jobs_per_core=0, unroll_max_steps=())
    (draft,) = drafts(PROGRAM, (rule,), TARGET)
    assert dict(draft.program.root.annotations) == {"meta_schedule.vectorize": 64}


def test_the_root_block_is_annotated_once() -> None:
    rule = ParallelizeVectorizeUnroll()
    (once,), (twice,) = (drafts(PROGRAM, (rule,) * n, TARGET) for n in (1, 2))
    assert once.trace == twice.trace
    reason = rule.refusal(once.state, once.program.root, TARGET)
    assert reason == "annotated already"


def test_registered() -> None:
    assert RULES["parallelize_vectorize_unroll"] is ParallelizeVectorizeUnroll
