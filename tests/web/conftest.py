"""A small service made of the blocks, driven by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
import structlog.testing
from fastapi import Depends
from pydantic import Field
from starlette.responses import Response
from starlette.types import ASGIApp

from dtms import errors
from dtms.services.web.access import OneToken, Tokens
from dtms.services.web.api import Api, wrap
from dtms.services.web.body import STATES_LIMIT, body_of
from dtms.services.web.fields import (
    Body,
    NameField,
    PriceField,
    SymbolField,
    TicketField,
    TicketParameter,
    TicketsField,
    VolumeField,
)
from dtms.services.web.guard import Gate, GuardPolicy, loopback_policy
from dtms.services.web.health import ReadyReport, add_health
from dtms.services.web.in_process import Answer, call
from dtms.services.web.metrics import Metrics, add_metrics
from dtms.services.web.offload import inline
from dtms.services.web.problem import Problem

PORT = 8001
TOKEN = "t" * 43


class Rules(Body):
    partial: Annotated[float, Field(ge=0, le=1)] = 0.33


class Order(Body):
    ticket: TicketField
    symbol: SymbolField
    direction: Literal["BUY", "SELL"]
    entry: PriceField
    volume: VolumeField
    stop_loss: PriceField | None = None
    profile: NameField | None = None
    rules: Rules | None = None


class States(Body):
    tickets: TicketsField


@dataclass
class Site:
    """The service, what it did, and how to ask it."""

    app: ASGIApp
    orders: list[Order]
    metrics: Metrics

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        token: str | None = TOKEN,
        host: str = f"127.0.0.1:{PORT}",
    ) -> Answer:
        sent = {"Host": host}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body:
            sent["Content-Type"] = "application/json"
        sent.update({} if headers is None else headers)
        return call(self.app, method, f"http://127.0.0.1:{PORT}{path}", sent, body)


def _errors() -> dict[str, errors.DtmsError]:
    canary = "canary-in-the-error"
    rejected = {"rejection": "no_money", "code": 10019}
    return {
        "stale": errors.StaleDataError(canary),
        "invalid": errors.InvalidDataError(canary),
        "unavailable": errors.BrokerUnavailableError(canary),
        "unknown": errors.OutcomeUnknownError(canary),
        "rejected": errors.BrokerRejectedError(canary, rejection="no_money", code=rejected["code"]),  # type: ignore[arg-type]
        "ledger": errors.LedgerUnavailableError(canary),
        "stale-write": errors.StaleWriteError(canary),
        "invariant": errors.IllegalTransitionError(canary),
    }


def _api(orders: list[Order], metrics: Metrics) -> Api:
    api = Api("test service")
    failures = _errors()
    add_metrics(api, metrics)
    report = ReadyReport(ready=True, dependencies={"ledger": "ok"}, details={"active_trades": 3})
    add_health(api, service="dtms-server", ready=lambda: report, offload=inline)

    @api.post("/orders", openapi_extra=api.takes(Order))
    async def order(asked: Annotated[Order, Depends(body_of(Order))]) -> Response:
        orders.append(asked)
        return Response(b"{}", 201, media_type="application/json")

    @api.post("/dtms/states", openapi_extra=api.takes(States))
    async def states(asked: Annotated[States, Depends(body_of(States, limit=STATES_LIMIT))]) -> Response:
        return Response(msgspec.json.encode({"count": len(asked.tickets)}), media_type="application/json")

    @api.get("/trade/{ticket}")
    async def trade(ticket: TicketParameter) -> Response:
        return Response(msgspec.json.encode({"ticket": ticket}), media_type="application/json")

    @api.get("/fail/{name}")
    async def fail(name: str) -> Response:
        raise failures[name]

    @api.get("/boom")
    async def boom() -> Response:
        msg = "canary-in-the-error"
        raise ZeroDivisionError(msg)

    @api.get("/teapot")
    async def teapot() -> Response:
        raise Problem(404, "trade_unknown", "DTMS does not manage this ticket.", extra={"epoch": "e1"})

    return api


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged, as records."""
    with structlog.testing.capture_logs() as records:
        yield records


SiteMaker = Callable[..., Site]


@pytest.fixture
def make_site() -> SiteMaker:
    """Make a site with another policy or tokens, or with hot routes."""

    def make(policy: GuardPolicy | None = None, tokens: Tokens | None = None, **hot: object) -> Site:
        orders: list[Order] = []
        metrics = Metrics("dtms-server")
        count = itertools.count(1)
        gate = Gate(
            loopback_policy(PORT) if policy is None else policy,
            OneToken(TOKEN) if tokens is None else tokens,
            new_id=lambda: f"id-{next(count)}",
        )
        app = wrap(_api(orders, metrics), gate, metrics, **hot)  # type: ignore[arg-type]
        return Site(app=app, orders=orders, metrics=metrics)

    return make


@pytest.fixture
def site(make_site: SiteMaker) -> Site:
    return make_site()
