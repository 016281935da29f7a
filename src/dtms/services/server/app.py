"""The DTMS server's application: every route of its table, the hot reads in front of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Query, Request
from fastapi import Path as PathParameter
from fastapi.params import Depends as Dependency
from starlette.responses import Response
from starlette.types import ASGIApp

from dtms.domain.trade import TradeState
from dtms.domain.units import Millis, Ticket
from dtms.services.server import encode, wire
from dtms.services.server.answers import Answers
from dtms.services.server.bodies import (
    DEFAULT_PAGE,
    ActionsCursor,
    ActionsLimit,
    EnableBody,
    InstantText,
    IntentParameter,
    ReasonBody,
    SettleBody,
    StatesBody,
    TradesCursor,
    TradesLimit,
    instant,
)
from dtms.services.server.mode_desk import ModeHandler
from dtms.services.server.parts import Site
from dtms.services.server.person import confirm, release_or_let_go, settle
from dtms.services.server.registration import enable
from dtms.services.server.status import SystemCollector
from dtms.services.web.api import Api, header, wrap
from dtms.services.web.body import STATES_LIMIT, body_of
from dtms.services.web.dispatch import HotAnswer
from dtms.services.web.etag import matches
from dtms.services.web.fields import SymbolField, TicketParameter
from dtms.services.web.guard import Gate, principal_of
from dtms.services.web.health import SERVER_NAME, add_health, live_body, ready_answer
from dtms.services.web.metrics import SHOWN, Metrics
from dtms.services.web.offload import Offload, Sleep, in_thread
from dtms.services.web.problem import Problem
from dtms.services.web.query import only
from dtms.services.web.sse import EventFeed

TRADE_PREFIX: Final = "/dtms/trade/"

TicketPath = Annotated[TicketParameter, PathParameter()]
IntentPath = Annotated[IntentParameter, PathParameter()]


def make_server_app(
    site: Site,
    *,
    gate: Gate,
    offload: Offload = in_thread,
    sleep: Sleep = asyncio.sleep,
    metrics: Metrics | None = None,
) -> ASGIApp:
    """Return the DTMS server's application.

    Args:
        site: The world that it answers for; a simulation may swap it.
        gate: Host, Origin and token.
        offload: How blocking calls are run; `inline` where the application is driven by hand.
        sleep: How the event stream waits.
        metrics: Where requests are counted; one of its own when None.
    """
    api = Api("DTMS server")
    counted = Metrics(SERVER_NAME) if metrics is None else metrics
    answers = Answers(site)
    ready = Depends(_recovered(site))
    add_health(
        api,
        service=SERVER_NAME,
        ready=lambda: site.parts.ready(),  # noqa: PLW0108 - the site's parts may be swapped
        offload=offload,
        ready_paths=("/health/ready", "/dtms/health"),
    )
    _add_metrics(api, site, answers, counted, offload)
    _add_status(api, answers, offload)
    _add_mode(api, ModeHandler(site), offload)
    _add_registration(api, site, answers, offload, ready)
    _add_trades(api, answers, offload, ready)
    _add_states(api, answers, offload, ready)
    _add_journal(api, answers, offload, ready)
    _add_events(api, site, offload, sleep, ready)
    alive = live_body(SERVER_NAME)

    def hot_trade(segment: str) -> HotAnswer | None:
        return site.board.hot(segment)

    def hot_live(_rest: str) -> HotAnswer:
        return 200, alive, None

    return wrap(api, gate, counted, exact={"/health/live": hot_live}, prefixes={TRADE_PREFIX: hot_trade})


def _recovered(site: Site) -> Callable[[], Awaitable[None]]:
    """Return the dependency that refuses to speak of trades before recovery has ended: 503, never 404."""

    async def check() -> None:
        if not site.parts.recovered():
            detail = "The service is recovering and does not know the trades yet; try again."
            raise Problem(503, "not_ready", detail, headers={"Retry-After": "1"})

    return check


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _add_metrics(api: Api, site: Site, answers: Answers, metrics: Metrics, offload: Offload) -> None:
    collector = SystemCollector()
    metrics.registry.register(collector)

    @api.get("/metrics", responses=SHOWN, response_class=Response)
    async def show() -> Response:
        collector.show(await offload(answers.numbers), site.parts.clock.market_now())
        return metrics.response()


def _add_status(api: Api, answers: Answers, offload: Offload) -> None:
    @api.get("/dtms/status", responses=api.answers(wire.StatusAnswer), dependencies=[Depends(only())])
    async def status() -> Response:
        return _json(await offload(answers.status))


def _add_mode(api: Api, desk: ModeHandler, offload: Offload) -> None:
    """Add the mode's routes; they answer before recovery has ended too, for a halt must be possible at any time."""

    @api.get("/dtms/mode", responses=api.answers(wire.ModeAnswer), dependencies=[Depends(only())])
    async def mode() -> Response:
        return _json(await offload(desk.show))

    takes = api.takes(ReasonBody)

    @api.post(
        "/dtms/mode/halt", responses=api.answers(wire.ModeAnswer), openapi_extra=takes, dependencies=[Depends(only())]
    )
    async def halt(request: Request, asked: Annotated[ReasonBody, Depends(body_of(ReasonBody))]) -> Response:
        return _json(await offload(partial(desk.halt, asked, principal_of(request.scope).name)))

    @api.post(
        "/dtms/mode/resume", responses=api.answers(wire.ModeAnswer), openapi_extra=takes, dependencies=[Depends(only())]
    )
    async def resume(request: Request, asked: Annotated[ReasonBody, Depends(body_of(ReasonBody))]) -> Response:
        return _json(await offload(partial(desk.resume, asked, principal_of(request.scope).name)))


