"""The recorded tapes as bars, read once; and this folder's helpers made importable whoever starts pytest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.core_score.tapes import RECORDED, recorded_bars

from dtms.domain.market import Bar


@pytest.fixture(scope="session")
def tapes(shared_data: Path) -> dict[str, tuple[Bar, ...]]:
    return {name: recorded_bars(shared_data, name) for name in RECORDED}
