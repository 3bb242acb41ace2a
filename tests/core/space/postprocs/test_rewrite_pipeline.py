from __future__ import annotations

import pytest

from metasched import ops
from metasched.analysis.kernels import STAGES
from metasched.ir.stmt import For, annotation
from metasched.ir.walk import walk
from metasched.schedule.schedule import Schedule
from metasched.space.generate import drafts
from metasched.space.gpu_schedule import GPU_FINISH
from metasched.space.gpu_tiles import gpu_tiles
from metasched.space.postprocs import postprocess
from metasched.space.rules import MultiLevelTilingGpu
from metasched.target import Target
from metasched.testing.equivalence import check_equivalent
from tests.core.codegen.gpu_running import check_opencl, source

GPU = Target("cuda:sm_90")
PROGRAM = ops.matmul(m=64, n=64, k=64)


def staged(stages: int) -> Schedule:
    (draft,) = drafts(PROGRAM, (MultiLevelTilingGpu(fixed=gpu_tiles),), GPU)
    block = draft.get_block("c")
    draft.unannotate(block, STAGES)
    draft.annotate(block, STAGES, stages)
    result = postprocess(draft, GPU_FINISH, GPU)
    assert isinstance(result, Schedule), result
    return result


@pytest.mark.parametrize("stages", [2, 3])
def test_copies_run_ahead(stages: int) -> None:
    schedule = staged(stages)
    loops = [node for node in walk(schedule.program.root) if isinstance(node, For)]
    noted = [annotation(x.annotations, "software_pipeline_stage") for x in loops]
    assert [n for n in noted if n is not None] == [(0, 0, stages - 1)]
    check_equivalent(PROGRAM, schedule.program)
    check_opencl(schedule.program)
    assert "cp.async.wait_group" in source(schedule.program, "cuda:sm_90").text


def test_one_stage_is_no_pipeline() -> None:
    assert "cp.async" not in source(staged(1).program, "cuda:sm_90").text
