"""The locks serve a fresh machine: what a locked distribution asks for stands in them as it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.lock import LOCKS, PLATFORMS, lines_of, missing_extras

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("lock", LOCKS, ids=str)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_lock_holds_every_extra_that_is_asked_for(lock: Path, platform: str) -> None:
    lines = lines_of((_ROOT / lock).read_text(encoding="utf-8"))

    assert list(missing_extras(lines, platform)) == []


def test_a_lock_without_an_extra_that_is_asked_for_is_refused() -> None:
    lines = lines_of("pytest-cov==7.1.0 \\\n    --hash=sha256:00\ncoverage==7.17.3 \\\n    --hash=sha256:00\n")

    assert list(missing_extras(lines, "linux")) == [
        "pytest-cov asks for coverage[toml] on linux; compile with: make lock"
    ]


def test_the_same_lock_with_the_extra_is_taken() -> None:
    assert list(missing_extras(lines_of("pytest-cov==7.1.0\ncoverage[toml]==7.17.3\n"), "linux")) == []


@pytest.mark.parametrize("lock", LOCKS, ids=str)
def test_what_windows_cannot_install_is_marked_so_in_each_lock(lock: Path) -> None:
    lines = {line.name: line for line in lines_of((_ROOT / lock).read_text(encoding="utf-8"))}

    assert lines["uvloop"].holds_on("linux")
    assert not lines["uvloop"].holds_on("win32")
    assert lines["colorama"].holds_on("win32")
    assert not lines["colorama"].holds_on("linux")
