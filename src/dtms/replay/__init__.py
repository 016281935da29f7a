"""Tapes in, verdicts out: the market-weather generator, what-if and sweeps, reports."""
