"""Whose ledger a database holds, told without changing a byte of it: for commands that look and are told no account."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dtms.adapters.sql.schema import SCHEMA
from dtms.adapters.sql.statements import IDENTITY
from dtms.errors import LedgerUnavailableError, SettingsError


def account_of(url: str) -> str:
    """Return the key of the account that a ledger belongs to.

    Raises:
        SettingsError: There is no ledger, or its schema is not this program's.
        LedgerUnavailableError: The database cannot be reached or read.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        msg = "the ledger's URL cannot be read; see ledger_url of the settings"  # it may hold a password
        raise SettingsError(msg) from error
    name = f"ledger {parsed.database}"
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not path.is_file():
            msg = f"{name} does not exist; set DTMS_DATA_DIR or DTMS_LEDGER_URL to the ledger to look at"
            raise SettingsError(msg)
        parsed = parsed.set(database=f"file:{path.absolute()}", query={"mode": "ro", "uri": "true"})
    elif parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    try:
        with engine.connect() as connection:
            rows = [(str(row[0]), int(row[1])) for row in connection.execute(IDENTITY)]
    except SQLAlchemyError as error:
        msg = f"{name} cannot be read as a ledger ({error.__class__.__name__}); name a ledger, or restore it from a backup"
        raise LedgerUnavailableError(msg) from error
    finally:
        engine.dispose()
    if len(rows) != 1:
        msg = f"{name} holds {len(rows)} meta rows instead of one; restore it from a backup"
        raise SettingsError(msg)
    account, schema = rows[0]
    if schema != SCHEMA:
        msg = f"{name} has schema {schema}, this program {SCHEMA}; look at it with the dtms that wrote it"
        raise SettingsError(msg)
    return account
