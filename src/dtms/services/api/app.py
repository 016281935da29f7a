"""The main API's application: proxies of the DTMS server, opening, exit rules, registry, kill switch, dashboard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Final

import msgspec
from fastapi import Depends, Query, Request
from pydantic import Field
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from dtms.domain.trade import TradeState
from dtms.services.api import agreed, ui, wire
from dtms.services.api.bodies import ExitsBody, KillBody, OpenBody
from dtms.services.api.dtms_link import Answered, Asked
from dtms.services.api.exits_desk import ExitsHandler, no_exits
from dtms.services.api.gauges import ApiGauges
from dtms.services.api.idempotency import HEADER as KEY_HEADER
from dtms.services.api.idempotency import KEY_PATTERN, Kept, once_of, once_or_none
from dtms.services.api.kill_desk import KillSwitchHandler
from dtms.services.api.open_trade import OpenTradeHandler
from dtms.services.api.parts import ApiParts, ApiSite
from dtms.services.api.views import JSON, Views
from dtms.services.server import wire as server_wire
from dtms.services.server.bodies import DEFAULT_PAGE, ActionsCursor, ActionsLimit, InstantText
from dtms.services.web.api import Api, header, wrap
from dtms.services.web.body import body_of
from dtms.services.web.fields import PlainInteger, SymbolField, TicketParameter
from dtms.services.web.guard import Gate, principal_of
from dtms.services.web.health import API_NAME, add_health
from dtms.services.web.metrics import Metrics, add_metrics
from dtms.services.web.offload import Offload, in_thread
from dtms.services.web.problem import request_id_of
from dtms.services.web.query import only

MAX_PAGE: Final = 1_000

_JSON: Final = "application/json"
_NO_QUERY: Final = [Depends(only())]
_KEY: Final = header(KEY_HEADER, KEY_PATTERN, required=True)
_KEY_OR_NONE: Final = header(KEY_HEADER, KEY_PATTERN)


async def _nothing() -> None:
    """End nothing."""


def make_api_app(
    world: ApiParts | ApiSite,
    *,
    gate: Gate,
    offload: Offload = in_thread,
    metrics: Metrics | None = None,
    on_end: Callable[[], Awaitable[None]] = _nothing,
) -> ASGIApp:
    """Return the main API's application.

    Args:
        world: What it works on; a site may be given another world later.
        gate: Host, Origin and token.
        offload: How blocking calls are run; `inline` where the application is driven by hand.
        metrics: Where requests are counted; one of its own when None.
        on_end: Awaited when the socket server ends: closes what needs its event loop.
    """
    site = ApiSite(world) if isinstance(world, ApiParts) else world
    api = Api("DTMS main API")
    counted = Metrics(API_NAME) if metrics is None else metrics
    counted.registry.register(ApiGauges(site))
    views = Views(site)
    add_health(
        api,
        service=API_NAME,
        ready=lambda: site.parts.ready(),  # noqa: PLW0108 - the site's parts may be swapped
        offload=offload,
    )
    add_metrics(api, counted)
    _add_proxies(api, site, views, offload)
    _add_trades(api, site, views, offload)
    _add_exits(api, site, views, offload)
    _add_kill(api, site, offload)
    ui.add_dashboard(api)
    _add_root(api)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        yield
        await on_end()

    api.router.lifespan_context = lifespan
    return wrap(api, gate, counted)


def _add_root(api: Api) -> None:
    @api.get("/", status_code=307, response_class=RedirectResponse, dependencies=_NO_QUERY)
    async def root() -> Response:
        return RedirectResponse("/ui", 307)


def _add_proxies(api: Api, site: ApiSite, views: Views, offload: Offload) -> None:
    @api.get("/api/dtms/status", responses=api.answers(server_wire.StatusAnswer), dependencies=_NO_QUERY)
    async def status(request: Request) -> Response:
        return _passed(await site.parts.link.get(_asked(request, "/dtms/status"), agreed.check_status))

    @api.get(
        "/api/dtms/actions",
        responses=api.answers(server_wire.ActionsAnswer),
        dependencies=[Depends(only("ticket", "since", "limit", "cursor"))],
    )
    async def actions(
        request: Request,
        ticket: Annotated[TicketParameter | None, Query()] = None,
        since: Annotated[InstantText | None, Query()] = None,
        limit: Annotated[ActionsLimit, Query()] = DEFAULT_PAGE,
        cursor: Annotated[ActionsCursor | None, Query()] = None,
    ) -> Response:
        del ticket, since, limit, cursor  # checked here; the DTMS server gets the query as it was asked
        query = request.scope["query_string"].decode("ascii")
        path = f"/dtms/actions?{query}" if query else "/dtms/actions"
        return _passed(await site.parts.link.get(_asked(request, path), agreed.check_actions))

    @api.get("/api/dtms/trade/{ticket}", responses=api.answers(wire.ProxiedTrade), dependencies=_NO_QUERY)
    async def trade(request: Request, ticket: TicketParameter) -> Response:
        asked = _asked(request, f"/dtms/trade/{ticket}")
        answered = await site.parts.link.get(asked, lambda body: agreed.check_trade(body, ticket))
        if not answered.body:
            return _passed(answered)
        exits = await offload(lambda: JSON.encode(views.exits_of(ticket)))
        joined = msgspec.json.encode({**agreed.members(answered.body), "exits": msgspec.Raw(exits)})
        return _passed(Answered(status=answered.status, body=joined, etag=answered.etag))


def _add_trades(api: Api, site: ApiSite, views: Views, offload: Offload) -> None:
    desk = OpenTradeHandler(site, views, offload)
    opened = api.answers(wire.OpenedAnswer, 201, "Opened, registered with DTMS and given its exit rules.")
    waits = api.answers(wire.PendingAnswer, 202, "The registration, or the word about the order, waits.")

    @api.post(
        "/api/trades",
        status_code=201,
        responses={**opened, **waits},
        openapi_extra={**api.takes(OpenBody), **_KEY},
        dependencies=_NO_QUERY,
    )
    async def open_trade(request: Request, body: Annotated[OpenBody, Depends(body_of(OpenBody))]) -> Response:
        return await desk.open(request, body)

    @api.get(
        "/api/trades",
        responses=api.answers(wire.TradesAnswer),
        dependencies=[Depends(only("state", "symbol", "limit", "cursor"))],
    )
    async def trades(
        state: TradeState | None = None,
        symbol: Annotated[SymbolField | None, Query()] = None,
        limit: Annotated[int, Field(ge=1, le=MAX_PAGE), PlainInteger, Query()] = 100,
        cursor: Annotated[TicketParameter | None, Query()] = None,
    ) -> Response:
        after = 0 if cursor is None else cursor
        return _json(await offload(lambda: JSON.encode(views.trades(state, symbol, after, limit))))

    @api.get("/api/trades/{ticket}", responses=api.answers(wire.JoinedAnswer), dependencies=_NO_QUERY)
    async def trade(ticket: TicketParameter) -> Response:
        return _json(await offload(lambda: JSON.encode(views.trade(ticket))))

    @api.get("/api/registry/{ticket}", responses=api.answers(wire.RegistryAnswer), dependencies=_NO_QUERY)
    async def registry(ticket: TicketParameter) -> Response:
        return _json(await offload(lambda: JSON.encode(views.registry(ticket))))


def _add_exits(api: Api, site: ApiSite, views: Views, offload: Offload) -> None:
    desk = ExitsHandler(site, views)
    answers = api.answers(wire.ExitsAnswer)

    @api.get("/api/exits", responses=api.answers(wire.ExitsListAnswer), dependencies=_NO_QUERY)
    async def all_exits() -> Response:
        return _json(await offload(lambda: JSON.encode(views.all_exits())))

    @api.get("/api/exits/{ticket}", responses=answers, dependencies=_NO_QUERY)
    async def exits(ticket: TicketParameter) -> Response:
        found = await offload(partial(views.managed_exits, ticket))
        if found is None:
            raise no_exits()
        return _json(JSON.encode(found))

    @api.put(
        "/api/exits/{ticket}",
        responses={**answers, **api.answers(wire.ExitsAnswer, 201, "The trade had no exit rules before.")},
        openapi_extra={**api.takes(ExitsBody), **_KEY_OR_NONE},
        dependencies=_NO_QUERY,
    )
    async def put_exits(
        request: Request, ticket: TicketParameter, body: Annotated[ExitsBody, Depends(body_of(ExitsBody))]
    ) -> Response:
        once = once_or_none(request, f"PUT /api/exits/{ticket}", body)
        actor = principal_of(request.scope).name
        return _kept(await offload(partial(desk.put, ticket, body, actor, once)))

    @api.delete("/api/exits/{ticket}", status_code=204, openapi_extra=_KEY_OR_NONE, dependencies=_NO_QUERY)
    async def delete_exits(request: Request, ticket: TicketParameter) -> Response:
        once = once_or_none(request, f"DELETE /api/exits/{ticket}", None)
        actor = principal_of(request.scope).name
        return _kept(await offload(partial(desk.delete, ticket, actor, once)))


def _add_kill(api: Api, site: ApiSite, offload: Offload) -> None:
    desk = KillSwitchHandler(site)
    answers = api.answers(wire.KillAnswer)

    @api.get("/api/kill-switch", responses=answers, dependencies=_NO_QUERY)
    async def show() -> Response:
        return _kept(await offload(desk.show))

    @api.post(
        "/api/kill-switch",
        responses=answers,
        openapi_extra={**api.takes(KillBody), **_KEY},
        dependencies=_NO_QUERY,
    )
    async def press(request: Request, body: Annotated[KillBody, Depends(body_of(KillBody))]) -> Response:
        once = once_of(request, "POST /api/kill-switch", body)
        return _kept(await offload(partial(desk.press, body.word(), once)))

    @api.delete("/api/kill-switch", responses=answers, openapi_extra=_KEY_OR_NONE, dependencies=_NO_QUERY)
    async def release(request: Request) -> Response:
        once = once_or_none(request, "DELETE /api/kill-switch", None)
        return _kept(await offload(partial(desk.release, principal_of(request.scope).name, once)))


def _asked(request: Request, path: str) -> Asked:
    return Asked(path=path, request_id=request_id_of(request.scope), if_none_match=request.headers.get("if-none-match"))


def _passed(answered: Answered) -> Response:
    headers = {} if answered.etag is None else {"ETag": answered.etag}
    if answered.status == 304:  # noqa: PLR2004 - 304 Not Modified has no body
        return Response(status_code=304, headers=headers)
    return Response(answered.body, answered.status, headers, _JSON)


def _json(body: bytes) -> Response:
    return Response(body, media_type=_JSON)


def _kept(answer: Kept) -> Response:
    headers = {} if answer.replay is None else answer.replay.headers
    return Response(answer.body or None, answer.status, headers, _JSON if answer.body else None)
