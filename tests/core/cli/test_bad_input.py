"""What a user can get wrong, through the command line: one line, the right status, no trace."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from metasched.errors import MeasureError
from tests.core.cli.conftest import Cli

MATMUL = ("matmul", "m=4", "n=4", "k=4")


def refused(cli: Cli, arguments: tuple[str, ...], message: str, status: int = 2) -> None:
    before = sorted(os.listdir())
    outcome = cli(*arguments)
    assert message in outcome.err
    assert outcome.err.startswith("metasched: ")
    assert outcome.err.count("\n") == 1
    assert (outcome.status, outcome.out) == (status, "")
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize("command", ["tune", "query", "space"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("matmull", "m=4"), "unknown operator 'matmull'; did you mean 'matmul'?"),
        (("matmul", "m=4", "kk=1"), "matmul has no key 'kk'"),
        (("matmul", "m=4", "n=4", "k=4", "dtype=floot32"), "did you mean 'float32'?"),
        (("matmul", "m=0", "n=4", "k=4"), "m=0 is given, an integer of at least 1 is needed"),
        ((*MATMUL, "--target", "cppu"), "unknown target 'cppu'; did you mean 'cpu'?"),
        ((*MATMUL, "--target", "cuda:sm_91"), "unknown CUDA architecture 'sm_91'"),
        ((*MATMUL, "--sede", "1"), "No such option '--sede'"),
        ((), "Missing argument 'OP'"),
    ],
)
def test_programs_and_targets(
    cli: Cli, command: str, arguments: tuple[str, ...], message: str, json: tuple[str, ...]
) -> None:
    refused(cli, (command, *arguments, *json), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tun",), "unknown command 'tun'; did you mean 'tune'?"),
        (("tune", *MATMUL, "--trials", "-1"), "trials=-1 is given, expected at least 1"),
        (("tune", *MATMUL, "--trials", "0"), "no database 'metasched.db'; tune first"),
        (("tune", *MATMUL, "--trials", "many"), "'many' is not a valid integer"),
        (("tune", *MATMUL, "--seconds", "-1"), "seconds=-1.0 is given, expected more than 0"),
        (("tune", *MATMUL, "--strategy", "evolutonary"), "did you mean 'evolutionary'?"),
        (("tune", *MATMUL, "--workers", "locall"), "did you mean 'local'?"),
        (("space", *MATMUL, "--samples", "-1"), "--samples -1 is given"),
        (("bench", "sfmm"), "unknown case 'sfmm'; did you mean 'SFM'?"),
        (("bench", "SFM", "--against", "nunpy"), "did you mean 'numpy'?"),
        (("bench", "SFM", "--against", "tvm"), "--against tvm needs --python PATH"),
        (("bench", "SFM", "--rounds", "0"), "--rounds 0 is given"),
        (("bench", "SFM", "--skip-tuning"), "--skip-tuning needs --db URL"),
        (("bench", "SFM", "--db", "memory:"), "give a file after --db"),
        (
            ("bench", "SFM", "--against", "torch", "--python", "no_such_python"),
            "no interpreter 'no_such_python'",
        ),
    ],
)
def test_options(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    refused(cli, arguments, message)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("metasched.db", "is no URL; for a file write 'sqlite:///metasched.db'"),
        ("sqlit:///x.db", "unknown database scheme 'sqlit'; did you mean 'sqlite'?"),
        ("sqlite:///gone/x.db", "'gone' does not exist; create it with `mkdir -p gone`"),
        ("sqlite:///text.db", "is not an SQLite file"),
        ("sqlite:///newer.db", "newer"),
        ("sqlite:///foreign.db", "foreign.db"),
    ],
)
def test_databases(cli: Cli, url: str, message: str) -> None:
    Path("text.db").write_text("no database, but long enough to have a header")
    make_database("newer.db", "create table alembic_version (version_num text)", "'9999'")
    make_database("foreign.db", "create table plants (name text)", "'fern'")
    held = {path: dump(path) for path in Path().glob("*.db")}
    refused(cli, ("tune", *MATMUL, "--db", url), message)
    assert {path: dump(path) for path in Path().glob("*.db")} == held


def make_database(path: str, create: str, value: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(create)
    connection.execute(f"insert into {create.split()[2]} values ({value})")
    connection.commit()
    connection.close()


def dump(path: Path) -> list[str] | str:
    if path.name == "text.db":
        return path.read_text()
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is writable for root")
def test_an_unwritable_database(cli: Cli) -> None:
    Path("locked").mkdir(mode=0o500)
    refused(cli, ("tune", *MATMUL, "--db", "sqlite:///locked/x.db"), "is not writable")


@pytest.mark.parametrize("command", ["query", "db"])
def test_looking_at_a_database_does_not_create_it(cli: Cli, command: str) -> None:
    arguments = ("query", *MATMUL) if command == "query" else ("db", "stats")
    refused(cli, arguments, "no database 'metasched.db'; tune first")


def test_a_missing_compiler(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCHED_CC", "/no/such/compiler")
    refused(cli, ("tune", *MATMUL), "/no/such/compiler")
    refused(cli, ("bench", "SFM"), "/no/such/compiler")
    described = cli("targets")
    assert described.status == 0
    assert "cpu: " in described.out
    assert "/no/such/compiler" in described.out


def test_a_file_that_is_no_export(cli: Cli) -> None:
    Path("notes.txt").write_text("hello\n")
    refused(cli, ("db", "import", "gone.jsonl"), "no file 'gone.jsonl'")
    outcome = cli("db", "import", "notes.txt", "--db", "sqlite:///new.db")
    assert outcome.status == 2
    assert "notes.txt" in outcome.err
    assert outcome.err.count("\n") == 1


def test_work_that_fails_has_another_status(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MeasureError("'matmul' cannot be measured: it crashed")

    monkeypatch.setattr("metasched.tuning.tune", fail)
    refused(cli, ("tune", *MATMUL), "cannot be measured", status=1)


def test_a_closed_pipe_is_no_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("metasched.cli.commands.targets.click.echo", broken)
    assert cli("targets").status == 0
