"""The order gateway's application: reads only. Its writes come out of the ledger, never over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, Literal

from fastapi import Depends, Query, Request
from fastapi import Path as PathParameter
from pydantic import Field
from starlette.responses import Response
from starlette.types import ASGIApp

from dtms.adapters.gateway_client import wire
from dtms.domain.market import Timeframe
from dtms.domain.units import Millis
from dtms.errors import InvalidDataError
from dtms.ports.broker import ServedReads
from dtms.ports.clock import Clock
from dtms.services.gateway import answers
from dtms.services.gateway.desk import SerializedReads
from dtms.services.web.api import Api, wrap
from dtms.services.web.fields import PlainInteger, SymbolField, TicketParameter
from dtms.services.web.guard import Gate
from dtms.services.web.health import GATEWAY_NAME, ReadyReport, add_health
from dtms.services.web.metrics import Metrics, add_metrics
from dtms.services.web.offload import Offload, Sleep, in_thread
from dtms.services.web.problem import FieldFault, Problem, invalid
from dtms.services.web.query import only
from dtms.services.web.sse import EventFeed, EventSource

DEFAULT_BARS: Final = 100

TimeframeName = Literal["M1", "M5", "M15", "H1", "H4", "D1"]
SymbolParameter = Annotated[SymbolField, PathParameter()]


def make_gateway_app(
    reads: ServedReads,
    *,
    ready: Callable[[], ReadyReport],
    ledger: EventSource,
    clock: Clock,
    gate: Gate,
    offload: Offload = in_thread,
    sleep: Sleep = asyncio.sleep,
    metrics: Metrics | None = None,
) -> ASGIApp:
    """Return the gateway's application.

    Args:
        reads: The broker; asked by one at a time.
        ready: Whether the gateway can do its work; may block.
        ledger: Where /events reads.
        clock: For `as_of` and heartbeats.
        gate: Host, Origin and token.
        offload: How blocking calls are run; `inline` where the application is driven by hand.
        sleep: How the event stream waits.
        metrics: Where requests are counted; one of its own when None.
    """
    api = Api("DTMS order gateway")
    counted = Metrics(GATEWAY_NAME) if metrics is None else metrics
    desk = SerializedReads(reads, clock)
    feed = EventFeed(ledger, clock, offload, sleep)
    add_health(api, service=GATEWAY_NAME, ready=ready, offload=offload)
    add_metrics(api, counted)
    _add_account(api, desk, offload)
    _add_market(api, desk, offload)
    _add_deals(api, desk, offload)
    _add_events(api, feed)
    return wrap(api, gate, counted)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _add_account(api: Api, desk: SerializedReads, offload: Offload) -> None:
    @api.get("/account", responses=api.answers(wire.AccountAnswer), dependencies=[Depends(only())])
    async def account() -> Response:
        return _json(await offload(partial(answers.account, desk)))

    @api.get("/positions", responses=api.answers(wire.PositionsAnswer), dependencies=[Depends(only())])
    async def positions() -> Response:
        return _json(await offload(partial(answers.positions, desk)))


def _add_market(api: Api, desk: SerializedReads, offload: Offload) -> None:
    @api.get("/quotes", responses=api.answers(wire.QuotesAnswer), dependencies=[Depends(only("symbols"))])
    async def quotes(
        symbols: Annotated[str, Query(max_length=wire.MAX_SYMBOLS * (3 * wire.MAX_SYMBOL + 1))],
    ) -> Response:
        return _json(await offload(partial(answers.quotes, desk, _symbols(symbols))))

    @api.get(
        "/bars/{symbol:path}",
        responses=api.answers(wire.BarsAnswer),
        dependencies=[Depends(only("timeframe", "count"))],
    )
    async def bars(
        symbol: SymbolParameter,
        timeframe: TimeframeName = "M5",
        count: Annotated[int, Field(ge=1, le=wire.MAX_BARS), PlainInteger, Query()] = DEFAULT_BARS,
    ) -> Response:
        return _json(await offload(partial(answers.bars, desk, symbol, Timeframe[timeframe], count)))

    @api.get("/instruments/{symbol:path}", responses=api.answers(wire.InstrumentAnswer), dependencies=[Depends(only())])
    async def instrument(symbol: SymbolParameter) -> Response:
        return _json(await offload(partial(answers.instrument, desk, symbol)))

    @api.get("/symbols", responses=api.answers(wire.SymbolsAnswer), dependencies=[Depends(only())])
    async def symbols_shown() -> Response:
        return _json(await offload(partial(answers.symbols, desk)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    start: Millis
    end: Millis


def _add_deals(api: Api, desk: SerializedReads, offload: Offload) -> None:
    @api.get("/deals", responses=api.answers(wire.DealsAnswer), dependencies=[Depends(only("position", "from", "to"))])
    async def deals(
        position: Annotated[TicketParameter | None, Query()] = None,
        start: Annotated[str | None, Query(alias="from")] = None,
        end: Annotated[str | None, Query(alias="to")] = None,
    ) -> Response:
        if position is not None and start is None and end is None:
            return _json(await offload(partial(answers.deals_of, desk, position)))
        if position is None and start is not None and end is not None:
            span = _span(start, end)
            return _json(await offload(partial(answers.deals_between, desk, span.start, span.end)))
        raise Problem(422, "invalid_request", "Ask for a position, or for from and to; not both, and not neither.")


def _add_events(api: Api, feed: EventFeed) -> None:
    @api.get("/events", dependencies=[Depends(only())])
    async def events(request: Request) -> Response:
        return await feed.response(request.headers.get("last-event-id"))


def _symbols(text: str) -> tuple[str, ...]:
    symbols = wire.listed_symbols(text)
    if len(symbols) > wire.MAX_SYMBOLS or not all(wire.is_symbol(symbol) for symbol in symbols):
        message = f"write 1 to {wire.MAX_SYMBOLS} symbols of at most {wire.MAX_SYMBOL} characters with commas between"
        raise invalid([FieldFault(field="query.symbols", code="not_symbols", message=message)])
    return symbols


def _span(start: str, end: str) -> _Span:
    faults = []
    found: dict[str, Millis] = {}
    for name, text in (("from", start), ("to", end)):
        try:
            found[name] = wire.from_iso(text)
        except InvalidDataError:
            message = "write an instant as 2024-01-31T12:00:00+00:00 (its + as %2B)"
            faults.append(FieldFault(field=f"query.{name}", code="not_an_instant", message=message))
    if faults:
        raise invalid(faults)
    if found["from"] > found["to"]:
        raise invalid([FieldFault(field="query.from", code="after_to", message="from must not be after to")])
    return _Span(start=found["from"], end=found["to"])
