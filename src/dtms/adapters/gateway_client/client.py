"""`BrokerReads` over HTTP: asks the order gateway, and believes only a whole, well-formed answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote as percent_encoded

import msgspec
import requests
from requests.exceptions import BaseHTTPError  # type: ignore[attr-defined]  # urllib3's, which is not our dependency

from dtms.adapters.gateway_client import convert, wire
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, PositionsRead
from dtms.domain.units import Millis, to_iso
from dtms.errors import (
    BrokerUnavailableError,
    InvalidDataError,
    MarketDataError,
    NotEnoughBarsError,
    NotPricedError,
    StaleDataError,
)

T = TypeVar("T")
W = TypeVar("W")

SERVICE_NAME: Final = "dtms-gateway"
TIMEOUT_S: Final = 2.0
MAX_BYTES: Final = 32 << 20
"""50,000 bars are about 8 MiB."""

_CHUNK: Final = 1 << 16
_MARKET_ERRORS: Final[Mapping[str, type[MarketDataError]]] = {
    "symbol_unknown": InvalidDataError,
    "data_invalid": InvalidDataError,
    "data_stale": StaleDataError,
    "price_missing": NotPricedError,
    "bars_missing": NotEnoughBarsError,
}


class _ProblemWire(msgspec.Struct, frozen=True):
    code: str


class _LiveWire(msgspec.Struct, frozen=True):
    service: str


class GatewayClient:
    """Reads from the gateway; every failure to tell is `BrokerUnavailableError`, never an empty answer.

    One instance may be used by several threads. The time-out is for connecting, for each wait for bytes, and for the whole
    body.

    Args:
        base_url: Where the gateway listens, without a path.
        session: Makes the requests; a fresh one that ignores the environment's proxies when None.
        token: Shown with every request where the gateway wants one for reads.
        timeout_s: In seconds.
        now_s: A monotone clock in seconds, for the time-out of the body.
    """

    def __init__(
        self,
        base_url: str,
        *,
        session: requests.Session | None = None,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._session = requests.Session() if session is None else session
        self._session.trust_env = False
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._now_s = now_s

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def check_service(self) -> None:
        """Make sure that the gateway, and nobody else, answers at the address.

        Raises:
            BrokerUnavailableError: Nobody answers, or another service does.
        """
        found = self._get("/health/live", _LiveWire).service
        if found != SERVICE_NAME:
            msg = f"{self._base} is the service {found!r}, not {SERVICE_NAME!r}; set the gateway's own address"
            raise BrokerUnavailableError(msg)

    def account(self) -> Account:
        """Return the account as it stands."""
        answer = self._get("/account", wire.AccountAnswer)
        return self._value("/account", lambda: convert.account_from_wire(answer.account))

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument; raises `InvalidDataError` for a symbol that the broker does not know."""
        path = f"/instruments/{_segment(symbol)}"
        answer = self._get(path, wire.InstrumentAnswer)
        return self._value(path, lambda: convert.instrument_from_wire(answer.instrument))

    def positions(self) -> PositionsRead:
        """Return all open positions of the account, in one clean read."""
        answer = self._get("/positions", wire.PositionsAnswer)
        return self._value(
            "/positions",
            lambda: PositionsRead(
                token=answer.token,
                as_of=wire.from_iso(answer.as_of),
                positions=tuple(map(convert.position_from_wire, answer.positions)),
            ),
        )

    def quote(self, symbol: str) -> Quote:
        """Return the last quote; raises `StaleDataError` where there has been none yet."""
        found = self.quotes((symbol,))[symbol]
        if isinstance(found, Quote):
            return found
        raise found

    def quotes(self, symbols: Iterable[str]) -> dict[str, Quote | MarketDataError]:
        """Return for each symbol its last quote, or the error that `quote` would raise for it alone.

        One symbol without a quote does not cost the others theirs.

        Raises:
            BrokerUnavailableError: It could not be told for some of them, so for none.
        """
        wanted = list(dict.fromkeys(symbols))
        found: dict[str, Quote | MarketDataError] = {
            symbol: _not_a_symbol(symbol) for symbol in wanted if not wire.is_symbol(symbol)
        }
        askable = [symbol for symbol in wanted if symbol not in found]
        for first in range(0, len(askable), wire.MAX_SYMBOLS):
            found.update(self._quotes(askable[first : first + wire.MAX_SYMBOLS]))
        return found

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return the last `count` closed bid bars, oldest first; fewer where the history is shorter.

        Raises:
            InvalidDataError: The symbol is unknown, or `count` is not in [1, 50,000].
        """
        if not 1 <= count <= wire.MAX_BARS:
            msg = f"{symbol}: {count} bars cannot be asked for; ask for 1 to {wire.MAX_BARS}"
            raise InvalidDataError(msg)
        path = f"/bars/{_segment(symbol)}"
        answer = self._get(path, wire.BarsAnswer, {"timeframe": timeframe.name, "count": str(count)})
        if (answer.symbol, answer.timeframe) != (symbol, timeframe.name) or len(answer.bars) > count:
            raise _not_as_agreed(path, f"asked for {count} {timeframe.name} bars of {symbol}, answered for others")
        return self._value(path, lambda: tuple(map(convert.bar_from_wire, answer.bars)))

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return all deals of one position identifier, oldest first."""
        return self._deals({"position": str(position)})

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return all deals of the account in [start, end], oldest first."""
        return self._deals({"from": to_iso(start), "to": to_iso(end)})

    def _deals(self, parameters: dict[str, str]) -> tuple[Deal, ...]:
        answer = self._get("/deals", wire.DealsAnswer, parameters)
        return self._value("/deals", lambda: tuple(map(convert.deal_from_wire, answer.deals)))

    def _quotes(self, symbols: list[str]) -> dict[str, Quote | MarketDataError]:
        answer = self._get("/quotes", wire.QuotesAnswer, {"symbols": wire.symbol_list(symbols)})
        if [entry.asked for entry in answer.quotes] != symbols:
            raise _not_as_agreed("/quotes", f"asked for {symbols}, answered for others")
        return {entry.asked: self._value("/quotes", partial(_of_entry, entry)) for entry in answer.quotes}

    def _get(self, path: str, kind: type[W], parameters: dict[str, str] | None = None) -> W:
        """Return a decoded answer.

        Raises:
            BrokerUnavailableError: Anything but an answer as agreed.
            MarketDataError: The gateway says that the symbol or its data is at fault.
        """
        try:
            with self._session.get(
                f"{self._base}{path}",
                params=parameters,
                headers=self._headers,
                timeout=self._timeout_s,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = self._body(path, response)
        except (requests.RequestException, BaseHTTPError, OSError) as error:
            msg = f"gateway {self._base}{path}: {type(error).__name__}; is it running?"
            raise BrokerUnavailableError(msg) from error
        if response.status_code != HTTPStatus.OK:
            raise _refused(path, response.status_code, body)
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _not_as_agreed(path, str(error)) from error

    def _body(self, path: str, response: requests.Response) -> bytes:
        """Read the body; a slow drip is cut off, which the vendor's time-out alone would not do."""
        deadline = self._now_s() + self._timeout_s
        body = bytearray()
        while chunk := response.raw.read1(_CHUNK):
            body += chunk
            if len(body) > MAX_BYTES:
                raise _not_as_agreed(path, f"more than {MAX_BYTES} bytes")
            if self._now_s() > deadline:
                msg = f"gateway {self._base}{path}: the answer was not complete after {self._timeout_s} s"
                raise BrokerUnavailableError(msg)
        declared = response.headers.get("Content-Length")
        if declared is not None and declared != str(len(body)):
            raise _not_as_agreed(path, f"{len(body)} bytes of {declared}")
        return bytes(body)

    @staticmethod
    def _value(path: str, build: Callable[[], T]) -> T:
        """Build a domain value; one whose constructor refuses it was not as agreed, and so nothing was told."""
        try:
            return build()
        except InvalidDataError as error:
            raise _not_as_agreed(path, str(error)) from error


