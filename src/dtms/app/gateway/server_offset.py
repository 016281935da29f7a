"""Keeps how far the trade server's clock is ahead in the ledger: a start in a closed market goes by the last known offset.

It learns nothing itself; the broker's adapter does, from ticks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import structlog

from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import DAY, HOUR, Millis, to_utc
from dtms.errors import BrokerUnavailableError, InvalidDataError
from dtms.ports.broker import OffsetSource
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger

OFFSET_FACT: Final = "server_offset"

_LOOK_EVERY_NS: Final = 5_000_000_000
_WRITE_EVERY: Final = DAY

_log = structlog.get_logger("dtms.gateway")


@dataclass(slots=True, kw_only=True)
class OffsetKeeper:
    """The gateway's memory of its trade server's clock.

    Args:
        ledger: Where the offset that was seen last is kept.
        source: The broker's adapter.
        clock: For the time between two looks.
    """

    ledger: Ledger
    source: OffsetSource
    clock: Clock
    _written: SeenOffset | None = None
    _seen: SeenOffset | None = None
    _looked_ns: int | None = None

    def start(self) -> None:
        """Hand the offset that was seen last to the adapter; one that cannot be read is none.

        Raises:
            BrokerUnavailableError: The broker's process does not answer.
            LedgerError: The ledger cannot be read.
        """
        with self.ledger.read() as tx:
            saved = tx.fact(OFFSET_FACT)
        self._written = None if saved is None else _decoded(saved)
        if self._written is not None:
            self.source.recall_offset(self._written)
        _log.info("server clock", offset=self.words())

    def step(self) -> None:
        """Look every few seconds what the adapter has learnt; write what is news.

        Raises:
            LedgerError: It cannot be written.
        """
        now_ns = self.clock.boot_ns()
        if self._looked_ns is not None and 0 <= now_ns - self._looked_ns < _LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        try:
            seen = self.source.seen_offset()
        except BrokerUnavailableError:
            return  # who needs the broker says so
        if seen is None:
            return
        first, self._seen = self._seen is None, seen
        written = self._written
        if written is None or written.ahead != seen.ahead or not 0 <= seen.at - written.at < _WRITE_EVERY:
            with self.ledger.write() as tx:
                tx.set_fact(OFFSET_FACT, json.dumps({"ahead_ms": seen.ahead, "at": seen.at}))
            self._written = seen
        if first or (written is not None and written.ahead != seen.ahead):
            _log.info("server clock", offset=self.words())

    def words(self) -> str:
        """Return what is known of the server's clock, in a sentence for a person."""
        if self._seen is not None:
            return f"the trade server's clock is {_zone(self._seen.ahead)}, as its quotes show"
        if self._written is not None:
            return (
                f"the trade server's clock is taken for {_zone(self._written.ahead)}, the last known offset, "
                f"of {to_utc(self._written.at):%Y-%m-%d}, until a quote changes"
            )
        return "how far the trade server's clock is ahead is not known until a quote changes; bars wait for that"


def _decoded(saved: str) -> SeenOffset | None:
    try:
        facts = json.loads(saved)
        return SeenOffset(ahead=int(facts["ahead_ms"]), at=Millis(int(facts["at"])))
    except (ValueError, KeyError, TypeError, InvalidDataError):
        _log.warning("the saved offset of the trade server's clock cannot be read and is left out", saved=saved)
        return None


def _zone(ahead: int) -> str:
    minutes = abs(ahead) * 60 // HOUR
    return f"UTC{'-' if ahead < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
