"""A broker with faults, to be built in a child: for tests and for the drill of a library that hangs.

It is steered through files, because it lives in another process and is built anew after every fault: `arm` puts one fault
on one method's next call. Every order that it takes is a line of `orders` there, whatever becomes of the child.
"""

from __future__ import annotations

import ctypes
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from dtms import errors
from dtms.domain.action import Action
from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import (
    Account,
    AccountKind,
    Deal,
    DealEntry,
    DealReason,
    Position,
    PositionsRead,
    WorkingOrder,
)
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.units import Millis, Side, Ticket
from dtms.errors import BrokerRejectedError, DtmsError

FACTORY: Final = "dtms.adapters.worker.faulty:FaultyBroker"

NOW: Final = Millis(1_700_000_000_000)
SYMBOL: Final = "EURUSD"
_HANG_S: Final = 3_600


class Fault(StrEnum):
    """What goes wrong with a call; the words `before` and `after` tell whether an order was taken."""

    HANG_BEFORE = "hang_before"
    HANG_AFTER = "hang_after"
    DIE_BEFORE = "die_before"
    DIE_AFTER = "die_after"
    FOREIGN_ERROR = "foreign_error"
    NOT_ENCODABLE = "not_encodable"
    ANOTHER_ACCOUNT = "another_account"


def arm(folder: Path, method: str, fault: Fault | type[DtmsError]) -> None:
    """Let the next call of a method fail; a class of ours is raised."""
    (folder / method).write_text(fault if isinstance(fault, Fault) else fault.__name__, encoding="ascii")


def orders(folder: Path) -> list[str]:
    """Return the tags of all orders that were ever taken, oldest first."""
    path = folder / "orders"
    return path.read_text(encoding="ascii").split() if path.exists() else []


