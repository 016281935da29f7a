"""The real adapter over a terminal in a third process, whose next order hangs when it is told to, holding the interpreter's lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtms.adapters.clocks import TapeClock
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.worker import faulty
from dtms.domain.server_offset import SeenOffset
from dtms_lab.terminal.remote import RemoteTerminal
from dtms_lab.terminal.server_time import eet_new_york_dst


class HangingChild(Mt5Broker):
    """Reads and sends; where the file `hang` stands in the folder, the next order hangs `before` or `after` it is sent."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        super().__init__(
            RemoteTerminal(self._folder / "t.address"),
            expected_login=None,
            expected_server=None,
            magic=7,
            clock=TapeClock(self._folder / "clock.json").market_now,
        )
        now = TapeClock(self._folder / "clock.json").market_now()
        self.recall_offset(SeenOffset(ahead=eet_new_york_dst(now), at=now))
        self._sender = Mt5Sender(self)

    def send(self, *args: Any, **named: Any) -> Any:
        word = self._armed()
        if word == "before":
            faulty.hang()
        receipt = self._sender.send(*args, **named)
        if word == "after":
            faulty.hang()
        return receipt

    def _armed(self) -> str:
        path = self._folder / "hang"
        if not path.exists():
            return ""
        word = path.read_text(encoding="ascii")
        path.unlink()
        return word
