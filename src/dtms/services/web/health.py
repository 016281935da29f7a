"""Whether the process runs (live), and whether it can do its work (ready)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import structlog
from fastapi import FastAPI
from starlette.responses import Response

from dtms.domain.modes import ActiveCause, Cause
from dtms.errors import DtmsError
from dtms.services.web.offload import Offload
from dtms.services.web.problem import Problem

SERVER_NAME: Final = "dtms-server"
API_NAME: Final = "dtms-api"
GATEWAY_NAME: Final = "dtms-gateway"

UNDONE: Final = (Cause.UNDECIDED, Cause.MARKET_UNREAD, Cause.PASS_FAILING, Cause.ERRORS_GROW)
"""Causes that say that a service runs and its work is not done."""

Detail = bool | int | float | str | None

_log = structlog.get_logger("dtms.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyReport:
    """What a service says of itself.

    `dependencies` has one word for each thing it needs ("ok", "recovering", "unreachable"); `causes` says in words what
    this process knows to be wrong, also where the ledger could not be told; `details` are further members of the answer;
    `retry_after_s` is when to ask again.
    """

    ready: bool
    dependencies: Mapping[str, str]
    causes: tuple[str, ...] = ()
    details: Mapping[str, Detail] = field(default_factory=dict)
    retry_after_s: int = 1

    def members(self) -> dict[str, object]:
        """Return the members of the answer."""
        told = {"ready": self.ready, "dependencies": dict(self.dependencies), "causes": list(self.causes)}
        return {**self.details, **told}

    def without(self, *names: str) -> ReadyReport:
        """Return the report for somebody who does not need some of the things."""
        left = {name: word for name, word in self.dependencies.items() if name not in names}
        return replace(self, ready=all(word == "ok" for word in left.values()), dependencies=left)


def causes_words(told: Iterable[ActiveCause]) -> tuple[str, ...]:
    """Return each cause as one line for a person."""
    return tuple(f"{each.cause}: {each.detail}" for each in told)


def progress_word(told: Iterable[ActiveCause]) -> str:
    """Return whether the work gets done, as a word for `dependencies`."""
    undone = [each.cause.value for each in told if each.cause in UNDONE]
    return ", ".join(undone) or "ok"


def ledger_word(told: Iterable[ActiveCause], *, readable: bool) -> str:
    """Return what can be done with the ledger, as a word for `dependencies`."""
    if not readable:
        return "unavailable"
    return "not writable" if any(each.cause is Cause.LEDGER_DOWN for each in told) else "ok"


def live_body(service: str) -> bytes:
    """Return the answer of /health/live: it names the service, so that clients can refuse another's."""
    return msgspec.json.encode({"service": service, "live": True})


def ready_answer(report: ReadyReport) -> Response:
    """Return 200 with the report, or raise the 503 that holds it.

    Raises:
        Problem: Not ready; with Retry-After.
    """
    members = report.members()
    if not report.ready:
        headers = {"Retry-After": str(report.retry_after_s)}
        raise Problem(503, "not_ready", "The service is not ready; see dependencies.", headers=headers, extra=members)
    return Response(msgspec.json.encode(members), media_type="application/json")


def add_health(
    app: FastAPI,
    *,
    service: str,
    ready: Callable[[], ReadyReport],
    offload: Offload,
    ready_paths: Iterable[str] = ("/health/ready",),
) -> None:
    """Add /health/live and the ready paths; `ready` may block, and a failure in it means "not ready", never 500."""
    alive = live_body(service)

    async def live() -> Response:
        return Response(alive, media_type="application/json")

    async def is_ready() -> Response:
        try:
            report = await offload(ready)
        except DtmsError as error:
            _log.warning("readiness could not be told", error=repr(error))
            report = ReadyReport(ready=False, dependencies={"readiness": type(error).__name__})
        return ready_answer(report)

    app.add_api_route("/health/live", live, methods=["GET"])
    for path in ready_paths:
        app.add_api_route(path, is_ready, methods=["GET"])
