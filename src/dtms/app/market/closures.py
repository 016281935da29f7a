"""Which markets the broker shows as closed: the gateway learns it from answers and quotes, the ledger tells everybody.

A restart forgets nothing: an order that was answered "market closed" is not tried again by each new gateway.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from dtms.domain.closure import Closure, Span, first_refusal
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.units import DAY, SECOND, Millis
from dtms.errors import BrokerError, LedgerUnavailableError, MarketDataError
from dtms.ports.broker import BrokerReads
from dtms.ports.ledger import Ledger, LedgerRead
from dtms.ports.notifier import AlertKind, Notifier

FACT: Final = "closures"
_KEPT: Final = 14 * DAY
_LOOK_EVERY: Final = SECOND


@dataclass(slots=True, kw_only=True)
class Closures:
    """What one gateway has learnt of its account's markets."""

    ledger: Ledger
    reads: BrokerReads
    notifier: Notifier
    _known: dict[str, tuple[Closure, ...]] | None = None
    _looked_at: Millis = field(default=Millis(0))

    def present(self, symbol: str) -> Closure | None:
        """Return the newest closure of a symbol, over or not; None where there was none.

        Raises:
            LedgerError: What was learnt before a restart cannot be read; nothing may be sent before it was.
        """
        return next(reversed(self._all().get(symbol, ())), None)

    def spans(self, symbol: str) -> tuple[Span, ...]:
        """Return the closed stretches of a symbol, oldest first."""
        return spans_of(self._all().get(symbol, ()))

    def look(self, now: Millis) -> None:
        """Look, each second at most, whether quotes of a closed market move again; call a person where it lasts.

        Raises:
            LedgerError: It cannot be read or written.
        """
        if 0 <= now - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = now
        for symbol in tuple(self._all()):
            closure = self.present(symbol)
            if closure is None or closure.ended_at is not None:
                continue
            if closure.is_news(now):
                closure = replace(closure, told_at=now)
                self._put(closure, now)
                detail = (
                    f"the broker says that the market of {symbol} is closed: its orders wait until quotes move again"
                )
                self.notifier.alert(AlertKind.PARKED, symbol, f"{detail}; stops at the broker hold")
            tick_at = None if closure.moved_at is not None else self._tick_at(symbol)
            if tick_at is not None and closure.moves(tick_at):
                self._put(replace(closure, moved_at=now), now)

    def answered(self, symbol: str, receipt: Receipt, now: Millis, *, waits: bool) -> None:
        """Take note of the broker's answer to an order; one that `waits` for no market tells nothing new by its refusal.

        Raises:
            LedgerError: It cannot be written down; this gateway remembers it all the same.
        """
        present = self.present(symbol)
        if receipt.code != 0 and self._is_closed(receipt.rejection):
            if not waits and present is not None and present.holds(now):
                return
            tick_at = self._tick_at(symbol)
            if present is not None and present.is_one_with(now):
                self._put(present.refused(now, tick_at), now)
            else:
                self._put(first_refusal(symbol, now, tick_at), now)
        elif (
            receipt.code != 0
            and receipt.outcome in (Outcome.APPLIED, Outcome.PARTIAL)
            and present is not None
            and present.ended_at is None
        ):
            self._put(replace(present, ended_at=now), now)

    def _is_closed(self, rejection: Rejection | None) -> bool:
        """Say whether an answer is about the symbol alone: one that may not be traded while its account may is closed."""
        if rejection is not Rejection.TRADE_DISABLED:
            return rejection is Rejection.MARKET_CLOSED
        try:
            return self.reads.account().trade_allowed
        except BrokerError:
            return False

    def _tick_at(self, symbol: str) -> Millis | None:
        try:
            return self.reads.quote(symbol).at
        except (BrokerError, MarketDataError):
            return None

    def _all(self) -> dict[str, tuple[Closure, ...]]:
        if self._known is None:
            with self.ledger.read() as tx:
                self._known = _by_symbol(read_closures(tx))
        return self._known

    def _put(self, closure: Closure, now: Millis) -> None:
        known = self._all()
        others = tuple(
            each
            for each in known.get(closure.symbol, ())
            if each.since != closure.since and now - (each.ended_at or each.refused_at) < _KEPT
        )
        known[closure.symbol] = (*others, closure)
        with self.ledger.write() as tx:
            tx.set_fact(FACT, _encode(each for symbol in sorted(known) for each in known[symbol]))


def read_closures(tx: LedgerRead) -> tuple[Closure, ...]:
    """Return what the ledger holds of closed markets, of each symbol the oldest first.

    Raises:
        LedgerUnavailableError: It is not as the gateway writes it.
    """
    return decode_closures(tx.fact(FACT))


@lru_cache(maxsize=8)
def decode_closures(text: str | None) -> tuple[Closure, ...]:
    """Return the closures of a fact: asked for with each change of the ledger, and nearly always the same as before.

    Raises:
        LedgerUnavailableError: It is not as the gateway writes it.
    """
    if text is None:
        return ()
    try:
        return tuple(_decoded(each) for each in json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        msg = f"the ledger's fact {FACT!r} holds {text[:80]!r}, which cannot be read; restore the ledger from a backup"
        raise LedgerUnavailableError(msg) from error


def spans_of(closures: Iterable[Closure]) -> tuple[Span, ...]:
    """Return the closed stretches of closures of one symbol; they do not overlap, for each begins behind the last one."""
    return tuple(closure.span for closure in closures)


def spans_by_symbol(closures: Iterable[Closure]) -> Mapping[str, tuple[Span, ...]]:
    """Return the closed stretches of each symbol."""
    return {symbol: spans_of(of_symbol) for symbol, of_symbol in _by_symbol(closures).items()}


def _by_symbol(closures: Iterable[Closure]) -> dict[str, tuple[Closure, ...]]:
    found: dict[str, tuple[Closure, ...]] = {}
    for closure in closures:
        found[closure.symbol] = (*found.get(closure.symbol, ()), closure)
    return found


def _encode(closures: Iterable[Closure]) -> str:
    return json.dumps([asdict(closure) for closure in closures])


def _decoded(row: Mapping[str, Any]) -> Closure:
    instants = ("tick_at", "moved_at", "ended_at", "told_at")
    return Closure(
        symbol=str(row["symbol"]),
        since=Millis(int(row["since"])),
        refused_at=Millis(int(row["refused_at"])),
        times=int(row["times"]),
        **{name: None if row[name] is None else Millis(int(row[name])) for name in instants},
    )
