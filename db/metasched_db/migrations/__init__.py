"""Alembic migrations, run by `metasched_db.schema`."""
