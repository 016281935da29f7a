"""Runs the packaged migrations. Alembic takes a third of a second to import, so this is imported only where needed."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """Return the configuration that ``migrations/env.py`` reads."""
    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection) -> None:
    """Bring a database to the newest schema inside the transaction that the caller has begun: all of it or nothing."""
    command.upgrade(config(connection), "head")
