"""The records of a GPU that the docs offer."""

from __future__ import annotations

from pathlib import Path

import pytest

import metasched as ms
from metasched.database import open_database

RECORDS = Path(__file__).parents[3] / "docs" / "data" / "h100.jsonl"


@pytest.mark.parametrize(("size", "dtype"), [(4096, "float16"), (1024, "float32")])
def test_the_records_of_the_docs_are_served(size: int, dtype: str, tmp_path: Path) -> None:
    program = ms.ops.matmul(m=size, n=size, k=size, dtype=dtype, acc_dtype="float32")
    with open_database(f"sqlite:///{tmp_path}/gpu.db") as database:
        assert database.import_(RECORDS) == 60
        (target,) = {record.target for record in database.records()}
        assert target.gpu is not None
        found = database.best(program, target)
    assert found is not None
    assert found.evidence["max_error"] <= found.evidence["tolerance"]  # pyright: ignore
