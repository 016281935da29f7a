"""This folder's helpers made importable whoever starts pytest, and a fresh broker for each test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.app.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()
