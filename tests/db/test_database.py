"""SQLite and PostgreSQL pass the contract; `conftest` finds or starts a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from metasched.testing.database_contract import SharedDatabaseContract


class TestSqlite(SharedDatabaseContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'tuning.db'}"


class TestPostgres(SharedDatabaseContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
