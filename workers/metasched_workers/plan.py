"""Which hosts a node gets, from the resources that it was started with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from metasched.errors import UsageError
from metasched.target import Target
from metasched_workers.protocol import HostSpec

DEVICE: Final = "metasched:"
"""How the resource of a node begins that names its devices: ``metasched:cpu``, how many."""
_MEMORY_SHARE: Final = 0.5
"""Of the memory that a node was started with: what one candidate may take."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one host belongs.

    Attributes:
        node_id: Ray's name of the node.
        targets: What its runner measures for, as texts for `parse_target`.
        index: Tells places of one node and target apart.
        builders: Builds at the same time.
        runners: Runs at the same time.
        device: Ray's name of the resource that the runner takes, empty without one.
        cpus: Cores that Ray sets aside for the host.
        gpus: Devices that Ray sets aside for it.
        limit_bytes: Memory that one candidate may take; what the machine allows when 0.
    """

    node_id: str
    targets: tuple[str, ...]
    index: int
    builders: int
    runners: int
    device: str = ""
    cpus: float = 0.0
    gpus: float = 0.0
    limit_bytes: int = 0

    @property
    def label(self) -> str:
        """What the place is called in logs and in names."""
        device = self.device.removeprefix(DEVICE) or "builders"
        return f"{self.node_id[:8]}-{device}-{self.index}"

    def spec(self, host_id: str, engine: str) -> HostSpec:
        """What its host is made of."""
        return HostSpec(
            host_id,
            self.node_id,
            engine,
            self.targets,
            self.builders,
            self.runners,
            self.limit_bytes,
        )


def plan(node_id: str, resources: Mapping[str, float]) -> list[Place]:
    """Return the places of a node: one for each device, and its cores for builders.

    Kernels for CPUs are measured on the cores that build, with the builders paused meanwhile; a
    node that has such a device therefore has both in one host. A node's ``memory`` bounds what a
    candidate may take.

    >>> [(p.targets, p.builders, p.runners) for p in plan("n", {"CPU": 8, "metasched:cpu": 1})]
    [(('cpu',), 8, 1)]
    >>> [(p.targets, p.builders) for p in plan("n", {"CPU": 8, "GPU": 2, "metasched:cuda": 2})]
    [(('cuda',), 0), (('cuda',), 0), ((), 8)]
    """
    cores = int(resources.get("CPU", 0))
    limit_bytes = int(resources.get("memory", 0) * _MEMORY_SHARE)
    places: list[Place] = []
    for name, number in sorted(resources.items()):
        if not name.startswith(DEVICE):
            continue
        target = name.removeprefix(DEVICE)
        kind = target.partition(":")[0]
        if kind == "cpu":
            places.append(
                Place(node_id, (target,), 0, cores, 1, name, cores, limit_bytes=limit_bytes)
            )
            cores = 0
        else:
            gpus = 1.0 if kind == "cuda" else 0.0
            places += [
                Place(node_id, (target,), i, 0, 1, name, gpus=gpus, limit_bytes=limit_bytes)
                for i in range(int(number))
            ]
    if cores:
        places.append(Place(node_id, (), 0, cores, 0, cpus=cores, limit_bytes=limit_bytes))
    return places


def own_plan(targets: Sequence[Target]) -> Callable[[str, Mapping[str, float]], list[Place]]:
    """Return the plan of this machine for its own job: it has the devices of the job's targets.

    Raises:
        UsageError: Kernels for CPUs would be timed on different numbers of cores at once.
    """
    cores = {target.cores for target in targets if target.kind == "cpu"}
    if len(cores) > 1:
        given = ", ".join(map(str, sorted(cores)))
        raise UsageError(f"one machine measures on one number of cores, got {given}; tune in turns")
    cpu = tuple(json.dumps(t.to_dict()) for t in targets if t.kind == "cpu")
    others = [t for t in targets if t.kind != "cpu"]

    def own(node_id: str, resources: Mapping[str, float]) -> list[Place]:
        builders = int(resources.get("CPU", 0))
        places = [Place(node_id, cpu, 0, builders, int(bool(cpu)), cpus=builders)]
        for index, target in enumerate(others, 1):
            gpus = 1.0 if target.kind == "cuda" else 0.0
            text = (json.dumps(target.to_dict()),)
            places.append(Place(node_id, text, index, 0, 1, gpus=gpus))
        return places

    return own
