from __future__ import annotations

import json

import pytest

from metasched.database import open_database
from metasched.testing.database_records import make_record
from tests.core.cli.conftest import Cli


def test_merging_names_what_disagrees(cli: Cli) -> None:
    for name, sample in (("ours", 1e-3), ("theirs", 2e-3)):
        with open_database(f"sqlite:///{name}.db") as database:
            database.put(make_record(0, samples_s=(sample,) * 3))
    words = ("db", "merge", "sqlite:///theirs.db", "--db", "sqlite:///ours.db")
    done = cli(*words, "--source", "laptop")
    assert done.status == 0
    assert "merged 1 records into sqlite:///ours.db, 1 timed by both, 1 of them" in done.out
    assert "suspect: 'matmul' candidate program-0, 1e+03 us here, 2e+03 us there" in done.out
    again = json.loads(cli(*words, "--source", "laptop", "--json").out)
    assert (again["source"], again["shared"]) == ("laptop", 1)
    assert again["disagreements"][0]["ratio"] == 2.0


@pytest.mark.cc
def test_verifying_says_what_became_of_each(cli: Cli) -> None:
    words = ("matmul", "m=16", "n=16", "k=16")
    assert cli("tune", *words, "--trials", "2").status == 0
    done = cli("db", "verify", "--json")
    (found,) = json.loads(done.out)["records"]
    assert found["workload"] == "matmul"
    assert found["verdict"] in ("current", "suspect")
    assert done.status == (0 if found["verdict"] == "current" else 1)
    assert "verified 1 records of sqlite:///metasched.db" in cli("db", "verify").out
