"""Jobs on Ray itself, on this machine: slow to start, so few in the default tier."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from importlib.util import find_spec
from pathlib import Path

import pytest
from metasched_workers import open_workers

import metasched as ms
from metasched.errors import MeasureError, UsageError
from metasched.measure import open as opening
from metasched.measure.records import Status

if find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)


@pytest.fixture(autouse=True)
def entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point of pyproject.toml, also where the installed metadata is older."""
    point = EntryPoint("ray", "metasched_workers:open_workers", opening.ENTRY_POINTS)
    monkeypatch.setattr(opening, "entry_points", lambda group: EntryPoints([point]))


def ray_processes() -> list[str]:
    """The command lines of Ray's processes of this user that use a folder of ours."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if "/metasched-" in line and "ray" in line]


@pytest.mark.cc
def test_a_program_is_tuned_on_ray(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/ray.db"
    program = ms.ops.matmul(m=32, n=32, k=32)
    result = ms.tune(program, workers="ray", trials=6, database=database)
    assert isinstance(result, ms.TuneResult)
    assert (result.trials, result.best is not None) == (6, True)
    with ms.Database(database) as opened:
        assert len(list(opened.records(statuses=[Status.OK]))) <= 6
    assert not ray_processes()
    assert not os.environ.get("RAY_ADDRESS")


def test_unknown_fleets_are_refused() -> None:
    target = ms.Target("cpu")
    with pytest.raises(UsageError, match="workers 'rays' name no fleet; write 'ray' for"):
        open_workers("rays", [target])
    with pytest.raises(UsageError, match="have no option 'colour'"):
        open_workers("ray://head:10001?colour=red", [target])
    with pytest.raises(UsageError, match="invalid literal for int"):
        open_workers("ray:auto?priority=high", [target])


def test_an_import_of_ray_that_was_too_early_is_told() -> None:
    script = (
        "import ray\n"
        "from metasched.errors import MeasureError\n"
        "from metasched_workers.session import start\n"
        "try: start(1)\n"
        "except MeasureError as error: print(error)\n"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, check=True)
    assert "Ray was imported before it could be set up for this machine alone" in done.stdout


def test_without_ray_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metasched_workers.opening.find_spec", lambda name: None)
    with pytest.raises(MeasureError, match="pip install 'metasched\\[ray\\]'"):
        open_workers("ray", [ms.Target("cpu")])
