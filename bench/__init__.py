"""Measurements; never asserted, always printed."""
