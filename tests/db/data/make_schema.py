"""Makes ``schema_NNNN.sqlite``: rows of the first schema in plain SQL, migrated to the newest one.

`python tests/db/data/make_schema.py NNNN` is run once, when the schema is new.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from metasched_db.schema import migrate
from metasched_db.session import Sessions

FIELDS = (
    '{"kind": "cpu", "arch": "x86_64", "model": "Example CPU", "features": ["avx2", "fma"],'
    ' "cores": 2, "vector_bits": 256, "vector_registers": 16, "l1_bytes": 32768,'
    ' "l2_bytes": 1048576, "l3_bytes": 33554432, "line_bytes": 64, "toolchain": "gcc 12.2.0"}'
)
EVIDENCE = '{"reference_hash": "r", "seed": 7, "tolerance": 0.0001, "max_error": 0}'
TIME = "2024-05-17 12:30:01.250001"


def _rows(connection: sqlite3.Connection) -> None:
    key = "5dd452776a0a0185"
    connection.execute("INSERT INTO workloads VALUES (1, ?, 'matmul', 'def matmul')", ("a" * 64,))
    connection.execute("INSERT INTO targets VALUES (1, ?, 'cpu', ?)", (key, FIELDS))
    connection.execute(
        "INSERT INTO jobs VALUES ('job', ?, NULL, '{\"trials\": 3}', 'running')", (TIME,)
    )
    insert = "INSERT INTO records VALUES (?, 1, 1, 'job', ?, '[]', ?, ?, ?, ?, ?, '{}', 's', ?, 1)"
    rows = (
        (1, "slow", "ok", "", 0.0025, "[0.003, 0.002, 0.0025]", EVIDENCE, TIME),
        (2, "fast", "ok", "", 0.001, "[0.001]", EVIDENCE, TIME),
        (3, "wrong", "wrong_result", "element 3 differs", None, "[]", "{}", TIME),
    )
    connection.executemany(insert, rows)


def main(revision: str) -> None:
    """Write the file."""
    path = Path(__file__).parent / f"schema_{revision}.sqlite"
    if path.exists():
        raise SystemExit(f"{path} is there already, and a stored database is never made again")
    sessions = Sessions(f"sqlite:///{path}")
    sessions.write(lambda connection: migrate(connection, "0001"))
    sessions.close()
    connection = sqlite3.connect(path)
    with connection:
        _rows(connection)
    connection.close()
    sessions = Sessions(f"sqlite:///{path}")
    sessions.write(lambda connection: migrate(connection, revision))
    sessions.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
