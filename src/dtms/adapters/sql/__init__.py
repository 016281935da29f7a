"""The ledger on SQLite or PostgreSQL: the journal of intentions, the trades, and everything that must survive a crash."""

from __future__ import annotations

from dtms.adapters.sql.ledger import SqlLedger, verify_chain
from dtms.adapters.sql.opening import open_ledger

__all__ = ["SqlLedger", "open_ledger", "verify_chain"]
