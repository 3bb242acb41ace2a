from __future__ import annotations

import json

from metasched.database import Workload, open_database
from metasched.ops import matmul
from metasched.target import Target
from metasched.testing.database_records import make_record
from tests.core.cli.conftest import Cli

WORDS = ("query", "matmul", "m=8", "n=8")


def test_a_hit_and_a_miss_are_explained(cli: Cli) -> None:
    workload = Workload.from_program(matmul(m=8, n=8, k=8))
    with open_database("sqlite:///metasched.db") as database:
        database.put(make_record(1, workload=workload, target=Target("cpu")))
    hit = cli(*WORDS, "k=8", "--explain")
    assert hit.status == 0
    assert "hit: candidate program-1 of 'matmul'" in hit.out
    lines = [line.split(maxsplit=1) for line in hit.out.splitlines()]
    assert ["place", "1 of 1 servable, 1 in all (the fastest)"] in lines
    assert ["name", "matmul"] in lines
    miss = cli(*WORDS, "k=16", "--explain", "--json")
    assert miss.status == 1
    found = json.loads(miss.out)
    assert found["hit"] is False
    assert {
        "name": "parameter 1",
        "asked": "in float32(8, 16)",
        "found": "in float32(8, 8)",
        "verdict": "differs",
    } in found["parts"]


def test_of_lists_only_what_differs_is_said(cli: Cli) -> None:
    workload = Workload.from_program(matmul(m=8, n=8, k=8))
    here = Target("cpu")
    other = Target("cpu", features=(*here.features[1:], "made_up"), vector_bits=here.vector_bits)
    with open_database("sqlite:///metasched.db") as database:
        database.put(make_record(1, workload=workload, target=other))
    out = cli(*WORDS, "k=8", "--explain").out
    assert f" differs: made_up on record, {here.features[0]} asked\n" in out


def test_a_snapshot_is_written_and_looked_up(cli: Cli) -> None:
    workload = Workload.from_program(matmul(m=8, n=8, k=8))
    with open_database("sqlite:///metasched.db") as database:
        database.put(make_record(1, workload=workload, target=Target("cpu")))
    assert cli("db", "snapshot", "w.msnap").out == "wrote 1 winners to w.msnap\n"
    assert "program-1" in cli(*WORDS, "k=8", "--db", "snapshot:w.msnap").out
    refused = cli("tune", "matmul", "m=8", "n=8", "k=8", "--db", "snapshot:w.msnap")
    assert refused.status == 2
    assert "is a snapshot, which nothing is added to" in refused.err
