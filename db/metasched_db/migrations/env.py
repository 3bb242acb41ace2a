"""Runs migrations on the connection that `metasched_db.schema.migrate` hands over."""

from __future__ import annotations

from alembic import context

from metasched_db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # The caller's transaction covers all migrations, so a failing one leaves nothing behind.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
