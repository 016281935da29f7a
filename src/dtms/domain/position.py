"""What the broker says: positions, deals, the account. Facts, never ours to change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from dtms.domain.units import Millis, Side, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One open position at the broker.

    `identifier` stays when the ticket changes; `stop` and `target` are None where there is none. `profit` and `swap`
    are in account currency.
    """

    ticket: Ticket
    identifier: int
    symbol: str
    side: Side
    volume: float
    entry: float
    stop: float | None
    target: float | None
    current: float
    profit: float
    swap: float
    magic: int
    comment: str
    opened_at: Millis


class DealEntry(StrEnum):
    """Whether a deal opened, closed, reversed, or closed against an opposite position."""

    IN = "in"
    OUT = "out"
    INOUT = "inout"
    OUT_BY = "out_by"


class DealReason(StrEnum):
    """Who or what made a deal."""

    MANUAL = "manual"
    PROGRAM = "program"
    STOP = "stop"
    TARGET = "target"
    STOP_OUT = "stop_out"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """One execution; money in account currency, costs negative when paid."""

    deal_id: int
    order_id: int
    position: int
    symbol: str
    side: Side
    entry: DealEntry
    reason: DealReason
    volume: float
    price: float
    profit: float
    commission: float
    swap: float
    fee: float
    magic: int
    comment: str
    at: Millis

    @property
    def net(self) -> float:
        """Profit with all costs."""
        return self.profit + self.commission + self.swap + self.fee


class AccountKind(StrEnum):
    """What kind of money is on the account."""

    DEMO = "demo"
    CONTEST = "contest"
    REAL = "real"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account at the broker; money in its own `currency`; `margin_level` in percent, None while no margin is used."""

    login: int
    server: str
    kind: AccountKind
    currency: str
    currency_digits: int
    hedging: bool
    fifo: bool
    balance: float
    equity: float
    margin: float
    margin_free: float
    margin_level: float | None
    trade_allowed: bool

    @property
    def key(self) -> str:
        """The name under which the ledger knows the account."""
        return f"{self.server}:{self.login}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingOrder:
    """An order at the market that the broker has accepted and not finished: it may still fill.

    Orders that wait for a price are none. `position` is the identifier of what it closes, None where it opens; `comment`
    is what the broker kept of our tag.
    """

    order: int
    symbol: str
    position: int | None
    comment: str


@dataclass(frozen=True, kw_only=True)
class PositionsRead:
    """One whole, clean read of the open positions; `token` names the read and grows with each.

    It has no slots because it keeps an index: each of some thousand trades looks itself up several times a pass.
    """

    token: int
    as_of: Millis
    positions: tuple[Position, ...]

    def find(self, identifier: int) -> Position | None:
        """Return the position with this stable identifier; None says it was not in *this* read, no more."""
        return self._by_identifier.get(identifier)

    @cached_property
    def _by_identifier(self) -> dict[int, Position]:
        return {position.identifier: position for position in self.positions}
