"""Dispatch trees for dynamic dimensions, and keys of workloads of any shape."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from metasched.database.equality import Equality, loose_keys

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table of dispatch trees and add the new key of every workload."""
    op.create_table(
        "dispatches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("target_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dispatches"),
        sa.UniqueConstraint("family", "target_key", name="uq_dispatches_family_target_key"),
    )
    connection = op.get_bind()
    equality = str(Equality.ANY_SHAPE)
    connection.execute(
        sa.text("DELETE FROM workload_keys WHERE equality = :equality"), {"equality": equality}
    )
    for row in connection.execute(sa.text("SELECT id, text FROM workloads ORDER BY id")).all():
        key = loose_keys(row.text).get(Equality.ANY_SHAPE)
        if key is not None:
            connection.execute(
                sa.text("INSERT INTO workload_keys VALUES (:id, :equality, :key)"),
                {"id": row.id, "equality": equality, "key": key},
            )


def downgrade() -> None:
    """Drop both."""
    op.execute(sa.text("DELETE FROM workload_keys WHERE equality = 'any-shape'"))
    op.drop_table("dispatches")
