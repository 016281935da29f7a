"""This folder's helpers made importable whoever starts pytest, and a whole system on a machine whose clocks misbehave."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.time.machine import TimeRig


@pytest.fixture
def rig() -> TimeRig:
    return TimeRig()
