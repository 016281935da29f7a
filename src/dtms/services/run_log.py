"""What a run over a tape leaves for its report: every verdict, deferral and refusal, one JSON line each.

The ledger holds what was done; a report also counts what was only considered. The files stand in the run's data folder and
are appended to, so that a killed process loses no more than the line that it was writing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import structlog

from dtms.adapters.sql.codec import Codec
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade
from dtms.domain.verdict import Refusal, Verdict
from dtms.errors import InvalidDataError
from dtms.settings import Settings

T = TypeVar("T")

_VERDICTS: Final = Codec[Verdict](Verdict, "verdict")
_REFUSALS: Final = Codec[Refusal](Refusal, "refusal")
_DEFERRAL: Final = "deferral"
_FALLBACK: Final = "fallback"

_log = structlog.get_logger("dtms.run_log")


def verdicts_path(data_dir: Path) -> Path:
    """Return where the DTMS server of a run writes."""
    return data_dir / "verdicts.jsonl"


def exits_path(data_dir: Path) -> Path:
    """Return where the exit manager of a run writes."""
    return data_dir / "exits.jsonl"


class _Lines:
    """Appends lines to a file; a disk that fails costs the report, never a decision."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._fd).st_size
        if size > 0 and os.pread(self._fd, 1, size - 1) != b"\n":
            self.add("")  # the last process was killed inside of a line: it ends here, and is left out by the reader

    def add(self, text: str) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, f"{text}\n".encode())
        except OSError as error:
            _log.error("the run's log cannot be written any more", error=repr(error))
            os.close(self._fd)
            self._fd = None


class RunLog:
    """The log of one process; without a tape it writes nothing."""

    def __init__(self, path: Path | None) -> None:
        self._lines = None if path is None else _Lines(path)

    def on_verdict(self, verdict: Verdict, _view: MarketView | None) -> None:
        """Take a decision of the defence."""
        self._add(lambda: _VERDICTS.dump(verdict))

    def on_deferral(self, _trade: Trade) -> None:
        """Take a cycle in which the exit manager left a trade alone."""
        self._add(lambda: _DEFERRAL)

    def on_refusal(self, refusal: Refusal) -> None:
        """Take an exit that the arbiter refused."""
        self._add(lambda: _REFUSALS.dump(refusal))

    def on_fallback(self) -> None:
        """Take an answer of the exit manager's client that was the default because nothing was known."""
        self._add(lambda: _FALLBACK)

    def _add(self, line: Callable[[], str]) -> None:
        if self._lines is None:
            return
        try:
            self._lines.add(line())
        except InvalidDataError as error:
            _log.error("the run's log cannot hold this", error=repr(error))


def log_of(settings: Settings, path: Callable[[Path], Path]) -> RunLog:
    """Return the log of a process: on a tape in the data folder, else none."""
    return RunLog(None if settings.clock_file is None else path(settings.data_dir))


def read_verdicts(data_dir: Path) -> tuple[Verdict, ...]:
    """Return the verdicts of a run, in the order in which they fell."""
    return tuple(_decoded(_VERDICTS, _read(verdicts_path(data_dir))))


def read_refusals(data_dir: Path) -> tuple[Refusal, ...]:
    """Return the exits of a run that the arbiter refused."""
    return tuple(_decoded(_REFUSALS, _read(exits_path(data_dir))))


def count_deferrals(data_dir: Path) -> int:
    """Return how often the exit manager left a trade alone."""
    return _read(exits_path(data_dir)).count(_DEFERRAL)


def count_fallbacks(data_dir: Path) -> int:
    """Return how often the exit manager knew nothing of the defence's state."""
    return _read(exits_path(data_dir)).count(_FALLBACK)


def _read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _decoded(codec: Codec[T], lines: Iterable[str]) -> Iterator[T]:
    """Yield what the lines hold; words are of another kind, and a line that a kill cut off is none."""
    for line in lines:
        if line.startswith("{"):
            try:
                yield codec.load(line)
            except InvalidDataError as error:
                _log.warning("a line of the run's log is left out", error=repr(error))
