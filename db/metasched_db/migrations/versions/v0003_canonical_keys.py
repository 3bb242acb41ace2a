"""Canonical workload keys with their spellings, trust, provenance, and views.

Workloads were found by a hash to which the order of inputs and the spelling of indices counted.
They get the hash of their canonical form; workloads that are one now are joined, and each record
keeps the spelling that its trace replays on. The way back gives each spelling its own workload.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic import op
from metasched_db.migrations.views_0003 import create_views, drop_views

from metasched.database.equality import loose_keys
from metasched.database.spelling import hash_of_text, parsed
from metasched.ir.hash import structural_hash

revision = "0003"
down_revision = "0002"

_FREE_HASHES = "UPDATE workloads SET hash = 'row ' || id"
"""The new hash of one workload may be the old one of another."""


def _record_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("trust", sa.Text(), nullable=False, server_default="unverified"),
        sa.Column("trust_note", sa.Text(), nullable=False, server_default=""),
        sa.Column("verified_at", sa.DateTime(), nullable=True),
        sa.Column("sources", sa.Text(), nullable=False, server_default="{}"),
    )


def upgrade() -> None:
    """Add tables, columns and views, then give every workload its new hash."""
    op.create_table(
        "variants",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_variants"),
        sa.UniqueConstraint("digest", name="uq_variants_digest"),
    )
    op.create_table(
        "workload_keys",
        sa.Column("workload_id", sa.Integer(), nullable=False),
        sa.Column("equality", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workload_id", "equality", name="pk_workload_keys"),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_workload_keys_workload_id"
        ),
    )
    op.create_index("ix_workload_keys_key", "workload_keys", ["key"])
    for column in _record_columns():
        op.add_column("records", column)
    _rehash()
    create_views(op.get_bind())


def downgrade() -> None:
    """Give every spelling a workload of its own, then drop what this schema added."""
    connection = op.get_bind()
    drop_views(connection)
    _split()
    for column in reversed(_record_columns()):
        op.drop_column("records", column.name)
    op.drop_table("workload_keys")
    op.drop_table("variants")


def _rehash() -> None:
    kept: dict[str, int] = {}
    rows = _rows("SELECT id, hash, name, text FROM workloads ORDER BY id")
    _run(_FREE_HASHES)
    for row in rows:
        new = hash_of_text(row.text) or row.hash
        if new in kept:
            _join(row, new, kept[new])
            continue
        kept[new] = row.id
        _run("UPDATE workloads SET hash = :hash WHERE id = :id", hash=new, id=row.id)
        for equality, key in loose_keys(row.text).items():
            _run(
                "INSERT INTO workload_keys (workload_id, equality, key) VALUES (:id, :equality,"
                " :key)",
                id=row.id, equality=str(equality), key=key,
            )  # fmt: skip


def _join(row: Any, workload_hash: str, into: int) -> None:
    """Move the records of a workload to the one that it is another spelling of."""
    digest = sha256(f"{workload_hash}\0{row.name}\0{row.text}".encode()).hexdigest()
    _run(
        "INSERT INTO variants (digest, name, text) VALUES (:digest, :name, :text)",
        digest=digest, name=row.name, text=row.text,
    )  # fmt: skip
    _run(
        "DELETE FROM records WHERE workload_id = :id AND EXISTS (SELECT 1 FROM records o WHERE"
        " o.workload_id = :into AND o.target_id = records.target_id"
        " AND o.program_hash = records.program_hash)",
        id=row.id, into=into,
    )  # fmt: skip
    _run(
        "UPDATE records SET workload_id = :into,"
        " variant_id = (SELECT id FROM variants WHERE digest = :digest) WHERE workload_id = :id",
        into=into, digest=digest, id=row.id,
    )  # fmt: skip
    _run("DELETE FROM workloads WHERE id = :id", id=row.id)


def _split() -> None:
    rows = _rows("SELECT id, hash, text FROM workloads ORDER BY id")
    _run(_FREE_HASHES)
    for row in rows:
        _run(
            "UPDATE workloads SET hash = :hash WHERE id = :id",
            hash=_old_hash(row.text, row.hash), id=row.id,
        )  # fmt: skip
    for row in _rows("SELECT id, digest, name, text FROM variants ORDER BY id"):
        old = _old_hash(row.text, row.digest)
        found = _rows("SELECT id FROM workloads WHERE hash = :hash", hash=old)
        if not found:
            _run(
                "INSERT INTO workloads (hash, name, text) VALUES (:hash, :name, :text)",
                hash=old, name=row.name, text=row.text,
            )  # fmt: skip
            found = _rows("SELECT id FROM workloads WHERE hash = :hash", hash=old)
        _run(
            "UPDATE records SET workload_id = :workload WHERE variant_id = :id",
            workload=found[0].id, id=row.id,
        )  # fmt: skip


def _old_hash(text: str, otherwise: str) -> str:
    program = parsed(text)
    return otherwise if program is None else structural_hash(program)


def _rows(query: str, **values: object) -> list[Any]:
    return list(op.get_bind().execute(sa.text(query), values))


def _run(query: str, **values: object) -> None:
    op.get_bind().execute(sa.text(query), values)
