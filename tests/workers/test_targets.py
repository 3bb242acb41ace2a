"""Nodes with different targets serve one job; each record is under the target that measured it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from metasched_workers import open_workers

import metasched as ms

pytestmark = [pytest.mark.slow, pytest.mark.cc]

if find_spec("ray") is None or find_spec("pyopencl") is None:
    pytest.skip("Ray or OpenCL is not installed", allow_module_level=True)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A node that measures on its cores and one that does by OpenCL."""
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "t" * 64,
    }
    for name, value in quiet.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    monkeypatch.setenv("PYTHONPATH", path)
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100 << 20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
    made.add_node(num_cpus=1, resources={"metasched:cpu": 1}, **memory)
    made.add_node(num_cpus=1, resources={"metasched:opencl": 1}, **memory)
    yield made
    made.shutdown()


def test_cpu_and_opencl_serve_one_job(cluster: Any, tmp_path: Path) -> None:
    targets = [ms.Target("cpu"), ms.Target("opencl")]
    program = ms.ops.matmul(m=64, n=64, k=64)
    address = f"ray:{cluster.address}"
    with (
        ms.Database(f"sqlite:///{tmp_path}/both.db") as database,
        open_workers(address, targets) as workers,
    ):
        results = ms.tune(
            program, target=targets, database=database, workers=workers, trials=40,
            model="analytic",
        )  # fmt: skip
        assert isinstance(results, tuple)
        counts = [
            sum(1 for r in database.records(program, target) if r.is_servable) for target in targets
        ]
        best = [database.best(program, target) for target in targets]
    assert min(counts) > 2
    assert [one is not None and one.target.kind for one in best] == ["cpu", "opencl"]
    assert [result.best for result in results] == best
