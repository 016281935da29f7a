"""A file of results, a line a seed, so that a drill of hours can be stopped and gone on with.

A line that was cut off by a crash is left out: its seed runs again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import msgspec

from dtms.errors import SettingsError
from dtms_lab.drill.run import SeedResult

SQLITE: Final = "sqlite"
"""The ledger in memory that a drill uses unless it is told of a server."""


class _Head(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The first line: results of other steps, of another commit or on another ledger say nothing about this one."""

    commit: str
    steps: int
    ledger: str = SQLITE

    def __str__(self) -> str:
        return f"commit {self.commit} with {self.steps} steps on {self.ledger}"


def read_portions(path: Path, *, commit: str, steps: int, ledger: str = SQLITE) -> dict[int, SeedResult]:
    """Return the results that stand in a file, by seed; nothing where there is no file yet.

    Raises:
        SettingsError: It holds results of another commit, of other steps or on another ledger, or is no such file.
    """
    if not path.exists():
        return {}
    lines = path.read_bytes().splitlines()
    if not lines:
        return {}
    try:
        head = msgspec.json.decode(lines[0], type=_Head)
    except msgspec.DecodeError as error:
        msg = f"--resume {path} holds no results of a drill; name another file"
        raise SettingsError(msg) from error
    here = _Head(commit=commit, steps=steps, ledger=ledger)
    if head != here:
        msg = f"--resume {path} holds results of {head}, this is {here}; name another file"
        raise SettingsError(msg)
    return {result.seed: result for result in _results(lines[1:])}


def _results(lines: list[bytes]) -> Iterator[SeedResult]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=SeedResult)
        except msgspec.DecodeError:
            continue


@contextmanager
def appending(path: Path, *, commit: str, steps: int, ledger: str = SQLITE) -> Iterator[TextIO]:
    """Open a file for more results; a new one is given its first line."""
    fresh = not path.exists() or path.stat().st_size == 0
    with path.open("a", encoding="utf-8", buffering=1) as file:
        if fresh:
            file.write(msgspec.json.encode(_Head(commit=commit, steps=steps, ledger=ledger)).decode() + "\n")
        else:
            file.write("\n")  # after a line that was cut off
        yield file


def append(file: TextIO, result: SeedResult) -> None:
    """Write one result down."""
    file.write(msgspec.json.encode(result).decode() + "\n")
