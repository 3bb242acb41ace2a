from __future__ import annotations

from metasched import ops
from metasched.space.generate import drafts
from metasched.space.rules import AutoInline, CrossThreadReduction
from metasched.target import Target
from tests.core.space.outline import outline

GPU = Target("cuda:sm_90")
INLINE = AutoInline(disallow_if_then_else=False, require_injective=False, disallow_op=())


def test_long_sums_are_offered_plain_across_and_in_the_nest_of_their_readers() -> None:
    program = ops.softmax(m=8, n=64)
    found = [
        (len(outline(d.program)), [b.scope for b in d.program.root.allocs])
        for d in drafts(program, (INLINE, CrossThreadReduction()), GPU)
    ]
    assert (3, ["global", "global"]) in found
    assert (1, ["shared", "shared"]) in found
    assert len(found) == 7, "of the inner sum, whose reader may be fused, two more"


def test_short_sums_stay() -> None:
    assert len(drafts(ops.softmax(m=8, n=31), (INLINE, CrossThreadReduction()), GPU)) == 1