def _add_registration(api: Api, site: Site, answers: Answers, offload: Offload, recovered: Dependency) -> None:
    responses = {**api.answers(wire.RegisteredAnswer, 201), **api.answers(wire.RegisteredAnswer, 200)}

    @api.post(
        "/dtms/trade/enable",
        responses=responses,
        openapi_extra=api.takes(EnableBody),
        dependencies=[recovered, Depends(only())],
    )
    async def register(asked: Annotated[EnableBody, Depends(body_of(EnableBody))]) -> Response:
        wanted = asked.registration()
        # A trade is taken in although another one is not decided: it is the better for it.
        ready_answer((await offload(site.parts.ready)).without("progress"))
        done = await enable(site, offload, wanted)
        body = await offload(partial(answers.registered, asked.ticket, already=done.already))
        return _json(body, 200 if done.already else 201)

    @api.delete("/dtms/trade/{ticket}", status_code=204, dependencies=[recovered, Depends(only("force"))])
    async def let_go(request: Request, ticket: TicketPath, force: Literal["true", "false"] = "false") -> Response:
        actor = principal_of(request.scope).name
        await release_or_let_go(site, offload, Ticket(ticket), force=force == "true", actor=actor)
        return Response(status_code=204)

    @api.post(
        "/dtms/trade/{ticket}/confirm",
        responses=api.answers(wire.TradeAnswer),
        dependencies=[recovered, Depends(only())],
    )
    async def confirmed(request: Request, ticket: TicketPath) -> Response:
        trade = await confirm(site, offload, Ticket(ticket), actor=principal_of(request.scope).name)
        return _json((await offload(partial(answers.trade, trade.ticket))).body)

    @api.post(
        "/dtms/intents/{intent_id}/settle",
        responses=api.answers(wire.SettledAnswer),
        openapi_extra=api.takes(SettleBody),
        dependencies=[recovered, Depends(only())],
    )
    async def settled(
        request: Request, intent_id: IntentPath, asked: Annotated[SettleBody, Depends(body_of(SettleBody))]
    ) -> Response:
        done = await settle(site, offload, intent_id, asked, actor=principal_of(request.scope).name)
        told = wire.SettledAnswer(id=done.intent_id, state=done.state, reason=done.reason)
        return _json(encode.JSON.encode(told))


