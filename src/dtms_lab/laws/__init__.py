"""The independent checker: what the broker applied, compared with the ledger."""
