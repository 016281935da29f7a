"""What a run over a tape leaves for its report: every verdict, and what the exit manager counted.

The ledger holds what was done; a report also counts what was only considered. The files stand in the run's data folder and
are appended to, so that a killed process loses no more than the line that it was writing. Without a tape nothing is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from dtms.adapters.sql.codec import Codec
from dtms.app.exits.manager import ExitStats
from dtms.domain.score import MarketView
from dtms.domain.verdict import Verdict
from dtms.errors import InvalidDataError
from dtms.platforms.files import read_at
from dtms.private_files import open_to_append
from dtms.settings import Settings

SAMPLE_EVERY_S: Final = 0.25

_VERDICTS: Final = Codec[Verdict](Verdict, "verdict")

_log = structlog.get_logger("dtms.run_log")


class _Lines:
    """Appends lines to a file; a disk that fails costs the report, never a decision."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = open_to_append(path)
        size = os.fstat(self._fd).st_size
        if size > 0 and read_at(self._fd, 1, size - 1) != b"\n":
            self.add("")  # the last process was killed inside of a line: it ends here, and the reader leaves it out

    def add(self, text: str) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, f"{text}\n".encode())
        except OSError as error:
            _log.error("the run's log cannot be written any more", error=repr(error))
            os.close(self._fd)
            self._fd = None


class VerdictLog:
    """The DTMS server's decisions."""

    def __init__(self, settings: Settings) -> None:
        self._lines = None if settings.clock_file is None else _Lines(_verdicts_path(settings.data_dir))

    def on_verdict(self, verdict: Verdict, _view: MarketView | None) -> None:
        """Take a decision."""
        if self._lines is not None:
            self._lines.add(_VERDICTS.dump(verdict))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitCounts:
    """What the exit manager counted, over all its processes."""

    deferrals: int = 0
    fallbacks: int = 0
    refusals: int = 0


class ExitLog:
    """The exit manager's counters as they grow; each line is one process's state, so that a kill loses little."""

    def __init__(self, settings: Settings, stats: Callable[[], ExitStats]) -> None:
        self._lines = None if settings.clock_file is None else _Lines(_exits_path(settings.data_dir))
        self._stats = stats
        self._told = ""

    def sample(self) -> None:
        """Write the counters where they have changed."""
        stats = self._stats()
        told = json.dumps(
            {
                "process": os.getpid(),
                "deferrals": stats.deferrals,
                "fallbacks": stats.fallbacks,
                "refusals": stats.refusals,
            }
        )
        if self._lines is not None and told != self._told:
            self._told = told
            self._lines.add(told)


def read_verdicts(data_dir: Path) -> tuple[Verdict, ...]:
    """Return the verdicts of a run, in the order in which they fell."""
    found = []
    for line in _read(_verdicts_path(data_dir)):
        try:
            found.append(_VERDICTS.load(line))
        except InvalidDataError as error:
            _log.warning("a line of the run's log is left out", error=repr(error))
    return tuple(found)


def read_exit_counts(data_dir: Path) -> ExitCounts:
    """Return what the exit manager of a run counted: the last line of each of its processes, summed."""
    last: dict[int, dict[str, int]] = {}
    for line in _read(_exits_path(data_dir)):
        try:
            told = json.loads(line)
        except json.JSONDecodeError as error:
            _log.warning("a line of the run's log is left out", error=repr(error))
            continue
        last[told["process"]] = told
    return ExitCounts(
        deferrals=sum(told["deferrals"] for told in last.values()),
        fallbacks=sum(told["fallbacks"] for told in last.values()),
        refusals=sum(told["refusals"] for told in last.values()),
    )


def _verdicts_path(data_dir: Path) -> Path:
    return data_dir / "verdicts.jsonl"


def _exits_path(data_dir: Path) -> Path:
    return data_dir / "exits.jsonl"


def _read(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line]
