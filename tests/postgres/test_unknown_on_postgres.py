"""`app/test_unknown` on PostgreSQL: the same tests."""

from __future__ import annotations

from tests.app.test_unknown import *  # noqa: F403 - every test of it, also those that are written later
