"""The installation's own ledger, opened by a command beside the services or without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtms.adapters.sql import SqlLedger
    from dtms.settings import Settings


@contextmanager
def own_ledger(settings: Settings) -> Iterator[tuple[SqlLedger, str]]:
    """Open the ledger of the settings, whosever it is; it is neither made nor migrated.

    Yields:
        The ledger, and the key of its account.

    Raises:
        SettingsError: It is of another version, or none.
        LedgerUnavailableError: It cannot be reached or read.
    """
    from dtms.adapters.clocks import wall_ms
    from dtms.adapters.sql import open_ledger
    from dtms.adapters.sql.opening import identity_of
    from dtms.adapters.sql.schema import SCHEMA
    from dtms.errors import SettingsError

    account, schema, _epoch = identity_of(settings.ledger)
    if schema != SCHEMA:  # opening it would migrate it
        msg = f"the ledger of {account} has schema {schema}, this program {SCHEMA}; use the dtms that wrote it"
        raise SettingsError(msg)
    ledger = open_ledger(settings.ledger, account=account, clock=wall_ms, create=False)
    try:
        yield ledger, account
    finally:
        ledger.close()
