"""`app/test_gateway` on PostgreSQL: the same tests."""

from __future__ import annotations

from tests.app.test_gateway import *  # noqa: F403 - every test of it, also those that are written later
