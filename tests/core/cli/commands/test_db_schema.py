from __future__ import annotations

from metasched.database import open_database
from metasched.testing.database_records import make_record
from tests.core.cli.conftest import Cli

URL = "sqlite:///metasched.db"


def test_a_database_goes_to_an_earlier_schema_and_back(cli: Cli) -> None:
    with open_database(URL) as database:
        database.put(make_record(0))
    done = cli("db", "upgrade", "--to", "0001", "--json")
    assert done.status == 0
    assert '"records": 1, "schema": "0001"' in done.out
    assert cli("db", "upgrade").out == f"{URL} is up to date, 1 records\n"


def test_an_unknown_schema_is_refused(cli: Cli) -> None:
    open_database(URL).close()
    done = cli("db", "upgrade", "--to", "7")
    assert done.status == 2
    assert "unknown schema '7'; known: 0001" in done.err
