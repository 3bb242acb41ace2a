from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metasched.errors import DeviceError, MeasureError
from metasched.measure.gpu.device import open_device
from metasched.measure.gpu.plan import LaunchPlan
from metasched.measure.local import LocalWorkers
from metasched.measure.records import (
    Artefact,
    BuildRequest,
    BuildResult,
    CompareRequest,
    CompareResult,
    MeasureConfig,
    RunRequest,
    RunResult,
    Status,
)
from metasched.target import Target
from tests.core.measure import kernels as c_kernels
from tests.core.measure.gpu import kernels
from tests.core.measure.test_local import wait_for

pytest.importorskip("pyopencl")
pytestmark = pytest.mark.cc

QUICK = MeasureConfig(sample_s=1e-3, max_samples=5, build_timeout_s=60.0, run_timeout_s=60.0)


@pytest.fixture(scope="module")
def target() -> Target:
    return Target("opencl")


@pytest.fixture(scope="module")
def workers(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCL_CACHE_DIR", str(tmp_path_factory.mktemp("pocl")))
        with LocalWorkers(target, builders=1, config=QUICK) as opened:
            yield opened


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return c_kernels.compile_kernel(tmp_path_factory.mktemp("kernels"), c_kernels.DOUBLE)


def build(workers: LocalWorkers, source: Any, target: Target) -> BuildResult:
    task = "tests.core.measure.gpu.kernels:build"
    workers.submit_build(BuildRequest(1, task, (source, target)))
    (result,) = wait_for(workers)
    assert isinstance(result, BuildResult)
    return result


def run(workers: LocalWorkers, source: Any, target: Target, **options: Any) -> RunResult:
    output = build(workers, source, target).output
    assert output is not None
    request = RunRequest(2, output.artefact, config=QUICK)
    workers.submit_run(replace(request, **options))
    (result,) = wait_for(workers)
    assert isinstance(result, RunResult)
    return result


def test_a_kernel_is_built_checked_and_timed(
    workers: LocalWorkers, target: Target, reference: Artefact
) -> None:
    for body in (kernels.DOUBLE, kernels.SHARED):
        done = run(workers, kernels.source("opencl", body), target, reference=reference)
        assert (done.status, done.message) == (Status.OK, "")
        assert done.max_error is not None
        assert done.max_error < 1e-6
        assert all(0 < sample < 0.1 for sample in done.samples_s)


def test_kernels_run_in_order_and_share_a_buffer(
    workers: LocalWorkers, target: Target, reference: Artefact
) -> None:
    done = run(workers, kernels.two_kernels(), target, reference=reference)
    assert (done.status, done.message) == (Status.OK, "")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (kernels.PARTIAL, "'b'[999] is nan, expected"),
        (kernels.STRAY, "the kernel wrote outside of 'b'"),
        (kernels.INPUT, "the kernel wrote to its input 'a'"),
    ],
)
def test_wrong_kernels_are_found_out(
    workers: LocalWorkers, target: Target, reference: Artefact, body: str, message: str
) -> None:
    done = run(workers, kernels.source("opencl", body), target, reference=reference)
    assert done.status == Status.WRONG_RESULT
    assert message in done.message
    again = run(workers, kernels.source("opencl"), target, reference=reference)
    assert again.status == Status.OK


def test_a_source_that_does_not_compile_is_a_build_error(
    workers: LocalWorkers, target: Target
) -> None:
    done = build(workers, kernels.source("opencl", kernels.BAD), target)
    assert done.status == Status.BUILD_ERROR
    assert "nothing" in done.message


def test_a_kernel_that_hangs_is_ended_and_the_next_one_runs(
    workers: LocalWorkers, target: Target, reference: Artefact
) -> None:
    short = replace(QUICK, run_timeout_s=2.0)
    done = run(workers, kernels.source("opencl", kernels.HANG), target, config=short)
    assert done.status == Status.RUN_TIMEOUT
    assert run(workers, kernels.source("opencl"), target, reference=reference).status == Status.OK


@pytest.mark.parametrize("how", [{"flush": True}, {"rotate": True}])
def test_cold_caches(
    workers: LocalWorkers, target: Target, reference: Artefact, how: dict[str, bool]
) -> None:
    config = replace(QUICK, **how)
    done = run(workers, kernels.source("opencl"), target, reference=reference, config=config)
    assert (done.status, done.message) == (Status.OK, "")
    assert len(done.samples_s) >= 2


def test_kernels_are_compared_in_turns(workers: LocalWorkers, target: Target) -> None:
    built = [
        build(workers, kernels.source("opencl", body), target).output
        for body in (kernels.DOUBLE, kernels.SHARED)
    ]
    artefacts = tuple(output.artefact for output in built if output is not None)
    workers.submit_run(CompareRequest(3, artefacts, 4, 0, QUICK))
    (result,) = wait_for(workers)
    assert isinstance(result, CompareResult)
    assert [len(samples) for samples in result.samples_s] == [4, 4]


def test_a_device_that_is_not_there_is_refused_before_anything_starts() -> None:
    with pytest.raises(DeviceError, match="no OpenCL device is called 'nothing'; there are: "):
        Target("opencl:nothing")
    data = Target("opencl").to_dict() | {"arch": "nothing"}
    with pytest.raises(DeviceError, match="no OpenCL device is called 'nothing'; there are: "):
        LocalWorkers(Target.from_dict(data))


def test_a_plan_is_read_back(tmp_path: Path, target: Target) -> None:
    made = kernels.artefact(kernels.two_kernels(), target, str(tmp_path))
    plan = LaunchPlan.read(made.path)
    assert [launch.kernel for launch in plan.launches] == ["first", "second"]
    assert plan.parameters == kernels.ARGS
    assert plan.buffers == (4 * kernels.N,)
    place = Path(made.path).with_suffix(".json")
    data = json.loads(place.read_text())
    assert data["code"] == Path(made.path).name
    place.write_text(json.dumps({**data, "format": 99}))
    with pytest.raises(MeasureError, match="format 99, expected 1"):
        LaunchPlan.read(made.path)


def test_unknown_kinds_have_no_device() -> None:
    with pytest.raises(MeasureError, match="'vulkan' run on no device"):
        open_device("vulkan", "any")
