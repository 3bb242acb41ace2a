"""The views of schema 0003, for people with an SQL client.

They are never changed: a later schema drops them and has a module of its own.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

VIEWS = {
    "best_records": """
        SELECT workload, workload_hash, target_kind, target_key, record_id, time_s, samples_s,
            trust, job_id, created_at
        FROM (
            SELECT w.name AS workload, w.hash AS workload_hash, t.kind AS target_kind,
                t.key AS target_key, r.id AS record_id, r.time_s AS time_s,
                r.samples_s AS samples_s, r.trust AS trust, r.job_id AS job_id,
                r.created_at AS created_at,
                row_number() OVER (
                    PARTITION BY r.workload_id, r.target_id ORDER BY r.time_s, r.id
                ) AS place
            FROM records r
            JOIN workloads w ON w.id = r.workload_id
            JOIN targets t ON t.id = r.target_id
            WHERE r.status = 'ok' AND r.time_s IS NOT NULL
        ) AS ranked
        WHERE place = 1
    """,
    "progress": """
        SELECT r.job_id AS job_id, w.name AS workload, w.hash AS workload_hash,
            t.key AS target_key, r.id AS record_id, r.created_at AS created_at,
            r.status AS status, r.time_s AS time_s,
            row_number() OVER candidates AS trial,
            min(r.time_s) OVER candidates AS best_s
        FROM records r
        JOIN workloads w ON w.id = r.workload_id
        JOIN targets t ON t.id = r.target_id
        WINDOW candidates AS (
            PARTITION BY r.job_id, r.workload_id, r.target_id ORDER BY r.created_at, r.id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    """,
    "failures": """
        SELECT w.name AS workload, w.hash AS workload_hash, t.key AS target_key,
            r.status AS status, substr(r.message, 1, 120) AS cause, count(*) AS records,
            min(r.created_at) AS first_at, max(r.created_at) AS last_at
        FROM records r
        JOIN workloads w ON w.id = r.workload_id
        JOIN targets t ON t.id = r.target_id
        WHERE r.status <> 'ok'
        GROUP BY w.name, w.hash, t.key, r.status, substr(r.message, 1, 120)
    """,
}


def create_views(connection: Connection) -> None:
    """Create all views."""
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {' '.join(query.split())}"))


def drop_views(connection: Connection) -> None:
    """Drop all views."""
    for name in VIEWS:
        connection.execute(text(f"DROP VIEW {name}"))
