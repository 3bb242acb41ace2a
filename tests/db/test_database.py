"""SQLite passes the contract; so does PostgreSQL where `METASCHED_TEST_POSTGRES` names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from metasched.testing.database_contract import SharedDatabaseContract


class TestSqlite(SharedDatabaseContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'tuning.db'}"
