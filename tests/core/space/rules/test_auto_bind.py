from __future__ import annotations

from metasched import ops
from metasched.space.generate import drafts
from metasched.space.rules import AutoBind, MultiLevelTilingGpu
from metasched.space.rules.auto_bind import LENGTH, THREADS
from metasched.target import Target

GPU = Target("cuda:sm_90")


def test_threads_are_noted_once_where_a_nest_is_left() -> None:
    (draft,) = drafts(ops.transpose(m=32, n=64), (AutoBind(), AutoBind()), GPU)
    assert {key for key, _ in draft.program.root.annotations} == {THREADS, LENGTH}
    assert len(draft.sites) == 2


def test_tiled_programs_need_no_note() -> None:
    (draft,) = drafts(ops.matmul(m=32, n=64, k=8), (MultiLevelTilingGpu(), AutoBind()), GPU)
    assert draft.program.root.annotations == ()
