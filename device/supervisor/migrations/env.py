"""Run by Alembic: the connection comes from `database.migrate`, in whose transaction all of it happens."""

from __future__ import annotations

from alembic import context

from device.supervisor.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a column only by copying its table
    compare_type=True,
)
context.run_migrations()
