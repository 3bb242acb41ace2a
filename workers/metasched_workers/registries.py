"""What a job's builders must know: the members of registries, shipped as the source of modules.

A trace means the same to a driver and a builder only where both have the same primitives,
intrinsics and postprocessors. Those of this library are compared by hash; modules of the user's
that register others are shipped with the job.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Final

from metasched.errors import MeasureError
from metasched.measure.modules import load_modules, write_modules
from metasched.registry import foreign_modules, members

_KINDS: Final = (
    "primitive",
    "sampling primitive",
    "postprocessor",
    "tensor intrinsic",
    "extern function",
)
"""What a builder replays, postprocesses and prints with."""
_DEADLINE_S: Final = 60.0
_CHECK: Final = "from metasched_workers.registries import main; main()"
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Registries:
    """The members that a job relies on.

    Attributes:
        hashes: Of each member, by kind and name.
        modules: Sources of the modules that register the user's own ones, by name, in the order in
            which they are imported; parent packages come before their parts.
    """

    hashes: Mapping[str, str] = field(default_factory=dict[str, str])
    modules: Mapping[str, str] = field(default_factory=dict[str, str])


def collect() -> Registries:
    """Return the members that this process has, for builders elsewhere."""
    sources: dict[str, str] = {}
    for name in foreign_modules():
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            part = ".".join(parts[:count])
            file = getattr(sys.modules.get(part), "__file__", None)
            sources[part] = Path(file).read_text() if file else ""
    return Registries(_known(), sources)


def check(registries: Registries, folder: str) -> None:
    """Write the modules of a job into a folder, and see whether a fresh process has its members.

    Raises:
        MeasureError: it has not; the message names some.
    """
    write_modules(folder, registries.modules)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHECK, folder],
            capture_output=True, text=True, timeout=_DEADLINE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MeasureError(f"modules of the job were not imported in {_DEADLINE_S:g} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or "no reason").splitlines()[-1]
        raise MeasureError(f"modules of the job cannot be imported here: {said}")
    if problem := difference(registries.hashes, json.loads(done.stdout)):
        raise MeasureError(problem)


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Return which members a builder lacks or has otherwise, or an empty text.

    >>> difference({"primitive 'split'": "a"}, {"primitive 'split'": "b"}).partition(";")[0]
    "the job and this host do not have the same primitive 'split'"
    """
    names = sorted(name for name, value in wanted.items() if found.get(name) != value)
    if not names:
        return ""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (
        f"the job and this host do not have the same {', '.join(names[:_MOST_NAMED])}{more};"
        " install the same metasched on both, and register one's own members when their module is"
        " imported"
    )


def main() -> None:
    """Print the members that a process has after it imported the modules of a folder."""
    load_modules(sys.argv[1])
    print(json.dumps(_known()))


def _known() -> dict[str, str]:
    import_module("metasched.build")  # registers all that builders use
    return {n: value for n, value in members().items() if n.partition(" '")[0] in _KINDS}
