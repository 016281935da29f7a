"""Whoever else acts: the program that opens trades and hands them over, the hand at the terminal, the kill switch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dtms.app.commands.opening_checks import OpeningRefusedError, Order
from dtms.app.modes.halt import NotHaltedError, StillHoldsError, resume
from dtms.domain.exits import ExitState
from dtms.domain.market import Quote
from dtms.domain.units import SECOND, Millis, Side, Ticket
from dtms.domain.verdict import KillLevel
from dtms.errors import StaleWriteError
from dtms.services.web.in_process import call
from dtms_lab.drill.broker_changes import NEW_NAME
from dtms_lab.drill.dice import Dice
from dtms_lab.drill.instruments import Listing
from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.processes import DtmsServer, MainApi
from dtms_lab.mt5_constants import FILLING_MASK_FOK, FILLING_MASK_IOC, Mt5
from dtms_lab.simulate.services import MAGIC, SERVER_URL, TOKEN
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.records import SIDE_OF_TYPE, Request, SimPosition
from dtms_lab.terminal.server import SimServer

ENTRY_MAGIC: Final = 7
FOREIGN_MAGIC: Final = 99
FOREIGN: Final = "not yours"
_RESUME_SHARE: Final = 0.05
"""Of the steps, in which the operator looks whether a halt can be left."""
_ANY_PRICE: Final = 100_000
"""Points that a person lets the price move away."""
_FEW_TRADES: Final = 3
_MOST_FOREIGN: Final = 2
_PAID_SHARE: Final = 0.05
"""Of the balance, paid in or out at a time."""
_OPEN_SHARE: Final = 0.1
_AGAIN: Final = 4 * SECOND
"""Before the second try at registering; twice as long before each further one, as programs do."""
_AGAIN_MOST: Final = 32 * SECOND
_PRESSED: Final = (KillLevel.PAUSE, KillLevel.PAUSE, KillLevel.PROTECT_ONLY, KillLevel.FLATTEN, None, None)
"""What a press asks for, None for a release: a pause leaves the trades open, so most is to be seen under it."""
_PROFILES: Final = ("intraday", "early", "early", "short", "stall")


@dataclass(slots=True)
class _Waiting:
    """A position that has still to be registered, and given its exit rules."""

    ticket: int
    stop: float
    target: float | None
    profile: str
    registered: bool = False
    again_at: int = 0
    pause: int = _AGAIN


@dataclass(slots=True, kw_only=True)
class Operator:
    """Acts at the broker by hand and at the services over HTTP.

    `in_server` and `in_api` run a piece of work as that process, which may die of it; False where it is not there.
    """

    sim: SimServer
    dice: Dice
    listings: tuple[Listing, ...]
    most_trades: int
    clock: Callable[[], Millis]
    server: Callable[[], DtmsServer | None]
    api: Callable[[], MainApi | None]
    in_server: Callable[[Callable[[], object]], bool]
    in_api: Callable[[Callable[[], object]], bool]
    managed: Callable[[], frozenset[int]]
    answered: Callable[[str, str, int, bytes], None]
    _waiting: list[_Waiting] = field(default_factory=list)
    _pressed: bool = False
    _asked: int = 0
    _trailed: dict[int, float] = field(default_factory=dict)

    def act(self) -> None:
        """Do what comes to mind."""
        stream = self.dice.stream("operator")
        self._register()
        if self.dice.stream("resume").random() < _RESUME_SHARE:
            self._resume()
        live = [p for p in self.sim.state.positions.values() if p.magic != FOREIGN_MAGIC]
        if len(live) < self.most_trades and stream.random() < _OPEN_SHARE * self.most_trades / _FEW_TRADES:
            self._open()
        self.hand()
        if self.dice.strikes(Kind.FOREIGN):
            self._foreign()
        if self.dice.strikes(Kind.OUR_MAGIC):
            self._under_our_magic()
        if self.dice.strikes(Kind.MONEY):
            share = self.dice.stream("hand").uniform(-_PAID_SHARE, _PAID_SHARE)
            self.sim.state.deposit(round(share * self.sim.state.balance, 2), self.clock())
        if self.dice.strikes(Kind.KILL_SWITCH):
            self._press()
        if self.dice.strikes(Kind.RELEASE):
            self._release()
        if self.dice.strikes(Kind.EXITS):
            self._change_exits()

    def hand(self) -> None:
        """Touch positions at the terminal."""
        if self.dice.strikes(Kind.HAND_STOP):
            self._on_some(self._hand_stop)
        if self.dice.strikes(Kind.HAND_TARGET):
            self._on_some(self._hand_target)
        if self.dice.strikes(Kind.HAND_PARTIAL):
            self._on_some(lambda held: self._close(held, 0.3))
        if self.dice.strikes(Kind.HAND_CLOSE):
            self._on_some(lambda held: self._close(held, 1.0))
        if self.dice.strikes(Kind.HAND_TRAILING):
            self._on_some(self._trail)
        self._follow()
        if self.dice.strikes(Kind.HAND_CLOSE_BY):
            self._on_some(self._close_by)
        if self.dice.strikes(Kind.HAND_HEDGE_CLOSED):
            known = self.managed()
            hedges = [p for p in self.sim.state.positions.values() if p.magic not in (ENTRY_MAGIC, FOREIGN_MAGIC)]
            for held in hedges[:1]:
                if held.identifier not in known:
                    self._close(held, 1.0)

    def rest(self) -> None:
        """End it all: the switch is let go, and what waits is still registered."""
        self._resume()
        if self._pressed:
            self._pressed = not self._in_api(lambda api: api.kill.release("operator"))
        self._register()

    def _resume(self) -> None:
        """Leave a halt whose cause has ended, as a person does who was called."""

        def ask() -> None:
            server = self.server()
            if server is not None:
                with contextlib.suppress(NotHaltedError, StillHoldsError):
                    resume(server.parts.ledger, self.clock(), actor="operator", reason="the terminal is ours again")

        self.in_server(ask)

    @property
    def at_rest(self) -> bool:
        """Say whether nothing is left that the operator wants."""
        return not self._pressed and not self._waiting

    @property
    def wants(self) -> str:
        """Return what is left, in words."""
        switch = "the kill switch is pressed" if self._pressed else ""
        return ", ".join(filter(None, (switch, *(f"ticket {waiting.ticket}" for waiting in self._waiting))))

    def _on_some(self, work: Callable[[SimPosition], object]) -> None:
        held = [p for p in self.sim.state.positions.values() if p.identifier in self.managed()]
        if held:
            work(self.dice.stream("hand").choice(held))

    # ----- opening

    def _open(self) -> None:
        stream = self.dice.stream("operator")
        listing = stream.choice(self.listings)
        symbol = listing.name
        quote = self.sim.state.quotes.get(symbol)
        held = any(position.symbol == symbol for position in self.sim.state.positions.values())
        adds = held and not self.sim.state.account.hedging  # on netting a further order grows the position
        if quote is None or (adds and stream.random() < 0.9):  # noqa: PLR2004 - a share
            return
        spec, atr = self.sim.state.specs[symbol], listing.atr
        side = stream.choice((Side.BUY, Side.SELL))
        distance = atr * stream.choice((1.0, 1.5, 3.0))
        stop = _on_grid(quote.executable(side) - side * distance, spec.tick_size, spec.digits)
        target = _on_grid(quote.opening(side) + side * 3.0 * distance, spec.tick_size, spec.digits)
        wanted = target if stream.random() < 0.7 else None  # noqa: PLR2004 - a share
        lots = listing.lots if stream.random() < 0.85 else spec.volume_min  # noqa: PLR2004 - a share
        if stream.random() < 0.5:  # noqa: PLR2004 - half of them
            self._open_by_hand(symbol, side, lots, stop, wanted)
        else:
            self._open_by_api(_order(symbol, side, lots, stop, wanted))

    def _open_by_hand(self, symbol: str, side: Side, lots: float, stop: float, target: float | None) -> None:
        stream = self.dice.stream("operator")
        bare = stream.random() < 0.15  # noqa: PLR2004 - a share: opened without a stop, which registering brings
        outcome = self._send(
            action=Mt5.TRADE_ACTION_DEAL,
            symbol=symbol,
            type=Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL,
            volume=lots,
            sl=0.0 if bare else stop,
            tp=target or 0.0,
            magic=ENTRY_MAGIC,
        )
        if outcome.retcode == Mt5.TRADE_RETCODE_DONE:
            self._waiting.append(_Waiting(outcome.order, stop, target, stream.choice(_PROFILES)))

    def _open_by_api(self, order: Order) -> None:
        self._asked += 1
        request = f"opening {self._asked}"
        times = 2 if self.dice.strikes(Kind.REPEATED) else 1

        def plan(api: MainApi) -> None:
            for _ in range(times):
                try:
                    api.opening.plan(order, request=request, actor="operator")
                except (OpeningRefusedError, StaleWriteError):
                    return

        self._in_api(plan)

    def _register(self) -> None:
        for waiting in tuple(self._waiting):
            held = self.sim.state.positions.get(waiting.ticket)
            if held is None:
                self._waiting.remove(waiting)
            elif waiting.registered:
                self._give_exits(waiting)
            elif self.clock() >= waiting.again_at:
                waiting.again_at = self.clock() + waiting.pause
                waiting.pause = min(2 * waiting.pause, _AGAIN_MOST)
                self._enable(waiting, held)

    def _enable(self, waiting: _Waiting, held: SimPosition) -> None:
        asked = {
            "ticket": held.ticket,
            "symbol": held.symbol,
            "direction": held.side.name,
            "entry": held.price_open,
            "volume": held.volume,
            "stop_loss": waiting.stop,
            "take_profit": waiting.target,
            "profile": waiting.profile,
        }
        body = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
        for _ in range(2 if self.dice.strikes(Kind.REPEATED) else 1):
            status = self._http("POST", "/dtms/trade/enable", body)
            if status in (200, 201):
                waiting.registered = True
            elif status in (404, 409, 422):
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                # A position that DTMS does not take is closed again: the operator wants no trade that nobody watches.
                present = self.sim.state.positions.get(waiting.ticket)
                if present is not None:
                    self._close(present, 1.0)

    def _http(self, method: str, path: str, body: bytes = b"") -> int | None:
        found: list[int] = []

        def ask() -> None:
            server = self.server()
            if server is None:
                return
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
            status, _headers, answer = call(server.app, method, f"{SERVER_URL}{path}", headers, body)
            self.answered(method, path, status, answer)
            found.append(status)

        self.in_server(ask)
        return found[0] if found else None

    def _give_exits(self, waiting: _Waiting) -> None:
        def give(api: MainApi) -> None:
            exits = api.parts.policies.default.exits
            with api.parts.ledger.write() as tx:
                trade = tx.trade(Ticket(waiting.ticket))
                if trade is not None and trade.is_open and tx.exit_book(trade.ticket) is None:
                    profile = exits.profile(waiting.profile)
                    name = waiting.profile
                    book = ExitState(trade_id=trade.trade_id, ticket=trade.ticket, profile_name=name, profile=profile)
                    tx.put_exit_book(book)
            if waiting in self._waiting:
                self._waiting.remove(waiting)

        self._in_api(give)

    # ----- by hand

    def _hand_stop(self, held: SimPosition) -> None:
        stream = self.dice.stream("hand")
        quote, spec, atr = self._seen(held.symbol)
        away = stream.choice((0.4, 0.8, 2.0, 4.0)) * atr
        stop = _on_grid(quote.executable(held.side) - held.side * away, spec.tick_size, spec.digits)
        removed = stream.random() < 0.15  # noqa: PLR2004 - a share
        self._levels(held, None if removed else stop, held.target)

    def _hand_target(self, held: SimPosition) -> None:
        stream = self.dice.stream("hand")
        quote, spec, atr = self._seen(held.symbol)
        target = _on_grid(
            quote.executable(held.side) + held.side * stream.choice((2.0, 5.0)) * atr, spec.tick_size, spec.digits
        )
        self._levels(held, held.stop, None if stream.random() < 0.2 else target)  # noqa: PLR2004 - a share

    def _trail(self, held: SimPosition) -> None:
        self._trailed[held.identifier] = self._seen(held.symbol)[2] * self.dice.stream("hand").choice((0.5, 1.0, 2.0))

    def _follow(self) -> None:
        """Move the stops that the terminal trails, only ever towards the price."""
        for held in tuple(self.sim.state.positions.values()):
            distance = self._trailed.get(held.identifier)
            if distance is None or held.symbol not in self.sim.state.quotes:
                continue
            quote, spec, _ = self._seen(held.symbol)
            stop = _on_grid(quote.executable(held.side) - held.side * distance, spec.tick_size, spec.digits)
            if held.stop is None or held.side * (stop - held.stop) >= spec.tick_size:
                self._levels(held, stop, held.target)

    def _close_by(self, held: SimPosition) -> None:
        """Close a position against an opposite one of the same symbol, whosever it is."""
        others = self.sim.state.positions.values()
        against = next((p for p in others if p.symbol == held.symbol and p.side is held.side.opposite), None)
        if against is not None:
            self._send(
                action=Mt5.TRADE_ACTION_CLOSE_BY,
                symbol=held.symbol,
                position=held.ticket,
                position_by=against.ticket,
            )

    def _under_our_magic(self) -> None:
        listing = self.dice.stream("hand").choice(self.listings)
        if any(p.magic == MAGIC and not p.comment for p in self.sim.state.positions.values()):
            return
        if self.sim.state.account.hedging:
            self._send(
                action=Mt5.TRADE_ACTION_DEAL,
                symbol=listing.name,
                type=self.dice.stream("hand").choice((Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL)),
                volume=listing.spec.volume_min,
                magic=MAGIC,
            )

    def _seen(self, symbol: str) -> tuple[Quote, SymbolSpec, float]:
        atr = next(each.atr for each in self.listings if each.name == symbol.removesuffix(NEW_NAME))
        return self.sim.state.quotes[symbol], self.sim.state.specs[symbol], atr

    def _levels(self, held: SimPosition, stop: float | None, target: float | None) -> None:
        self._send(
            action=Mt5.TRADE_ACTION_SLTP, symbol=held.symbol, position=held.ticket, sl=stop or 0.0, tp=target or 0.0
        )

    def _close(self, held: SimPosition, share: float) -> None:
        spec = self.sim.state.specs[held.symbol]
        steps = max(1, round(held.volume * share / spec.volume_step))
        self._send(
            action=Mt5.TRADE_ACTION_DEAL,
            symbol=held.symbol,
            type=Mt5.ORDER_TYPE_SELL if held.side is Side.BUY else Mt5.ORDER_TYPE_BUY,
            volume=held.volume if share >= 1.0 else round(steps * spec.volume_step, 8),
            position=held.ticket,
        )

    def _foreign(self) -> None:
        stream = self.dice.stream("hand")
        if not self.sim.state.account.hedging:
            self._on_some(self._deal_past)
            return
        foreign = [p for p in self.sim.state.positions.values() if p.magic == FOREIGN_MAGIC]
        if len(foreign) >= _MOST_FOREIGN:
            for held in foreign[:1]:
                self._close(held, 1.0)
            return
        symbol = stream.choice(self.listings).name
        self._send(
            action=Mt5.TRADE_ACTION_DEAL,
            symbol=symbol,
            type=stream.choice((Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL)),
            volume=self.sim.state.specs[symbol].volume_min * 10,
            magic=FOREIGN_MAGIC,
            comment=FOREIGN,
        )

    def _deal_past(self, held: SimPosition) -> None:
        """Deal on a position's symbol without naming it, as another program does where the account nets.

        It adds, closes a part or all, or turns the position round.
        """
        stream = self.dice.stream("hand")
        step = self.sim.state.specs[held.symbol].volume_step
        self._send(
            action=Mt5.TRADE_ACTION_DEAL,
            symbol=held.symbol,
            type=stream.choice((Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL)),
            volume=round(max(1, round(held.volume * stream.choice((0.5, 1.0, 2.0)) / step)) * step, 8),
            magic=FOREIGN_MAGIC,
            comment=FOREIGN,
        )

    def _send(self, **fields: Any) -> Any:
        """Send as a person does, whose terminal names filling and price as the symbol wants them."""
        spec, quote = self.sim.state.specs[fields["symbol"]], self.sim.state.quotes.get(fields["symbol"])
        side = SIDE_OF_TYPE.get(fields.get("type", -1))
        price = 0.0 if quote is None or side is None else quote.opening(side)
        request = Request(type_filling=_filling(spec), price=price, deviation=_ANY_PRICE, **fields)
        return self.sim.send(request, reason=Mt5.DEAL_REASON_CLIENT)

    # ----- by command

    def _press(self) -> None:
        level = self.dice.stream("operator").choice(_PRESSED)

        def press(api: MainApi) -> None:
            if level is None:
                api.kill.release("operator")
            else:
                api.kill.press(level, "operator")

        self._pressed = self._pressed or level is not None
        self._in_api(press)

    def _release(self) -> None:
        held = [p for p in self.sim.state.positions.values() if p.identifier in self.managed()]
        if held:
            chosen = self.dice.stream("operator").choice(held)
            self._http("DELETE", f"/dtms/trade/{chosen.ticket}?force=true")

    def _change_exits(self) -> None:
        stream = self.dice.stream("operator")
        name = stream.choice(_PROFILES)

        def change(api: MainApi) -> None:
            exits = api.parts.policies.default.exits
            with api.parts.ledger.write() as tx:
                for book in tx.exit_books()[:1]:
                    tx.put_exit_book(replace(book, profile_name=name, profile=exits.profile(name)))

        self._in_api(change)

    def _in_api(self, work: Callable[[MainApi], object]) -> bool:
        def run() -> None:
            api = self.api()
            if api is not None:
                work(api)

        return self.in_api(run)


def _filling(spec: SymbolSpec) -> int:
    if spec.filling_mask & FILLING_MASK_IOC:
        return Mt5.ORDER_FILLING_IOC
    return Mt5.ORDER_FILLING_FOK if spec.filling_mask & FILLING_MASK_FOK else Mt5.ORDER_FILLING_RETURN


def _order(symbol: str, side: Side, lots: float, stop: float, target: float | None) -> Order:
    return Order(symbol=symbol, side=side, volume=lots, risk_money=None, stop=stop, target=target, profile="early")


def _on_grid(price: float, tick: float, digits: int) -> float:
    return round(round(price / tick) * tick, digits)
