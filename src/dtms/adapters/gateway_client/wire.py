"""The gateway's answers as they stand on the wire: one definition for the service that encodes and the client that decodes.

Times are ISO-8601 with offset, sides are words, numbers are what the domain holds. `convert` makes them and reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from dtms.domain.instrument import AssetClass
from dtms.domain.position import AccountKind, DealEntry, DealReason
from dtms.domain.units import Millis, from_utc
from dtms.errors import InvalidDataError

MAX_SYMBOL: Final = 64
_SEEN: Final = r"[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd]*"
SYMBOL_PATTERN: Final = rf"^{_SEEN}[^\W_]{_SEEN}$"
"""Whatever a broker may call a symbol, with a letter or digit of any script in it: signs and spaces too. Not what nobody can
see: control characters, marks without width, marks that turn the direction of writing."""

_SYMBOL: Final = re.compile(SYMBOL_PATTERN)

MAX_BARS: Final = 50_000
MAX_SYMBOLS: Final = 100

SideWord = Literal["BUY", "SELL"]
Iso = Annotated[str, msgspec.Meta(min_length=20, max_length=35, extra_json_schema={"format": "date-time"})]


class _Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keyword-only, immutable; a member that is not known is no answer of ours."""


class QuoteWire(_Wire, frozen=True, kw_only=True):
    """A `Quote`."""

    symbol: str
    at: Iso
    bid: float
    ask: float
    volume: float | None
    buy_volume: float | None
    sell_volume: float | None


class BarWire(_Wire, frozen=True, kw_only=True):
    """A `Bar`."""

    start: Iso
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    buy_volume: float | None
    sell_volume: float | None


class InstrumentWire(_Wire, frozen=True, kw_only=True):
    """An `Instrument`."""

    symbol: str
    canonical: str
    asset: AssetClass
    digits: int
    point: float
    tick_size: float
    contract_size: float
    value_per_unit: float
    volume_min: float
    volume_max: float
    volume_step: float
    volume_limit: float | None
    stops_level: float
    freeze_level: float
    currency_base: str
    currency_profit: str
    hedge_allowed: bool
    opening_allowed: bool


class PositionWire(_Wire, frozen=True, kw_only=True):
    """A `Position`."""

    ticket: int
    identifier: int
    symbol: str
    side: SideWord
    volume: float
    entry: float
    stop: float | None
    target: float | None
    current: float
    profit: float
    swap: float
    magic: int
    comment: str
    opened_at: Iso


class DealWire(_Wire, frozen=True, kw_only=True):
    """A `Deal`."""

    deal_id: int
    order_id: int
    position: int
    symbol: str
    side: SideWord
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
    at: Iso


class AccountWire(_Wire, frozen=True, kw_only=True):
    """An `Account`."""

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


class _Read(_Wire, frozen=True, kw_only=True):
    """What every answer has: when it was read, and the number of the read."""

    as_of: Iso
    token: int


class AskedQuote(_Wire, frozen=True, kw_only=True):
    """One symbol of a batch: its quote, or the code why there is none."""

    asked: str
    quote: QuoteWire | None
    code: Literal["symbol_unknown", "data_stale", "data_invalid"] | None


class QuotesAnswer(_Read, frozen=True, kw_only=True):
    """The answer of /quotes; one entry for each symbol, in the order asked."""

    quotes: list[AskedQuote]


class BarsAnswer(_Read, frozen=True, kw_only=True):
    """The answer of /bars/{symbol}; closed bars, oldest first."""

    symbol: str
    timeframe: str
    bars: list[BarWire]


class InstrumentAnswer(_Read, frozen=True, kw_only=True):
    """The answer of /instruments/{symbol}."""

    instrument: InstrumentWire


class SymbolsAnswer(_Read, frozen=True, kw_only=True):
    """The answer of /symbols: the broker's names of what stands in Market Watch."""

    symbols: list[str]


class PositionsAnswer(_Read, frozen=True, kw_only=True):
    """The answer of /positions; here `as_of` and `token` are the broker read's own."""

    positions: list[PositionWire]


class DealsAnswer(_Read, frozen=True, kw_only=True):
    """The answer of /deals; oldest first."""

    deals: list[DealWire]


class AccountAnswer(_Read, frozen=True, kw_only=True):
    """The answer of /account."""

    account: AccountWire


def is_symbol(text: str) -> bool:
    """Say whether a text may be a symbol's name at all."""
    return len(text) <= MAX_SYMBOL and _SYMBOL.fullmatch(text) is not None and _is_text(text)


def symbol_list(symbols: Iterable[str]) -> str:
    """Return names as one text with commas between; a comma in a name stands as %2C, a percent sign as %25."""
    return ",".join(symbol.replace("%", "%25").replace(",", "%2C") for symbol in symbols)


def listed_symbols(text: str) -> tuple[str, ...]:
    """Return the names of `symbol_list`."""
    return tuple(name.replace("%2C", ",").replace("%25", "%") for name in text.split(","))


def _is_text(text: str) -> bool:
    """Say whether a text can be written as UTF-8: half a character cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def from_iso(text: str) -> Millis:
    """Return the instant of an ISO-8601 text with offset.

    Raises:
        InvalidDataError: It is none, or has no offset.
    """
    try:
        return from_utc(datetime.fromisoformat(text))
    except ValueError as error:
        msg = f"{text!r} is no instant; write it as 2024-01-31T12:00:00+00:00"
        raise InvalidDataError(msg) from error
