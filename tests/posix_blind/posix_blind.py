"""The plugin of a POSIX-blind run (`-p posix_blind`): it says so, and refuses to run with eyes open."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def _ours() -> list[str]:
    return list(getattr(sys.modules.get("sitecustomize"), "OURS", ()))


def pytest_report_header() -> str:
    """Say that dtms is blind, and where it was found."""
    return f"POSIX-blind: {', '.join(_ours())}"


def pytest_configure() -> None:
    """Make sure that this process is blind, and that those which dtms starts will be."""
    if not _ours() or str(Path(__file__).parent) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        raise pytest.UsageError("set PYTHONPATH=src:.:tests/posix_blind, as whole paths, before Python starts")
