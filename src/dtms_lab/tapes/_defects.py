"""The one way to refuse a tape: which file, which line, why, and what to do about it."""

from __future__ import annotations

from pathlib import Path

from dtms.errors import SettingsError


def defect(path: Path, line: int | None, why: str, remedy: str) -> SettingsError:
    """Return the error for a file, or for one of its lines (counted from 1; a Parquet file's rows likewise)."""
    place = f"{path}" if line is None else f"{path}, line {line}"
    return SettingsError(f"{place}: {why}; {remedy}")
