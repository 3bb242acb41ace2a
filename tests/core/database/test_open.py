from __future__ import annotations

import subprocess
import sys

import pytest

from metasched.database import Database, MemoryDatabase, open_database
from metasched.errors import UsageError


def test_memory() -> None:
    with Database("memory:") as database:
        assert isinstance(database, MemoryDatabase)
        assert open_database(database) is database


def test_a_url_without_scheme_is_refused_with_the_right_spelling() -> None:
    with pytest.raises(UsageError, match=r"'tuning\.db' is no URL; .* 'sqlite:///tuning.db'"):
        open_database("tuning.db")


def test_an_unknown_scheme_is_refused_with_the_closest() -> None:
    with pytest.raises(UsageError, match="unknown database scheme 'sqlit'; did you mean 'sqlite'"):
        open_database("sqlit:///tuning.db")
    with pytest.raises(UsageError, match="unknown database scheme 'ftp'; known: memory, postgres"):
        open_database("ftp://host/x")


def test_the_core_does_not_import_sqlalchemy() -> None:
    code = "import sys, metasched.database as d; d.open_database('memory:'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "alembic", "metasched_db", "xgboost"} & set(done.stdout.split())
