"""A factory as whoever wires writes one: the real MetaTrader 5 adapter over a terminal in a third process."""

from __future__ import annotations

from pathlib import Path

from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import Millis
from dtms_lab.terminal.remote import RemoteTerminal
from dtms_lab.terminal.server_time import eet_new_york_dst


class Mt5Child(Mt5Broker):
    """Reads and sends through one terminal."""

    def __init__(self, address_file: str, now: int) -> None:
        super().__init__(
            RemoteTerminal(Path(address_file)),
            expected_login=None,
            expected_server=None,
            magic=7,
            clock=lambda: Millis(now),
        )
        self.recall_offset(SeenOffset(ahead=eet_new_york_dst(Millis(now)), at=Millis(now)))
        self.send = Mt5Sender(self).send