class FaultyBroker:
    """Answers with one position and one quote, and fails when it is armed.

    A hang sleeps in C with the interpreter's lock held, as the MetaTrader 5 package does in a call that the terminal
    does not answer. Where the folder holds a named pipe `reached`, a line in it says that a fault begins.

    Args:
        folder: Where `arm` writes.
        can_send: Without it the broker has no `send`.
    """

    def __init__(self, folder: str, *, can_send: bool = True) -> None:
        self._folder = Path(folder)
        self._token = 0
        self.login = 10_000_042
        if can_send:
            self.send = self._take
        print("the library says hello")  # noqa: T201 - as libraries do: it must not reach the frames

    def account(self) -> Account:
        """Return the account, or another one."""
        wrong = self._fails("account") is Fault.ANOTHER_ACCOUNT
        return Account(
            login=self.login + wrong,
            server="Faulty-Demo",
            kind=AccountKind.DEMO,
            currency="EUR",
            currency_digits=2,
            hedging=True,
            fifo=False,
            balance=10_000.0,
            equity=10_030.25,
            margin=0.0,
            margin_free=10_030.25,
            margin_level=None,
            trade_allowed=True,
        )

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument."""
        self._fails("instrument")
        return Instrument(
            symbol=symbol,
            canonical=symbol,
            asset=AssetClass.FX,
            digits=5,
            point=1e-5,
            tick_size=1e-5,
            contract_size=100_000.0,
            value_per_unit=91_234.5,
            volume_min=0.01,
            volume_max=50.0,
            volume_step=0.01,
        )

    def positions(self) -> PositionsRead:
        """Return one position."""
        self._fails("positions")
        self._token += 1
        return PositionsRead(token=self._token, as_of=NOW, positions=(position(),))

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Return one order at the market."""
        self._fails("working_orders")
        return (WorkingOrder(order=7, symbol=SYMBOL, position=position().identifier, comment="a tag"),)

    def market_watch(self) -> tuple[str, ...]:
        """Return the one symbol."""
        self._fails("market_watch")
        return (SYMBOL,)

    def quote(self, symbol: str) -> Quote:
        """Return a quote."""
        fault = self._fails("quote")
        told: Any = object() if fault is Fault.NOT_ENCODABLE else Quote(symbol=symbol, at=NOW, bid=1.1, ask=1.10012)
        return told  # type: ignore[no-any-return]

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:  # noqa: ARG002 - the port gives it
        """Return `count` equal bars that end now."""
        self._fails("bars")
        starts = range(NOW - count * timeframe.value, NOW, timeframe.value)
        return tuple(Bar(start=Millis(at), open=1.1, high=1.2, low=1.0, close=1.15, volume=7.0) for at in starts)

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return the opening deal of a position."""
        self._fails("deals")
        return (deal(position),)

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the opening deal of the one position where it is in [start, end]."""
        self._fails("deals_between")
        return (deal(position().identifier),) if start <= NOW <= end else ()

    def _take(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        fault = self._fails("send", order=tag)
        told: Any = (
            object()
            if fault is Fault.NOT_ENCODABLE
            else Receipt(
                outcome=Outcome.APPLIED,
                code=10009,
                position=None if position is None else position.identifier,
                comment=type(action).__name__,
            )
        )
        return told  # type: ignore[no-any-return]

    def _fails(self, method: str, *, order: str = "") -> Fault | None:
        """Do what the armed fault does, and take the order where it says so."""
        fault = self._disarm(method)
        before = (Fault.HANG_BEFORE, Fault.DIE_BEFORE, Fault.FOREIGN_ERROR)
        if order and not isinstance(fault, type) and fault not in before:
            with (self._folder / "orders").open("a", encoding="ascii") as file:
                file.write(f"{order}\n")
        if isinstance(fault, type):
            raise _error(fault)
        if fault is not None:
            self._announce(fault)
        match fault:
            case Fault.HANG_BEFORE | Fault.HANG_AFTER:
                hang()
            case Fault.DIE_BEFORE | Fault.DIE_AFTER:
                os._exit(9)
            case Fault.FOREIGN_ERROR:
                msg = "a bug of the library"
                raise ZeroDivisionError(msg)
            case _:
                return fault
        return fault

    def _disarm(self, method: str) -> Fault | type[DtmsError] | None:
        path = self._folder / method
        try:
            word = path.read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        path.unlink()
        return getattr(errors, word) if hasattr(errors, word) else Fault(word)

    def _announce(self, fault: Fault) -> None:
        pipe = self._folder / "reached"
        if pipe.exists():
            with pipe.open("w", encoding="ascii") as file:
                file.write(f"{fault}\n")


def hang(seconds: int = _HANG_S) -> None:
    """Sleep in C without giving the interpreter's lock away: no other thread of this process runs."""
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(seconds * 1_000)
    else:
        ctypes.PyDLL(None).sleep(seconds)


def position() -> Position:
    """Return the one position."""
    return Position(
        ticket=Ticket(501),
        identifier=501,
        symbol=SYMBOL,
        side=Side.SELL,
        volume=0.3,
        entry=1.1,
        stop=1.11,
        target=None,
        current=1.099,
        profit=30.25,
        swap=-1.5,
        magic=77,
        comment="by hand",
        opened_at=NOW,
    )


def deal(identifier: int) -> Deal:
    """Return the opening deal of a position."""
    return Deal(
        deal_id=1,
        order_id=identifier,
        position=identifier,
        symbol=SYMBOL,
        side=Side.SELL,
        entry=DealEntry.IN,
        reason=DealReason.MANUAL,
        volume=0.3,
        price=1.1,
        profit=0.0,
        commission=-0.9,
        swap=0.0,
        fee=0.0,
        magic=77,
        comment="by hand",
        at=NOW,
    )


def _error(kind: type[DtmsError]) -> DtmsError:
    if issubclass(kind, BrokerRejectedError):
        return kind("as armed", rejection="frozen", code=10029)
    return kind("as armed")
