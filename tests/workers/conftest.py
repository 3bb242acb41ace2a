"""Fleets that tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from metasched_workers.broker import Broker
from metasched_workers.ray_workers import JobOptions, RayWorkers

from metasched.target import Target
from tests.registries import own_members
from tests.workers.threads import ThreadCluster, ThreadFleet, simulated_fleet

Join = Callable[..., RayWorkers]


@pytest.fixture(autouse=True)
def as_elsewhere() -> Iterator[None]:
    """Have only the members that builders elsewhere have."""
    with own_members():
        yield


@pytest.fixture
def fleet() -> Iterator[Callable[..., tuple[ThreadCluster, Broker, Join]]]:
    """Make a simulated fleet of a size, with a function that lets a job join it."""
    with ExitStack() as stack:

        def make(
            nodes: int = 1, runners: int = 2, builders: int = 2
        ) -> tuple[ThreadCluster, Broker, Join]:
            cluster, broker = simulated_fleet(nodes, runners, builders)
            stack.callback(cluster.close)
            stack.callback(broker.close)

            def join(options: JobOptions | None = None, **more: Any) -> RayWorkers:
                workers = RayWorkers(
                    lambda: ThreadFleet(cluster, broker),
                    [Target("cpu")],
                    options=options,
                    link=cluster,
                    **more,
                )
                stack.callback(workers.close)
                return workers

            return cluster, broker, join

        yield make
