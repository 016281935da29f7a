"""`BrokerReads` and `BrokerWrites` over a child process: every call ends in time, and says truly whether an order left.

Nothing is ever asked twice. A child that hangs, dies or answers another question is killed, and the next call starts a
new one: at once after the first failure, then after a growing pause.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from dtms.adapters.worker import methods
from dtms.adapters.worker.faults import error_from_wire
from dtms.adapters.worker.frames import JSON, ErrorWire, Setup
from dtms.adapters.worker.keeper import ChildKeeper, WorkerReport
from dtms.adapters.worker.methods import SEND, Read
from dtms.adapters.worker.pin import AccountPin
from dtms.adapters.worker.process import ChildProcess, NoAnswerError, NotDeliveredError
from dtms.adapters.worker.turns import Turns
from dtms.domain.action import Action, kind_of
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, Position, PositionsRead, WorkingOrder
from dtms.domain.receipt import Receipt
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import Millis
from dtms.errors import (
    BrokerRejectedError,
    BrokerUnavailableError,
    DtmsError,
    InvariantError,
    OutcomeUnknownError,
    SettingsError,
)

T = TypeVar("T")

_FACTORY: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LONGEST_LIMIT_S: Final = 86_400.0
_SAYS_WHETHER_IT_LEFT: Final = (BrokerUnavailableError, OutcomeUnknownError, BrokerRejectedError, InvariantError)


class BrokerWorker:
    """The broker that a factory builds in a child process; may be shared by threads.

    The child is asked for the account before anything else, and an account other than the pinned one is refused.

    Args:
        factory: `module:function`, importable by a fresh interpreter. It builds and does not connect: whatever is slow
            belongs into the first call.
        args: Its keyword arguments; they travel in the pipe, never on the command line.
        now_ns: A clock that never steps, for the pause between restarts.
        call_timeout_s: After it a call's child is killed.
        start_timeout_s: The same for building the broker, and for its first answer.
        turn_timeout_s: How long a read waits behind others; an order waits as long as a call may take, but goes first.
        pin: Shared by the workers of one account; one that takes the first account seen when None.
        on_carried: Told of each call by its name and of its place on the way, in another thread.
        log: Where the child's stdout and stderr go; None leaves them on our stderr.
        command: The child's command line; another one only in tests of broken children.
    """

    def __init__(
        self,
        factory: str,
        args: Mapping[str, JSON] | None = None,
        *,
        now_ns: Callable[[], int],
        call_timeout_s: float = 10.0,
        start_timeout_s: float = 30.0,
        turn_timeout_s: float = 1.5,
        pin: AccountPin | None = None,
        on_carried: Callable[[str, str], None] = lambda _method, _place: None,
        log: Path | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        if _FACTORY.fullmatch(factory) is None:
            msg = f"broker factory {factory!r} is not one; write it as module:function"
            raise SettingsError(msg)
        for name, limit_s in (("call", call_timeout_s), ("start", start_timeout_s), ("turn", turn_timeout_s)):
            if not 0 < limit_s <= _LONGEST_LIMIT_S:
                msg = f"{name}_timeout_s is {limit_s!r}; give it seconds, more than 0 and at most {_LONGEST_LIMIT_S}"
                raise SettingsError(msg)
        self._pin = AccountPin() if pin is None else pin
        self._keeper = ChildKeeper(
            Setup(factory, dict(args) if args is not None else {}),
            command=_own_command() if command is None else command,
            log=log,
            now_ns=now_ns,
            call_timeout_s=call_timeout_s,
            start_timeout_s=start_timeout_s,
            pin=self._pin,
            on_carried=on_carried,
        )
        self._turns = Turns()
        self._order_turn_s = call_timeout_s
        self._read_turn_s = turn_timeout_s
        self._token = 0
        self._token_base = 0
        self._token_start = 0

    def start(self) -> Account:
        """Start the child now and return the account behind it; blocks.

        Raises:
            SettingsError: The factory cannot be imported, or refuses what it was given.
            BrokerUnavailableError: There is no answer yet, or another account's.
        """
        with self._turn():
            return self._account(self._keeper.ready())

    def close(self) -> None:
        """End the child, after the call under way; nothing is asked afterwards."""
        try:
            with self._turns.take(self._order_turn_s, order=True):
                self._keeper.close(at_once=False)
        except BrokerUnavailableError:
            self._keeper.close(at_once=True)

    def report(self) -> WorkerReport:
        """Return what became of the children so far."""
        return self._keeper.report()

    def account(self) -> Account:
        """Return the account as it stands."""
        with self._turn():
            return self._account(self._ready())

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument."""
        return self._ask(methods.INSTRUMENT, symbol)

    def positions(self) -> PositionsRead:
        """Return all open positions; their token goes on growing in a new child."""
        with self._turn():
            child = self._ready()
            if self._token_start != self._keeper.starts:
                self._token_start, self._token_base = self._keeper.starts, self._token
            read = self._keeper.ask(child, methods.POSITIONS)
            self._token = max(self._token, self._token_base + read.token)
            return replace(read, token=self._token_base + read.token)

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the orders at the market that are not finished."""
        return self._ask(methods.WORKING)

    def market_watch(self) -> tuple[str, ...]:
        """Return the names of the symbols in Market Watch."""
        return self._ask(methods.MARKET_WATCH)

    def quote(self, symbol: str) -> Quote:
        """Return the last quote."""
        return self._ask(methods.QUOTE, symbol)

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return closed bars, oldest first."""
        return self._ask(methods.BARS, symbol, timeframe, count)

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return the deals of one position identifier."""
        return self._ask(methods.DEALS, position)

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the deals of the account in [start, end]."""
        return self._ask(methods.DEALS_BETWEEN, start, end)

    def seen_offset(self) -> SeenOffset | None:
        """Return how far the trade server's clock is ahead, as ticks have shown it to the child; None where none has yet."""
        seen = self._ask(methods.SEEN_OFFSET)
        if seen is not None:
            self._keeper.remember_offset(seen)
        return seen

    def recall_offset(self, last: SeenOffset) -> None:
        """Hand the offset that was seen last to the child, and to each one after it."""
        self._keeper.remember_offset(last)
        self._ask(methods.RECALL_OFFSET, last)

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action and return the broker's answer.

        Raises:
            BrokerUnavailableError: It provably never left.
            OutcomeUnknownError: It left, or may have; a foreign error of the library counts as this.
            InvariantError: The order cannot be written, or its sender says that it is our bug; nothing left.
        """
        what = f"{kind_of(action)} {tag}"
        try:
            order = methods.order_to_wire(action, position, tag)
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"{what}: the order cannot be written ({error}); nothing was sent"
            raise InvariantError(msg) from error
        with self._turns.take(self._order_turn_s, order=True):
            return self._send(self._ready_to_send(what), order, what)

    def _send(self, child: ChildProcess, order: bytes, what: str) -> Receipt:
        try:
            reply = self._keeper.exchange(child, SEND, order)
        except NotDeliveredError as error:
            msg = f"{what}: the broker's process: {error}; it was not sent"
            raise BrokerUnavailableError(msg) from error
        except NoAnswerError as error:
            msg = f"{what}: the broker's process: {error}; it may have left, reconcile"
            raise OutcomeUnknownError(msg) from error
        if reply.error is not None:
            self._keeper.proved()
            _raise_of_send(what, reply.error)
        try:
            receipt = methods.receipt_of(reply.value)
        except (msgspec.DecodeError, DtmsError) as error:
            self._keeper.drop(child, f"send: the receipt cannot be read ({error})")
            msg = f"{what}: the receipt cannot be read ({error}); it may have been applied, reconcile"
            raise OutcomeUnknownError(msg) from error
        self._keeper.proved()
        return receipt

    def _ready_to_send(self, what: str) -> ChildProcess:
        """Return a child; until there is one nothing left, whatever the error says."""
        try:
            return self._keeper.ready()
        except DtmsError as error:
            msg = f"{what}: the broker's process is not ready: {error}; it was not sent"
            raise BrokerUnavailableError(msg) from error

    def _ready(self) -> ChildProcess:
        """Return a child; until there is one nothing can be told, whatever the error says."""
        try:
            return self._keeper.ready()
        except BrokerUnavailableError:
            raise
        except DtmsError as error:
            msg = f"the broker's process is not ready: {error}"
            raise BrokerUnavailableError(msg) from error

    def _ask(self, read: Read[T], *args: Any) -> T:
        with self._turn():
            return self._keeper.ask(self._ready(), read, *args)

    def _account(self, child: ChildProcess) -> Account:
        found = self._keeper.ask(child, methods.ACCOUNT)
        self._pin.check(found)
        return found

    def _turn(self) -> AbstractContextManager[None]:
        return self._turns.take(self._read_turn_s, order=False)


def _raise_of_send(what: str, wire: ErrorWire) -> NoReturn:
    """Raise what the sender raised where that says whether the order left; everything else says that it may have."""
    error = error_from_wire(wire)
    if isinstance(error, _SAYS_WHETHER_IT_LEFT):
        raise error
    told = wire.message if error is None else f"{wire.kind}: {wire.message}"
    msg = f"{what}: the sender failed with {told}; it may have left, reconcile"
    raise OutcomeUnknownError(msg)


def _own_command() -> tuple[str, ...]:
    return (sys.executable, "-m", "dtms.adapters.worker.child", str(os.getpid()))