def _of_entry(entry: wire.AskedQuote) -> Quote | MarketDataError:
    if entry.quote is not None and entry.code is None:
        return convert.quote_from_wire(entry.quote)
    if entry.quote is None and entry.code is not None:
        return _market_error(entry.code, entry.asked)
    msg = f"quote of {entry.asked}: neither a quote nor a reason, or both"
    raise InvalidDataError(msg)


def _not_a_symbol(symbol: str) -> InvalidDataError:
    return InvalidDataError(f"{symbol[: wire.MAX_SYMBOL]!r} is no symbol's name; use the broker's spelling")


def _segment(symbol: str) -> str:
    if not wire.is_symbol(symbol):
        raise _not_a_symbol(symbol)
    return percent_encoded(symbol, safe="")


def _market_error(code: str, what: str) -> MarketDataError:
    remedy = {
        "symbol_unknown": "the broker does not know it; use the broker's spelling",
        "data_invalid": "the broker's data cannot be true; see the gateway's log",
        "price_missing": "it has no price yet; wait for its first quote",
        "bars_missing": "the terminal has not loaded its history yet; ask again",
        "data_stale": "there is no fresh data yet; wait for the market",
    }
    return _MARKET_ERRORS[code](f"{what}: {remedy[code]}")


def _refused(path: str, status: int, body: bytes) -> BrokerUnavailableError | MarketDataError:
    try:
        code = msgspec.json.decode(body, type=_ProblemWire).code
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        code = "not a problem"
    # Only a question about a symbol can be answered by "its data is at fault"; elsewhere it means that nothing was told.
    if code in _MARKET_ERRORS and path.startswith(("/bars/", "/instruments/")):
        return _market_error(code, path)
    return BrokerUnavailableError(f"gateway {path}: status {status} ({code[:64]})")


def _not_as_agreed(path: str, why: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(f"gateway {path}: not as agreed ({why[:300]})")
