"""`terminal_faults/test_faults_through_the_executor` on PostgreSQL: the same tests."""

from __future__ import annotations

from tests.terminal_faults.test_faults_through_the_executor import *  # noqa: F403 - every test of it, also those that are written later
