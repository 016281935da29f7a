"""The broker as we see it: reads for everybody, writes for the gateway alone."""

from __future__ import annotations

from typing import Protocol

from dtms.domain.action import Action
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, Position, PositionsRead, WorkingOrder
from dtms.domain.receipt import Receipt
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import Millis


class BrokerReads(Protocol):
    """Facts from the broker, or from the gateway that asks it for us.

    Every method raises `BrokerUnavailableError` where it could not be told; an empty answer means "there is none".
    """

    def account(self) -> Account:
        """Return the account as it stands."""
        ...

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument; raises `InvalidDataError` for a symbol that the broker does not know."""
        ...

    def positions(self) -> PositionsRead:
        """Return all open positions of the account, in one clean read."""
        ...

    def quote(self, symbol: str) -> Quote:
        """Return the last quote; raises `StaleDataError` where there has been none yet."""
        ...

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return the last `count` *closed* bid bars, oldest first; fewer where the history is shorter."""
        ...

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return all deals of one position identifier, oldest first."""
        ...

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return all deals of the account in [start, end], oldest first."""
        ...


class ServedReads(BrokerReads, Protocol):
    """What the gateway serves to the others."""

    def market_watch(self) -> tuple[str, ...]:
        """Return the broker's names of the symbols in Market Watch.

        Raises:
            BrokerUnavailableError: It could not be told.
        """
        ...


class GatewayReads(BrokerReads, Protocol):
    """What the gateway reads beside: it alone has to tell whether an order that it sent is still under way."""

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the orders at the market that are not finished, in one clean read.

        Raises:
            BrokerUnavailableError: It could not be told.
        """
        ...


class OffsetSource(Protocol):
    """Who learns how far the trade server's clock is ahead of UTC."""

    def seen_offset(self) -> SeenOffset | None:
        """Return the offset as ticks have shown it to this process; None where none has yet.

        Raises:
            BrokerUnavailableError: It could not be told.
        """
        ...

    def recall_offset(self, last: SeenOffset) -> None:
        """Let an offset that an earlier process has seen stand in until a tick shows it again.

        Raises:
            BrokerUnavailableError: The broker's process does not answer.
        """
        ...


class BrokerWrites(Protocol):
    """The only way to change anything at the broker; only the gateway holds one, and none while advisory.

    Raises:
        BrokerUnavailableError: It provably never left.
        OutcomeUnknownError: It left, or may have.
    """

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action and return the broker's answer.

        Args:
            action: The absolute target.
            position: The fresh read of the position that the action touches; None for an opening.
            tag: What the broker stores with it, at most 26 characters.
        """
        ...