def _add_trades(api: Api, answers: Answers, offload: Offload, recovered: Dependency) -> None:
    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "The trade is as the ETag names it."}}

    @api.get(
        "/dtms/trade/{ticket}",
        responses={**api.answers(wire.TradeAnswer), **unchanged},
        openapi_extra=header("If-None-Match"),
        dependencies=[recovered, Depends(only())],
    )
    async def trade(request: Request, ticket: TicketPath) -> Response:
        found = await offload(partial(answers.trade, ticket))
        headers = {"ETag": found.etag}
        if matches(request.headers.get("if-none-match"), found.etag):
            return Response(status_code=304, headers=headers)
        return Response(found.body, 200, headers, "application/json")

    @api.get(
        "/dtms/trade/{ticket}/explain",
        responses=api.answers(wire.ExplainAnswer),
        dependencies=[recovered, Depends(only())],
    )
    async def explain(ticket: TicketPath) -> Response:
        return _json(await offload(partial(answers.explain, ticket)))

    @api.get(
        "/dtms/trades",
        responses=api.answers(wire.TradesAnswer),
        dependencies=[recovered, Depends(only("state", "symbol", "limit", "cursor"))],
    )
    async def trades(
        state: TradeState | None = None,
        symbol: Annotated[SymbolField | None, Query()] = None,
        limit: Annotated[TradesLimit, Query()] = DEFAULT_PAGE,
        cursor: Annotated[TradesCursor, Query()] = 0,
    ) -> Response:
        return _json(await offload(partial(answers.trades, state, symbol, cursor, limit)))


def _add_states(api: Api, answers: Answers, offload: Offload, recovered: Dependency) -> None:
    @api.post(
        "/dtms/states",
        responses=api.answers(wire.StatesAnswer),
        openapi_extra=api.takes(StatesBody),
        dependencies=[recovered, Depends(only())],
    )
    async def states(asked: Annotated[StatesBody, Depends(body_of(StatesBody, limit=STATES_LIMIT))]) -> Response:
        return _json(await offload(partial(answers.states, asked.tickets)))


def _add_journal(api: Api, answers: Answers, offload: Offload, recovered: Dependency) -> None:
    @api.get(
        "/dtms/actions",
        responses=api.answers(wire.ActionsAnswer),
        dependencies=[recovered, Depends(only("ticket", "since", "limit", "cursor"))],
    )
    async def actions(
        ticket: Annotated[TicketParameter | None, Query()] = None,
        since: Annotated[InstantText | None, Query()] = None,
        limit: Annotated[ActionsLimit, Query()] = DEFAULT_PAGE,
        cursor: Annotated[ActionsCursor | None, Query()] = None,
    ) -> Response:
        begin = Millis(0) if since is None else instant("since", since)
        after = "" if cursor is None else cursor
        return _json(await offload(partial(answers.actions, ticket, begin, after, limit)))


def _add_events(api: Api, site: Site, offload: Offload, sleep: Sleep, recovered: Dependency) -> None:
    feeds: dict[int, EventFeed] = {}

    stream = {"description": "A stream of events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}

    @api.get(
        "/dtms/events",
        responses={200: stream},
        response_class=Response,
        openapi_extra=header("Last-Event-ID", r"^[0-9]{1,19}$"),
        dependencies=[recovered, Depends(only())],
    )
    async def events(request: Request) -> Response:
        parts = site.parts
        feed = feeds.get(id(parts))
        if feed is None:
            feeds.clear()
            feed = feeds[id(parts)] = EventFeed(parts.ledger, parts.clock, offload, sleep)
        return await feed.response(request.headers.get("last-event-id"))
