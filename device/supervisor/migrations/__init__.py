"""Alembic's environment for the supervisor's tables; `database.migrate` runs it with a connection of its own."""
