"""The simulated trade server: the truth behind the terminal. Everything inside it is UTC.

It has no clock, no randomness and no I/O of its own: time comes from `now`, prices from whoever drives it, and what it
applied goes to the recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dtms.domain.market import Bar, Quote
from dtms.domain.units import Millis
from dtms.errors import SettingsError
from dtms_lab.mt5_constants import CHECK_PASSED, Mt5
from dtms_lab.terminal import execution, pending, triggers
from dtms_lab.terminal.catalogue import CATALOGUE, USD_RATES, SymbolSpec
from dtms_lab.terminal.checks import check, held_position
from dtms_lab.terminal.closures import Closure, closed_by
from dtms_lab.terminal.dealer import Dealer, Fill, HonestDealer
from dtms_lab.terminal.history import RateStore
from dtms_lab.terminal.recorder import AppliedKind, NoRecorder, Recorder
from dtms_lab.terminal.records import SIDE_OF_TYPE, AccountSpec, Outcome, Request, SimPosition
from dtms_lab.terminal.server_time import ServerOffset, eet_new_york_dst
from dtms_lab.terminal.state import VOLUME_DIGITS, ServerState
from dtms_lab.terminal.working import Part, WorkingOrders


def always_open(_symbol: str, _at: Millis) -> bool:
    """The tape decides: a market without quotes is silent, not closed."""
    return True


class SimServer:
    """One account at a simulated broker.

    Args:
        now: The broker's clock, UTC. Triggers run at their quote's time, requests at this one.
        account: The account as it is opened, with its first deposit.
        specs: The instruments by name; the whole catalogue by default.
        usd_rates: US dollars for one unit of each currency, for what it does not quote.
        recorder: Gets every applied operation.
        dealer: Answers the requests that passed the checks; honest by default.
        market_open: Whether a symbol is in session; always by default.
        offset: How far the broker's clock is ahead of UTC.
    """

    def __init__(
        self,
        *,
        now: Callable[[], Millis],
        account: AccountSpec | None = None,
        specs: Mapping[str, SymbolSpec] | None = None,
        usd_rates: Mapping[str, float] = USD_RATES,
        recorder: Recorder | None = None,
        dealer: Dealer | None = None,
        market_open: Callable[[str, Millis], bool] = always_open,
        offset: ServerOffset = eet_new_york_dst,
    ) -> None:
        self.now = now
        self.dealer: Dealer = HonestDealer() if dealer is None else dealer
        self.state = ServerState(
            account=AccountSpec() if account is None else account,
            specs=CATALOGUE if specs is None else specs,
            usd_rates=usd_rates,
            now=now,
            recorder=NoRecorder() if recorder is None else recorder,
            market_open=market_open,
            offset=offset,
        )
        self.rates = {name: RateStore(spec.point, offset) for name, spec in self.state.specs.items()}
        self.working = WorkingOrders(self.state)
        start = now()
        self._rollover = triggers.Rollover(start)
        if self.state.account.balance != 0:
            self.state.deposit(self.state.account.balance, start)

    def _known(self, symbol: str) -> SymbolSpec:
        spec = self.state.specs.get(symbol)
        if spec is None:
            msg = f"the simulated broker has no symbol {symbol!r}; it has {', '.join(sorted(self.state.specs))}"
            raise SettingsError(msg)
        return spec

    def on_quote(self, quote: Quote) -> None:
        """Take a quote: it forms the running bar and triggers swap, stops, targets, pending orders and the stop-out.

        One that comes in a closure triggers nothing, or is none at all.

        Raises:
            SettingsError: The broker has no such symbol.
        """
        self._known(quote.symbol)
        closure = closed_by(self.state.closures, quote.symbol, quote.at)
        if closure is not None and not closure.quoted:
            return
        if self._rollover.due(quote.at):
            self._rollover.charge(self.state, quote.at)
        self.state.quotes[quote.symbol] = quote
        self.rates[quote.symbol].on_quote(quote)
        if closure is None:
            self.working.pump(self.now())
            triggers.on_quote(self.state, quote)

    def charge_swaps_from(self, at: Millis) -> None:
        """Let the first rollover after an instant be the next one that is charged."""
        self._rollover = triggers.Rollover(at)

    def close(self, *closures: Closure) -> None:
        """Add stretches in which the broker is closed; those that are known stay."""
        self.state.closures += closures

    def load_history(self, symbol: str, bars: Sequence[Bar]) -> None:
        """Load closed M1 bars of the time before the first quote, oldest first."""
        self.rates[symbol].load(bars, self._known(symbol).spread_typical)

    def on_m1_closed(self, symbol: str, bar: Bar) -> None:
        """Append the M1 bar of a minute that has ended."""
        self._known(symbol)
        self.rates[symbol].on_closed(bar)

    def net_lots(self, symbol: str) -> float:
        """Return the open volume of a symbol, long minus short."""
        self._known(symbol)
        return self.state.books[symbol].net_lots

    def reopen(self, ticket: int, *, price: float | None = None) -> int:
        """Give a position another ticket, as a broker does that charges swap by re-opening; its identifier stays.

        With a `price` it is opened anew at that, as brokers do that settle each day.
        """
        at = self.now()
        held = self.state.positions[ticket]
        entry = held.price_open if price is None else price
        moved = replace(held, ticket=self.state.next_order(), price_open=entry, updated_at=at)
        self.state.drop(held)
        self.state.put(moved)
        self.state.note(AppliedKind.REOPEN, at=at, before=held, after=moved, magic=held.magic)
        self.state.changed(at)
        return moved.ticket

    def set_offset(self, offset: ServerOffset) -> None:
        """Let the broker's clock show another time from now on; rows that are written already keep theirs."""
        self.state.offset = offset
        for store in self.rates.values():
            store.set_offset(offset)

    def check(self, request: Request, *, reason: int = Mt5.DEAL_REASON_EXPERT) -> int:
        """Return what `send` would say of a request as far as the state decides it; 0 is "it would pass"."""
        return check(self.state, request, reason)

    def send(self, request: Request, *, reason: int = Mt5.DEAL_REASON_EXPERT) -> Outcome:
        """Check a request and apply it. `reason` says who sends: a program, or by hand (`DEAL_REASON_CLIENT`)."""
        refusal = check(self.state, request, reason)
        if refusal != CHECK_PASSED:
            return self._refused(request, refusal)
        held = held_position(self.state, request) if request.action in _ON_POSITION else None
        symbol = held.symbol if isinstance(held, SimPosition) else request.symbol
        quote = self.state.quotes.get(symbol)
        fill = self.dealer.answer(request, quote)
        if fill.retcode is not None:
            return self._refused(request, fill.retcode)
        at = self.now()
        if request.action == Mt5.TRADE_ACTION_DEAL and quote is not None:
            outcome = self._deal(
                request, quote, fill, held=held if isinstance(held, SimPosition) else None, reason=reason
            )
        elif isinstance(held, SimPosition):
            outcome = self._on_position(request, held, fill, at=at, reason=reason)
        else:
            outcome = self._on_order(request, at, reason)
        if outcome.applied:
            self.state.changed(at)
        return outcome

    def _refused(self, request: Request, retcode: int) -> Outcome:
        quote = self.state.quotes.get(request.symbol)
        if retcode not in (Mt5.TRADE_RETCODE_REQUOTE, Mt5.TRADE_RETCODE_PRICE_CHANGED) or quote is None:
            return Outcome(retcode)
        return Outcome(retcode, bid=quote.bid, ask=quote.ask)

    def _deal(self, request: Request, quote: Quote, fill: Fill, *, held: SimPosition | None, reason: int) -> Outcome:
        """A part fill takes IOC; of RETURN the rest is worked on; one that must be filled whole is rejected where volume lacks."""
        if fill.parts:
            return self._worked(request, quote, fill, fill.parts, held=held, reason=reason)
        volume = request.volume if fill.volume is None else min(fill.volume, request.volume)
        partial = volume < request.volume
        if partial and volume > 0 and request.type_filling == Mt5.ORDER_FILLING_RETURN:
            share = volume / request.volume
            return self._worked(request, quote, fill, ((0, share), (_REST_MS, 1.0 - share)), held=held, reason=reason)
        if partial and (request.type_filling != Mt5.ORDER_FILLING_IOC or volume <= 0):
            return Outcome(Mt5.TRADE_RETCODE_REJECT)
        price = quote.opening(SIDE_OF_TYPE[request.type]) if fill.price is None else fill.price
        trade = execution.trade_of(request, volume=volume, price=price, fill=fill, at=self.now(), reason=reason)
        made = execution.deal(self.state, trade, held)
        code = Mt5.TRADE_RETCODE_DONE_PARTIAL if partial else Mt5.TRADE_RETCODE_DONE
        if partial and fill.says is not None:
            code = fill.says
        return Outcome(code, made.ticket, made.order, volume, price, quote.bid, quote.ask)

    def _worked(
        self,
        request: Request,
        quote: Quote,
        fill: Fill,
        shares: Sequence[tuple[int, float]],
        *,
        held: SimPosition | None,
        reason: int,
    ) -> Outcome:
        """Take an order to work on; what is filled at once is in the answer, the rest only in the list of orders."""
        at, spec = self.now(), self.state.specs[request.symbol]
        parts = _on_steps(request.volume, spec.volume_step, [(Millis(at + delay), share) for delay, share in shares])
        trade = execution.trade_of(
            request,
            volume=request.volume,
            price=quote.opening(SIDE_OF_TYPE[request.type]),
            fill=fill,
            at=at,
            reason=reason,
        )
        order = self.working.begin(request, trade, parts, held)
        dealt = self.working.pump(at)
        self.state.changed(at)
        if dealt <= 0:
            return Outcome(Mt5.TRADE_RETCODE_PLACED, order=order.ticket)
        code = Mt5.TRADE_RETCODE_DONE_PARTIAL if dealt < request.volume else Mt5.TRADE_RETCODE_DONE
        return Outcome(code, self.state.deals[-1].ticket, order.ticket, dealt, trade.price, quote.bid, quote.ask)

    def _on_position(self, request: Request, held: SimPosition, fill: Fill, *, at: Millis, reason: int) -> Outcome:
        if request.action == Mt5.TRADE_ACTION_SLTP:
            execution.set_levels(self.state, self._levelled(request, held, fill), held, at)
            return Outcome(Mt5.TRADE_RETCODE_DONE)
        by = self.state.positions[request.position_by]
        made = execution.close_by(self.state, request, held, by, at=at, reason=reason, fill=fill)
        return Outcome(Mt5.TRADE_RETCODE_DONE, made.ticket, made.order, made.volume, made.price)

    def _levelled(self, request: Request, held: SimPosition, fill: Fill) -> Request:
        """Return a change of levels as the server keeps it: brokers clip and drop levels, and answer DONE."""
        spec, stop = self.state.specs[held.symbol], request.stop
        if fill.stop_ticks and stop is not None:
            moved = round(stop - held.side * fill.stop_ticks * spec.tick_size, spec.digits)
            request = request._replace(sl=moved if moved > 0 else stop)
        return request._replace(tp=0.0) if fill.drops_target else request

    def _on_order(self, request: Request, at: Millis, reason: int) -> Outcome:
        if request.action == Mt5.TRADE_ACTION_PENDING:
            placed = pending.place(self.state, request, at, reason)
            return Outcome(Mt5.TRADE_RETCODE_DONE, order=placed.ticket, volume=placed.volume, price=placed.price)
        if request.action == Mt5.TRADE_ACTION_MODIFY:
            changed = pending.modify(self.state, request, at)
            return Outcome(Mt5.TRADE_RETCODE_DONE, order=changed.ticket, volume=changed.volume, price=changed.price)
        order = self.state.orders[request.order]
        pending.end(self.state, order, Mt5.ORDER_STATE_CANCELED, AppliedKind.ORDER_REMOVED, at)
        return Outcome(Mt5.TRADE_RETCODE_DONE, order=order.ticket)


_ON_POSITION = (Mt5.TRADE_ACTION_DEAL, Mt5.TRADE_ACTION_SLTP, Mt5.TRADE_ACTION_CLOSE_BY)

_REST_MS = 2_000
"""How long the rest of an order waits in an exchange's book."""


def _on_steps(volume: float, step: float, shares: Sequence[tuple[Millis, float]]) -> list[Part]:
    """Return the parts of a volume on its grid; the last one is what is left, and none is nothing."""
    parts: list[Part] = []
    left = volume
    for place, (at, share) in enumerate(shares):
        last = place == len(shares) - 1
        lots = left if last else round(int(volume * share / step + 1e-6) * step, VOLUME_DIGITS)
        lots = min(lots, left)
        if lots > 0:
            parts.append(Part(at=at, volume=lots))
            left = round(left - lots, VOLUME_DIGITS)
    return parts
