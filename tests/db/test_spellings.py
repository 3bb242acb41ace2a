"""Spellings of one workload in SQL: one key, traces with the program they replay on."""

from __future__ import annotations

from dataclasses import replace

from metasched_db import open_sql
from metasched_db.session import Sessions
from sqlalchemy import text

from metasched.database import MemoryDatabase, Workload
from metasched.database.equality import Equality, key_of
from metasched.ir.hash import structural_hash
from metasched.ir.parser import parse
from metasched.ops import matmul
from metasched.testing.database_records import make_record, make_target
from tests.core.database.test_spelling import product

OURS, THEIRS = (Workload.from_program(p) for p in (product(), product("xyz", turn=True)))


def test_each_record_keeps_the_spelling_it_replays_on(any_url: str, tmp_path) -> None:
    with open_sql(any_url) as database:
        ours, theirs = make_record(2, workload=OURS), make_record(1, workload=THEIRS)
        database.put(ours)
        database.put_many([theirs, make_record(3, workload=THEIRS)])
        assert OURS.hash == THEIRS.hash
        assert database.best(product(), make_target()) == theirs
        assert database.best(product("uvw"), make_target()) == theirs
        assert database.workloads() == (OURS,)
        # Merging keeps what the samples belong to.
        database.put(replace(theirs, workload=OURS, samples_s=(0.5, 0.6)))
        merged = database.best(product(), make_target())
        assert merged is not None
        assert merged.workload == OURS
        again = next(r for r in database.records() if r.program_hash == theirs.program_hash)
        assert again.workload == THEIRS
        assert again.samples_s == (*theirs.samples_s, 0.5, 0.6)
        database.export(tmp_path / "all.jsonl")
        records = list(database.records())
    with MemoryDatabase() as copy:
        copy.import_(tmp_path / "all.jsonl")
        assert list(copy.records()) == records


def test_spellings_survive_the_way_to_an_earlier_schema_and_back(any_url: str) -> None:
    records = [make_record(1, workload=OURS), make_record(2, workload=THEIRS)]
    with open_sql(any_url) as database:
        database.put_many(records)
        database.change_schema("0002")
    sessions = Sessions(any_url)
    query = text("SELECT hash, text FROM workloads ORDER BY id")
    for found, spelling in sessions.read(lambda connection: connection.execute(query).all()):
        assert found == structural_hash(parse(spelling))
    sessions.close()
    with open_sql(any_url) as database:
        assert list(database.records()) == records
        assert database.best(product(), make_target()) == records[0]
        assert database.workloads() == (OURS,)
        key = key_of(product(), Equality.ANCHOR_BLOCK)
        assert key is not None
        assert database.workloads_like(Equality.ANCHOR_BLOCK, key) == (OURS,)


def test_loose_keys_are_indexed(any_url: str) -> None:
    other = Workload.from_program(matmul(m=8, n=16, k=32))
    with open_sql(any_url) as database:
        database.put_many([make_record(0, workload=OURS), make_record(1, workload=other)])
        key = key_of(product(), Equality.ANCHOR_BLOCK)
        assert key is not None
        assert database.workloads_like(Equality.ANCHOR_BLOCK, key) == (OURS,)
        assert database.workloads_like(Equality.IGNORE_CONSTANTS, key) == ()
