"""SQLite passes the contract; so does PostgreSQL where ``METASCHED_TEST_POSTGRES`` names a server.

Its value is a URL such as ``postgresql://postgres@/postgres?host=/run/postgresql`` of a role that
may create databases.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from metasched_db.location import check_url
from sqlalchemy import create_engine, text

from metasched.testing.database_contract import SharedDatabaseContract

SERVER = os.environ.get("METASCHED_TEST_POSTGRES", "")


class TestSqlite(SharedDatabaseContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'tuning.db'}"


@pytest.mark.skipif(not SERVER, reason="METASCHED_TEST_POSTGRES names no server")
class TestPostgres(SharedDatabaseContract):
    @pytest.fixture
    def url(self) -> Iterator[str]:
        server, name = check_url(SERVER), f"metasched_{uuid.uuid4().hex}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield server.set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
