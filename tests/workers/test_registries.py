"""What a user registered reaches builders, and what does not is refused with its name."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from metasched_workers.registries import Registries, check, collect

from metasched.errors import MeasureError
from metasched.ir.extern import EXTERNS
from metasched.measure.local import LocalWorkers
from metasched.measure.modules import write_modules
from metasched.measure.records import BuildRequest
from metasched.registry import foreign_modules
from tests.workers.test_ray_workers import QUICK, JobOptions, build_request
from tests.workers.test_ray_workers import collect as results_of

SOURCE = """
from metasched.ir.dtype import DType
from metasched.ir.extern import EXTERNS, ExternFunction

EXTERNS.register(
    "test_shipped",
    ExternFunction(
        "test_shipped",
        (DType("float", 32, 8),),
        DType("float", 32, 8),
        lambda lane, args: args[0],
        "return x0;",
    ),
)
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's that registers an extern function."""
    (tmp_path / "users_own.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("users_own")
    yield "users_own"
    del sys.modules["users_own"]


def test_what_a_module_registered_is_shipped(registered: str, tmp_path: Path) -> None:
    assert foreign_modules() == (registered,)
    found = collect()
    assert found.modules == {registered: SOURCE}
    assert "extern function 'test_shipped'" in found.hashes
    (tmp_path / "users_own.py").unlink()
    check(found, str(tmp_path / "there"))
    assert json.loads((tmp_path / "there" / "modules.json").read_text()) == [registered]


def test_what_a_builder_has_otherwise_is_refused(registered: str, tmp_path: Path) -> None:
    found = collect()
    other = {registered: SOURCE.replace("return x0;", "return x0 + x0;")}
    with pytest.raises(MeasureError, match="not have the same extern function 'test_shipped'"):
        check(replace(found, modules=other), str(tmp_path / "other"))
    with pytest.raises(MeasureError, match="not have the same extern function 'test_shipped'"):
        check(replace(found, modules={}), str(tmp_path / "none"))
    broken = {registered: "import no_such_module"}
    with pytest.raises(MeasureError, match=r"cannot be imported here: .*no_such_module"):
        check(replace(found, modules=broken), str(tmp_path / "broken"))


def test_local_builders_import_what_the_user_did(registered: str) -> None:
    with LocalWorkers(builders=1, runners=0) as workers:
        workers.submit_build(BuildRequest(1, "tests.workers.test_registries:tell", None))
        (result,) = workers.poll(60.0)
    assert "test_shipped" in result.message


def test_builders_of_two_jobs_have_each_their_own(tmp_path: Path) -> None:
    folders: list[str] = []
    for name in ("first", "second"):
        folders.append(str(tmp_path / name))
        write_modules(folders[-1], {"users_own": SOURCE.replace("test_shipped", f"test_{name}")})
    with LocalWorkers(builders=1, runners=0) as workers:
        said: list[str] = []
        for folder in (folders[0], folders[1], ""):
            workers.submit_build(
                BuildRequest(1, "tests.workers.test_registries:tell", None, modules=folder)
            )
            said += [result.message for result in workers.poll(60.0)]
    assert said == ["['test_first']", "['test_second']", "[]"]


def tell(payload: Any, out_dir: str) -> Any:
    """Build nothing; say what is registered."""
    from metasched.measure.records import Rejected

    raise Rejected(str([name for name in EXTERNS if name.startswith("test_")]))


def test_a_host_whose_builders_do_not_fit_gets_no_work(fleet: Any) -> None:
    _, _, join = fleet()
    unknown = Registries({"primitive 'no_such_step'": "0"}, {})
    workers = join(JobOptions(dispatch=QUICK), registries=unknown)
    workers.submit_build(build_request(1))
    with pytest.raises(MeasureError, match=r"does not fit: .*same primitive 'no_such_step'"):
        results_of(workers, 1)
