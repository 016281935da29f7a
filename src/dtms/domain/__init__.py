"""Frozen values that cannot be wrong; they know nothing but each other."""
