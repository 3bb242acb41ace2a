from __future__ import annotations

import pytest

from metasched.database import MemoryDatabase, Workload
from metasched.database.miss import explain_miss
from metasched.testing.database_records import MATMUL, SOFTMAX, make_record, make_target


@pytest.fixture
def database() -> MemoryDatabase:
    database = MemoryDatabase()
    database.put_many((make_record(0), make_record(1, workload=SOFTMAX)))
    return database


def near(workload: Workload, line: str) -> Workload:
    """Return a workload of the same name whose last line differs."""
    head = workload.text.rpartition("\n")[0]
    return Workload("d" * 64, workload.name, f"{head}\n{line}")


def test_the_closest_workload_and_its_difference_are_named(
    database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = near(MATMUL, "        store")

    def from_program(_: object) -> Workload:
        return asked

    monkeypatch.setattr(Workload, "from_program", from_program)
    line = explain_miss(database, object(), make_target())  # type: ignore[arg-type]
    assert line == (
        "no workload 'matmul' (dddddddddddd); the closest is workload 'matmul' (aaaaaaaaaaaa),"
        " which has `pass` where yours has `store`; tune it first"
    )


def test_the_closest_target_is_named(database: MemoryDatabase) -> None:
    far = make_target(cores=7, arch="mars")
    database.put(make_record(2, target=far))
    line = explain_miss(database, MATMUL.hash, make_target(cores=7))
    assert "the closest of 2 with records is" in line
    assert f"which differs in cores {make_target().cores!r} (asked 7)" in line


def test_a_hash_that_is_unknown(database: MemoryDatabase) -> None:
    line = explain_miss(database, "f" * 64, make_target())
    assert line == "no workload ffffffffffff: the database holds 2 workloads; tune it first"


def test_a_pruned_workload_is_known_but_has_no_records() -> None:
    with MemoryDatabase() as database:
        database.put(make_record(0, evidence={}))
        database.prune(1)
        line = explain_miss(database, MATMUL.hash, make_target())
    assert line == "workload 'matmul' (aaaaaaaaaaaa) is known but has no records; tune it first"
