"""Alembic's entry: always on a connection that is given, never on one of its own."""

from __future__ import annotations

from alembic import context

from dtms.adapters.sql.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
