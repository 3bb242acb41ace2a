"""The reference implementation passes the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metasched.database import AbstractDatabase, open_database
from metasched.testing.database_contract import DatabaseContract


class TestMemoryDatabase(DatabaseContract):
    @pytest.fixture
    def database(self) -> Iterator[AbstractDatabase]:
        with open_database("memory:") as database:
            yield database
