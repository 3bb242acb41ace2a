from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import metasched as ms
from metasched.database import MemoryDatabase, Snapshot, open_database, write_snapshot
from metasched.database import snapshot as module
from metasched.errors import DatabaseError
from metasched.measure.records import Status
from metasched.testing.database_records import (
    MATMUL,
    SOFTMAX,
    make_failure,
    make_record,
    make_target,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "winners.msnap"


@pytest.fixture
def source() -> Iterator[MemoryDatabase]:
    with MemoryDatabase() as database:
        database.put_many(make_record(index) for index in (3, 1, 2))
        database.put(make_record(5, target=make_target(cores=99)))
        database.put(make_record(6, workload=SOFTMAX))
        database.put(make_failure(7, Status.BUILD_ERROR, workload=SOFTMAX))
        yield database


def test_it_holds_the_winners(source: MemoryDatabase, path: Path) -> None:
    assert write_snapshot(source, path) == 3
    with open_database(f"snapshot:{path}") as snapshot:
        assert snapshot.best(MATMUL.hash, make_target()) == make_record(1)
        assert snapshot.top(MATMUL.hash, make_target(), 9) == (make_record(1),)
        assert snapshot.best(MATMUL.hash, make_target(cores=7)) is None
        assert snapshot.best("absent", make_target()) is None
        assert set(snapshot.workloads()) == {MATMUL, SOFTMAX}
        assert {target.key() for target in snapshot.targets(MATMUL.hash)} == {
            make_target().key(),
            make_target(cores=99).key(),
        }
        assert snapshot.stats().records == 3
        assert "cores" in snapshot.explain_miss(MATMUL.hash, make_target(cores=7))
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_it_holds_the_dispatch_trees(source: MemoryDatabase, path: Path) -> None:
    source.save_dispatch("family", "cpu:x", "matmul", "[1]")
    write_snapshot(source, path)
    with Snapshot(path) as snapshot:
        assert snapshot.load_dispatch("family", "cpu:x") == "[1]"
        assert snapshot.load_dispatch("family", "cpu:y") is None
        assert snapshot.dispatches() == source.dispatches()
        with pytest.raises(DatabaseError, match="which nothing is added to"):
            snapshot.save_dispatch("family", "cpu:x", "matmul", "[2]")


def test_an_empty_database_has_an_empty_one(path: Path) -> None:
    with MemoryDatabase() as database:
        assert write_snapshot(database, path) == 0
    with Snapshot(path) as snapshot:
        assert snapshot.best(MATMUL.hash, make_target()) is None


def test_nothing_is_added(source: MemoryDatabase, path: Path) -> None:
    write_snapshot(source, path)
    with Snapshot(path) as snapshot:
        for call in (
            lambda: snapshot.put(make_record(0)),
            lambda: snapshot.start_job({}),
            lambda: snapshot.prune(1),
            lambda: ms.tune(ms.ops.matmul(m=8, n=8, k=8), database=snapshot, trials=1),
        ):
            with pytest.raises(DatabaseError, match="is a snapshot, which nothing is added to"):
                call()


def test_a_closed_one_says_so(source: MemoryDatabase, path: Path) -> None:
    write_snapshot(source, path)
    snapshot = Snapshot(path)
    snapshot.close()
    snapshot.close()
    with pytest.raises(DatabaseError, match="is closed"):
        snapshot.best(MATMUL.hash, make_target())


def test_any_damage_is_seen(source: MemoryDatabase, path: Path) -> None:
    """Each byte of the file is flipped in turn: a lookup gives the truth, a miss or an error."""
    write_snapshot(source, path)
    image = path.read_bytes()
    for place in range(0, len(image), 7):
        path.write_bytes(image[:place] + bytes([image[place] ^ 0x55]) + image[place + 1 :])
        try:
            with Snapshot(path) as snapshot:
                found = snapshot.best(MATMUL.hash, make_target())
        except DatabaseError:
            continue
        assert found == make_record(1)


@pytest.mark.parametrize("size", [0, 5, 16, 40, 200, -1])
def test_a_file_that_is_cut_is_refused(source: MemoryDatabase, path: Path, size: int) -> None:
    write_snapshot(source, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DatabaseError, match=r"is empty|is no snapshot|is damaged"):
        Snapshot(path)


def test_another_version_is_refused(
    source: MemoryDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VERSION", 9)
    write_snapshot(source, path)
    monkeypatch.undo()
    with pytest.raises(DatabaseError, match="has version 9, this metasched reads version 2"):
        Snapshot(path)


def test_an_absent_file_is_refused(path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot read '.*': No such file"):
        Snapshot(path)


@pytest.mark.cc
def test_only_the_kernel_that_was_locked_is_compiled(path: Path) -> None:
    program = ms.ops.matmul(m=16, n=16, k=16)
    with MemoryDatabase() as database:
        ms.tune(program, database=database, trials=2)
        write_snapshot(database, path)
        kernel = ms.compile(program, database=f"snapshot:{path}")
        assert kernel.record is not None
        assert kernel.artefact.source_hash == kernel.record.source_hash
        best = database.best(program, ms.Target("cpu"))
        assert best is not None
        database.prune(1)
        changed = MemoryDatabase()
        changed.put(replace(best, source_hash="0" * 32, job_id=None))
        write_snapshot(changed, path)
    with pytest.raises(DatabaseError, match="locks kernel 000000000000 of 'matmul', but"):
        ms.compile(program, database=f"snapshot:{path}")
