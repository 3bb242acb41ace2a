from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from metasched import ops
from metasched.codegen import emit
from metasched.ir.stmt import Invoke, Program
from metasched.ir.walk import walk
from metasched.lower import lower
from metasched.schedule.replay import replay
from metasched.schedule.samplers.site import Draw
from metasched.schedule.schedule import Schedule
from metasched.space.default_schedule import default_schedule
from metasched.space.generate import drafts
from metasched.space.gpu_schedule import GPU_FINISH
from metasched.space.postprocs import postprocess
from metasched.space.rules import MultiLevelTilingTensorCore
from metasched.target import Target
from metasched.target.intrinsics import GROUPS
from metasched.testing.equivalence import check_equivalent
from metasched.testing.round_trip import check_symbolic_replay
from tests.core.codegen.gpu_running import check_cuda, needs_nvcc

HOPPER, AMPERE, TURING = (Target(f"cuda:{arch}") for arch in ("sm_90a", "sm_80", "sm_75"))


def half(m: int, n: int, k: int, **options: int) -> Program:
    op = ops.batch_matmul if options else ops.matmul
    return op(m=m, n=n, k=k, dtype="float16", acc_dtype="float32", **options)


def offered(program: Program, target: Target, **options: tuple[str, ...]) -> list[str]:
    """The groups that the rule offers."""
    rule = MultiLevelTilingTensorCore(**options)  # pyright: ignore[reportArgumentType]
    found = [dict(d.state.block("c").annotations) for d in drafts(program, (rule,), target)]
    return [str(notes.get("meta_schedule.tensor_core")) for notes in found]


def test_the_fastest_groups_of_the_target_come_first() -> None:
    assert offered(half(512, 512, 128), HOPPER) == [
        "wgmma_f16_f32_kn_256", "wgmma_f16_f32_kn_128", "wgmma_f16_f32_kn_64", "mma_f16_f32_kn",
    ]  # fmt: skip
    assert offered(half(512, 512, 128), AMPERE) == ["mma_f16_f32_kn"]


@pytest.mark.parametrize(
    ("program", "target"),
    [
        (half(512, 512, 128), TURING),
        (half(500, 512, 128), HOPPER),
        (ops.matmul(m=512, n=512, k=512), HOPPER),
    ],
)
def test_other_types_sizes_and_targets_stay_plain(program: Program, target: Target) -> None:
    assert offered(program, target) == ["None"]


def test_float32_is_rounded_only_when_asked_for() -> None:
    program = ops.matmul(m=64, n=64, k=64)
    assert offered(program, AMPERE, groups=("mma_tf32_f32_kn",)) == ["mma_tf32_f32_kn"]


@pytest.mark.parametrize("seed", range(3))
def test_drawn_tiles_compute_the_same(seed: int) -> None:
    program = half(64, 32, 32, b=2)
    (draft,) = drafts(program, (MultiLevelTilingTensorCore(),), AMPERE)
    schedule = replay(draft.trace, program, choices=Draw(np.random.default_rng(seed)))
    check_symbolic_replay(schedule)
    done = postprocess(schedule, GPU_FINISH, AMPERE)
    assert isinstance(done, Schedule), done
    called = {node.fn for node in walk(done.program.root) if isinstance(node, Invoke)}
    group = GROUPS["mma_f16_f32_kn"]
    assert called == {group.zero, group.product, group.store, group.a.load, group.b.load}
    check_equivalent(program, done.program)


@needs_nvcc
@pytest.mark.parametrize(
    ("program", "target", "arch", "instruction"),
    [
        (half(1024, 1024, 256), HOPPER, "sm_90a", "wgmma.mma_async"),
        (half(1024, 1024, 256), AMPERE, "sm_80", "mma.sync"),
        (
            ops.matmul(m=512, n=512, k=256, dtype="int8", acc_dtype="int32"),
            AMPERE, "sm_80", "mma.sync",
        ),
    ],
)  # fmt: skip
def test_default_schedules_use_tensor_cores_without_spills(
    program: Program, target: Target, arch: str, instruction: str, tmp_path: Path
) -> None:
    schedule = default_schedule(program, target)
    assert instruction in check_cuda(schedule.program, tmp_path, arch).text


def test_products_of_four_warps_run_beside_copies_of_whole_lines() -> None:
    scheduled = default_schedule(half(4096, 4096, 4096), HOPPER).program
    text = emit(lower(scheduled, HOPPER), HOPPER).text
    steady = text[text.index("wait_group 1") :]
    # What a product reads is overwritten after the next barrier at the earliest.
    places = [
        steady.index(part)
        for part in ("wgmma.wait_group", "__syncthreads", "_mma(", "ms_cp_async_16")
    ]
    assert places == sorted(places)
    assert "wgmma.wait_group" not in text[: text.index("_store(")]
    # Eight threads side by side fill a line, each from a place and to a bank of its own.
    ((to, source),) = re.findall(r"a_shared\[(.*threadIdx_x.*)\], &a\[(.*threadIdx_x.*)\]", steady)
    reads, writes = (
        [eval(place.replace("/", "//"), _lane(thread)) for thread in range(8)]
        for place in (source, to)
    )
    assert [r - reads[0] for r in reads] == [8 * lane for lane in range(8)]
    assert len({w * 2 % 128 for w in writes}) == 8


def _lane(thread: int) -> defaultdict[str, int]:
    """The names in an index: a thread, and all others at 0."""
    return defaultdict(int, threadIdx_x=thread)
