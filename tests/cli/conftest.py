"""Runs `dtms` in this process: what it prints, and how it ends."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from dtms.cli.main import main
from dtms.platforms.processes import ENDING_SIGNALS
from dtms_lab.tapes.tape import write_tape
from dtms_lab.tapes.weather import make_tape

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the helpers of other folders


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout."""
        answer: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return answer


Command = Callable[..., Ended]


@pytest.fixture
def dtms(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Command]:
    """Run one command in a fresh folder; no setting of the machine leaks in."""
    for name in ("DTMS_DATA_DIR", "DTMS_CONFIG", "DTMS_BROKER", "DTMS_CLOCK_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    signals = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    handlers = list(logging.getLogger().handlers)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dtms", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    yield run
    # A command is a process: what it sets up for itself must not outlive it here.
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    for number, handler in signals.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def weather_tape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two days of generated weather."""
    path = tmp_path_factory.mktemp("tapes") / "XAUUSD_weather.csv"
    write_tape(make_tape(3, 2), path)
    yield path
    path.unlink()
