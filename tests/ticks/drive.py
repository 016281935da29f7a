"""Recorded ticks under the real exit manager, monitor and gateway on virtual time, with bad ticks planted between them.

What is planted is seen by the services alone, never by the broker's own matching: a spike there would be a real price. The
services have the same passes at the same instants whether anything is planted or not, so that stops may be compared.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tests.app.rig import SYMBOL, T0, Rig, bar

from dtms import bootstrap
from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.market.quotes import QuoteFeed
from dtms.client.wire import Reply, Request
from dtms.domain.exits import ExitState
from dtms.domain.market import Quote
from dtms.domain.policy.exits import ExitProfile
from dtms.domain.score import MarketView
from dtms.domain.units import SECOND, Millis, Side
from dtms.errors import InvalidDataError
from dtms_lab.terminal.recorder import AppliedKind

ATR = 1.2
"""Of these days' M15 bars."""

Bad = Quote | InvalidDataError

Plant = Callable[[random.Random, Quote, Quote], tuple[Bad, ...]]
"""From dice, the present tick and the last one that was seen: what to plant."""

_GAP = 5_000
"""A silence after which a quote is stale on a feed as quick as this one."""


def recorded(folder: Path, first: int, count: int) -> list[Quote]:
    """Return recorded ticks as if they had begun at the rig's first instant."""
    quotes = []
    with gzip.open(folder / "ticks" / "oanda_XAUUSD_tick_20140505_20140507.csv.gz", "rt") as lines:
        start = None
        for line in islice(lines, 1 + first, 1 + first + count):
            _, ms, bid, ask = line.split(",")
            at = int(float(ms))
            start = at if start is None else start
            quotes.append(
                Quote(symbol=SYMBOL, at=Millis(T0 + at - start), bid=round(float(bid), 2), ask=round(float(ask), 2))
            )
    return quotes


class AllBelieved(QuoteFeed):
    """A feed without the checks: for showing that what is planted would be seen."""

    def offer(self, quote: Quote, atr: float | None, now: Millis | None = None) -> bool:
        self.last, self.changed_at = quote, quote.at if now is None else now
        return atr is None or True


@dataclass(slots=True, kw_only=True)
class TickDesk(MarketData):
    """Quotes as they are read; an ATR and a last close as they were on these days, and no bars to decide on."""

    close: float
    checked: bool = True

    def poll_bars(self, symbol: str, now: Millis) -> tuple[MarketView, ...]:
        self.symbol(symbol, now)
        return ()

    def _open(self, symbol: str, now: Millis) -> SymbolMarket:
        desk = MarketData._open(self, symbol, now)
        view = bar(T0, Side.BUY, None)
        desk.feed.reference = self.close
        desk.view = replace(view, indicators=replace(view.indicators, atr_m5=ATR, atr_m15=ATR))
        if not self.checked:
            feed = desk.feed
            desk.feed = AllBelieved(
                symbol=symbol, hours=feed.hours, policy=feed.policy, spread_typical=feed.spread_typical
            )
        return desk


@dataclass(slots=True)
class Planted:
    """The broker's reads; while something is planted, that is the quote."""

    inner: Any
    bad: Bad | None = None

    def quote(self, symbol: str) -> Quote:
        if isinstance(self.bad, InvalidDataError):
            raise self.bad
        found: Quote = self.inner.quote(symbol) if self.bad is None else self.bad
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def healthy(request: Request) -> Reply:
    """Say that DTMS knows nothing of the trade."""
    return Reply(status=404, body=b'{"code": "trade_unknown", "status": 404}')


class Healthy:
    """A DTMS that defends nothing."""

    def fetch(self, request: Request) -> Reply:
        return healthy(request)


@dataclass(slots=True)
class Ride:
    """One trade through recorded ticks; `stops` are what the broker's oracle saw."""

    side: Side
    checked: bool = True
    rig: Rig = field(init=False)
    reads: Planted = field(init=False)
    desks: tuple[TickDesk, TickDesk] = field(init=False)
    manager: Any = field(init=False)
    identifier: int = field(init=False)
    planted: int = 0
    after_gaps: int = 0

    def begin(self, first: Quote) -> None:
        rig = self.rig = Rig()
        rig.sim.on_quote(first)
        self.reads = Planted(rig.reads)
        reads: Any = self.reads
        parts = rig.parts
        own, server = (
            TickDesk(
                reads=reads,
                ledger=rig.ledger,
                policies=rig.policies,
                scored=False,
                close=first.bid,
                checked=self.checked,
            )
            for _ in range(2)
        )
        self.desks = (own, server)
        rig.server = bootstrap.make_server(parts, reads, server, advisory=False)
        self.manager = bootstrap.make_exit_manager(
            parts, reads, own, server_url="http://127.0.0.1:8001", sleep=rig.wait, transport=Healthy()
        ).manager
        held = rig.open(self.side, stop=round(first.executable(self.side) - self.side * 3.0, 2))
        trade = rig.register(held)
        self.identifier = trade.identifier
        profile = ExitProfile(breakeven_r=0.3, partial=False, trail_atr=1.5, trail_every_s=5.0)
        with rig.ledger.write() as tx:
            tx.put_exit_book(
                ExitState(trade_id=trade.trade_id, ticket=trade.ticket, profile_name="own", profile=profile)
            )

    def run(self, ticks: list[Quote], plant: Plant, seed: int) -> None:
        """Let the ticks pass; at one in twenty the services look at what is planted there, if anything is."""
        dice = random.Random(seed)
        self.begin(ticks[0])
        passed_at, last = ticks[0].at, ticks[0]
        for tick in ticks[1:]:
            if tick.at - last.at > _GAP:
                self._look()  # the services look on in the silence
            self.rig.clock.now = max(self.rig.clock.now, tick.at)
            if tick.at - last.at > _GAP:
                self.after_gaps += self._plant(plant(random.Random(dice.random()), tick, last))
            last = tick
            self.rig.sim.on_quote(tick)
            self._look()
            if dice.random() < 0.05:
                bad = plant(random.Random(dice.random()), tick, tick)
                self.planted += self._plant(bad)
                if self.rig.clock.now - passed_at >= SECOND // 2:
                    self.reads.bad = bad[-1] if bad else None
                    self.manager.cycle()
                    self.rig.server.monitor.tick()
                    self.reads.bad = None
            if self.rig.clock.now - passed_at >= SECOND:
                passed_at = self.rig.clock.now
                self.manager.cycle()
                self.rig.server.monitor.tick()
                self.rig.carry_out()

    def _plant(self, bad: tuple[Bad, ...]) -> int:
        """Let the services look at each bad tick, or once at nothing new."""
        for each in bad or (None,):
            self.reads.bad = each
            self._look()
        self.reads.bad = None
        return len(bad)

    def _look(self) -> None:
        for desk in self.desks:
            desk.quote(SYMBOL, self.rig.clock.now)

    @property
    def stops(self) -> list[float | None]:
        """Every stop that the broker has had, in order."""
        changes = self.rig.oracle.of(AppliedKind.SLTP)
        return [entry.stop_after for entry in changes if entry.identifier == self.identifier]

    @property
    def ended(self) -> list[tuple[AppliedKind, Millis, float | None]]:
        """How and when the position was left."""
        ends = self.rig.oracle.of(AppliedKind.CLOSE, AppliedKind.STOP, AppliedKind.PARTIAL)
        return [(entry.kind, entry.at, entry.price) for entry in ends if entry.identifier == self.identifier]
