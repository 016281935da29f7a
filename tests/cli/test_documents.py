"""What the documents name is there: a page that leads nowhere is worse than none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_SOURCE = _ROOT / "src"
_BASES = (_ROOT, _SOURCE, _SOURCE / "dtms", _SOURCE / "dtms" / "app", _SOURCE / "dtms_lab", _ROOT / "tests")
_PAGES = sorted([*(_ROOT / "docs").rglob("*.md"), _ROOT / "README.md"])
_NAMED = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]*(?:\.py)?)`")


def _is_there(name: str) -> bool:
    return any((base / name).exists() or (base / f"{name}.py").exists() for base in _BASES)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_file_and_folder_that_a_page_names_is_there(page: Path) -> None:
    named = _NAMED.findall(page.read_text(encoding="utf-8"))
    assert [name for name in named if not _is_there(name)] == []


def test_the_architecture_names_files_at_all() -> None:
    named = _NAMED.findall((_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 60
