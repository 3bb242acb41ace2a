from __future__ import annotations

from metasched_db import open_sql
from metasched_db.session import Sessions
from sqlalchemy import text

from metasched.measure.records import Status
from metasched.testing.database_records import (
    MATMUL,
    SOFTMAX,
    make_failure,
    make_record,
    make_target,
)


def test_the_views_answer_plain_sql(any_url: str) -> None:
    """Best per workload, progress over time and failures by cause."""
    with open_sql(any_url) as database:
        job = database.start_job({})
        database.put_many(make_record(index, job_id=job.id) for index in (3, 1, 2))
        database.put(make_record(0, workload=SOFTMAX, target=make_target(cores=99)))
        database.put(make_record(0, evidence={}))
        for index in (5, 6):
            failure = make_failure(index, Status.BUILD_ERROR, message="no register left")
            database.put(failure)
    sessions = Sessions(any_url)

    def rows(query: str) -> list[tuple[object, ...]]:
        return sessions.read(lambda c: [tuple(row) for row in c.execute(text(query))])

    assert rows("SELECT workload, time_s FROM best_records ORDER BY workload") == [
        ("matmul", 0.002),
        ("softmax", 0.001),
    ]
    steps = "SELECT trial, time_s, best_s FROM progress WHERE job_id IS NOT NULL ORDER BY trial"
    assert rows(steps) == [(1, 0.002, 0.002), (2, 0.003, 0.002), (3, 0.004, 0.002)]
    assert rows("SELECT workload, status, cause, records FROM failures") == [
        ("matmul", "build_error", "no register left", 2)
    ]
    assert rows(f"SELECT count(*) FROM progress WHERE workload_hash = '{MATMUL.hash}'") == [(6,)]
    sessions.close()
