"""Writers that work at once, and writers that are killed in the middle of what they do."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe

import pytest
from metasched_db import open_sql
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from metasched.database import open_database
from metasched.testing.database_records import make_record, write_many

BATCH = 16
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["metasched_db.database", "metasched.testing.database_records"])


def write_until_killed(url: str, writer: str, pipe: Pipe) -> None:
    """Write batches for ever, each half of candidates that all writers share.

    A number is sent after each batch that is committed.
    """
    with open_database(url) as database:
        for batch in range(1_000_000):
            own = (f"{writer}-{batch}-{index}" for index in range(BATCH))
            shared = (f"shared-{random.randrange(64)}" for _ in range(BATCH))
            database.put_many(make_record(0, program_hash=name) for name in (*own, *shared))
            pipe.send(batch)


def kill_some(url: str, rounds: int, writers: int = 2) -> tuple[int, int]:
    """Start and kill writers; return how many batches they said were committed, and how many are.

    Each round kills all writers with SIGKILL at a random moment of their work.
    """
    committed: dict[str, int] = {}
    for turn in range(rounds):
        running = []
        for index in range(writers):
            here, there = CONTEXT.Pipe(duplex=False)
            name = f"{turn}-{index}"
            process = CONTEXT.Process(target=write_until_killed, args=(url, name, there))
            process.start()
            there.close()
            running.append((name, process, here))
        for name, process, here in running:
            committed[name] = 0
            for _ in range(random.randrange(1, 12)):
                committed[name] = here.recv() + 1
            process.join(random.uniform(0.0, 0.02))
            process.kill()
        for name, process, here in running:
            process.join()
            try:
                while True:
                    committed[name] = here.recv() + 1
            except EOFError:
                here.close()
        assert_sound(url)
    return sum(committed.values()), assert_whole(url, committed)


def assert_sound(url: str) -> None:
    """The database itself finds nothing wrong with its tables and indexes."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(parsed.database))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
        return
    engine = create_engine(parsed.set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
        check = "SELECT bt_index_check(indexrelid, true) FROM pg_index WHERE indrelid = 'records'"
        connection.execute(text(f"{check}::regclass"))
    engine.dispose()


def assert_whole(url: str, committed: dict[str, int]) -> int:
    """Each batch is there whole or not at all, and once; all that was committed is there."""
    with open_sql(url) as database:
        hashes = [record.program_hash for record in database.records()]
    assert len(hashes) == len(set(hashes))
    batches: dict[tuple[str, int], int] = {}
    for name in hashes:
        writer, _, rest = name.rpartition("-")[0].rpartition("-")
        if writer:
            key = writer, int(rest)
            batches[key] = batches.get(key, 0) + 1
    assert set(batches.values()) <= {BATCH}
    for writer, count in committed.items():
        assert all((writer, batch) in batches for batch in range(count))
    return len(batches)


def test_a_killed_writer_leaves_a_sound_database(any_url: str) -> None:
    said, found = kill_some(any_url, rounds=2)
    assert 4 <= said <= found


@pytest.mark.slow
def test_fifty_rounds_of_killing(any_url: str) -> None:
    said, found = kill_some(any_url, rounds=50, writers=4)
    assert 200 <= said <= found


def write_batches(url: str, writer: int, own: int, shared: int) -> None:
    """Like `write_many`, by batches of what a tuner writes at once."""
    own_hashes = [f"own-{writer}-{index}" for index in range(own)]
    shared_hashes = [f"shared-{index}" for index in range(shared)]
    with open_database(url) as database:
        for hashes in (own_hashes, shared_hashes):
            for first in range(0, len(hashes), BATCH):
                database.put_many(
                    make_record(program_hash=name, samples_s=(1.0 + writer,))
                    for name in hashes[first : first + BATCH]
                )


@pytest.mark.parametrize(
    ("writers", "own", "write"),
    [(3, 60, write_many), pytest.param(8, 12_500, write_batches, marks=pytest.mark.slow)],
)
def test_writers_at_once_lose_and_double_nothing(
    any_url: str, writers: int, own: int, write: Callable[..., None]
) -> None:
    """Each writes its own records, and to a fifth as many candidates that all writers share."""
    shared = own // 5
    run(write, [(any_url, writer, own, shared) for writer in range(writers)])
    with open_sql(any_url) as database:
        found = {record.program_hash: len(record.samples_s) for record in database.records()}
    assert len(found) == writers * own + shared
    assert {found[f"shared-{index}"] for index in range(shared)} == {writers}


def run(target: Callable[..., None], arguments: list[tuple[object, ...]]) -> None:
    processes = [CONTEXT.Process(target=target, args=args) for args in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
