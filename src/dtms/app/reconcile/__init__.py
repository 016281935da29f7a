"""Broker against ledger: one whole view, where each position comes from, and what has no record."""
