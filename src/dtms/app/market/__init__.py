"""Quotes, bars and closures of each symbol, and what the risk limits ask of the account."""
