"""How the kernels of a program are launched: what lies beside a compiled file as JSON.

The same text is what an ahead-of-time export holds, so it is a format: see `docs/gpu.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from metasched.errors import MeasureError
from metasched.measure.records import ArgSpec

_FORMAT: Final = 1

Extents = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        kernel: Its name in the compiled file.
        grid: Blocks along x, y and z.
        block: Threads of a block along x, y and z.
        shared_bytes: Dynamic shared memory of a block.
        arguments: Which pointers it takes: numbers below the count of parameters mean those, the
            next ones the buffers of the plan.
    """

    kernel: str
    grid: Extents
    block: Extents
    shared_bytes: int
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """The launches of one program, in the order in which each waits for the one before it.

    Attributes:
        kind: ``"cuda"`` or ``"opencl"``.
        arch: What it was compiled for, as in `metasched.target.Target`.
        parameters: The arrays of the caller.
        buffers: Bytes of the device buffers that the caller provides for intermediates; what they
            hold at the beginning does not matter.
        launches: The launches.
        resources: What the compiler says of each kernel, by name.
    """

    kind: str
    arch: str
    parameters: tuple[ArgSpec, ...]
    buffers: tuple[int, ...]
    launches: tuple[Launch, ...]
    resources: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Any])

    def to_json(self, code: str) -> str:
        """Return the text that goes beside the compiled file of name `code`."""
        values = asdict(self)
        return json.dumps({"format": _FORMAT, "code": code, **values}, indent=1)

    @staticmethod
    def read(path: str | Path) -> LaunchPlan:
        """Return the plan beside a compiled file.

        Raises:
            MeasureError: there is none, or it is of another format.
        """
        place = Path(path).with_suffix(".json")
        try:
            return _parsed(json.loads(place.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MeasureError(f"cannot read the launches in '{place}': {error!r}") from error


def _parsed(data: dict[str, Any]) -> LaunchPlan:
    if data["format"] != _FORMAT:
        raise ValueError(f"format {data['format']}, expected {_FORMAT}")
    return LaunchPlan(
        data["kind"],
        data["arch"],
        tuple(ArgSpec(**spec | {"shape": tuple(spec["shape"])}) for spec in data["parameters"]),
        tuple(data["buffers"]),
        tuple(_launch(launch) for launch in data["launches"]),
        data["resources"],
    )


def _launch(data: dict[str, Any]) -> Launch:
    grid, block, arguments = (tuple(data[name]) for name in ("grid", "block", "arguments"))
    return Launch(data["kernel"], grid, block, data["shared_bytes"], arguments)
