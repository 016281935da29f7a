"""This folder's helpers made importable whoever starts pytest, and what other folders build their worlds with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.api.conftest import apps, bars, make_world, world
from tests.app.rig import Rig
from tests.up.conftest import weather

__all__ = ["apps", "bars", "make_world", "rig", "weather", "world"]


@pytest.fixture
def rig() -> Rig:
    """A fresh broker with everything on it."""
    return Rig()
