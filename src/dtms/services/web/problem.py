"""Every error as `application/problem+json` (RFC 9457), the framework's own included. It never echoes the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from dtms import errors

PROBLEM_JSON: Final = "application/problem+json"
REQUEST_ID: Final = "dtms.request_id"
"""The key of the request's identifier in the ASGI scope."""

MAX_FIELDS: Final = 20
"""A body with thousands of faults is answered with the first of them."""

Extra = Mapping[str, object]

_log = structlog.get_logger("dtms.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFault:
    """What is wrong with one field; `field` is a name of ours, never one that the client made up."""

    field: str
    code: str
    message: str


class Problem(Exception):  # noqa: N818 - it is the answer to give, not always an error of ours
    """Raise it anywhere under a route: it becomes the answer.

    Args:
        status: The HTTP status, 4xx or 5xx.
        code: Our word for the problem, snake_case; programs act on it.
        detail: One sentence for people, with the remedy; no part of it comes from the request.
        headers: Further response headers.
        fields: The faulty fields of a body or query.
        extra: Further members of the body (RFC 9457 extension members).
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Sequence[FieldFault] = (),
        extra: Extra | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.headers: dict[str, str] = {} if headers is None else dict(headers)
        self.fields = tuple(fields)
        self.extra: dict[str, object] = {} if extra is None else dict(extra)

    def body(self, request_id: str) -> bytes:
        """Return the encoded body."""
        members: dict[str, object] = {
            "type": f"urn:dtms:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.fields:
            members["fields"] = [asdict(fault) for fault in self.fields[:MAX_FIELDS]]
        return msgspec.json.encode({**self.extra, **members})

    def response(self, request_id: str) -> Response:
        """Return the answer."""
        return Response(self.body(request_id), self.status, self.headers, PROBLEM_JSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    status: int
    code: str
    detail: str
    retry_after_s: int | None = None


_OF_ERROR: Final[Mapping[type[errors.DtmsError], _Row]] = {
    errors.DtmsError: _Row(status=500, code="internal", detail="dtms failed; see its log under this request_id."),
    errors.SettingsError: _Row(
        status=500, code="settings_wrong", detail="A setting is not usable; the operator must fix it (see the log)."
    ),
    errors.MarketDataError: _Row(
        status=503, code="data_missing", detail="Market data is missing; try again.", retry_after_s=1
    ),
    errors.StaleDataError: _Row(
        status=503, code="data_stale", detail="Market data is too old or not there yet; try again.", retry_after_s=1
    ),
    errors.NotPricedError: _Row(
        status=503,
        code="price_missing",
        detail="The symbol has no price yet, as before its market opens; try again then.",
        retry_after_s=1,
    ),
    errors.NotEnoughBarsError: _Row(
        status=503, code="bars_missing", detail="The history is not loaded yet; try again.", retry_after_s=1
    ),
    errors.InvalidDataError: _Row(
        status=502, code="data_invalid", detail="The data behind the answer cannot be true; see the log."
    ),
    errors.BrokerError: _Row(
        status=503, code="broker_failed", detail="The broker failed; see the log.", retry_after_s=1
    ),
    errors.BrokerUnavailableError: _Row(
        status=503, code="broker_unavailable", detail="The broker cannot be reached; try again.", retry_after_s=1
    ),
    errors.WrongAccountError: _Row(
        status=503,
        code="account_changed",
        detail="Another account is behind the terminal; log it in to the expected one.",
        retry_after_s=1,
    ),
    errors.OutcomeUnknownError: _Row(
        status=504,
        code="outcome_unknown",
        detail="The request may have reached the broker; do not send it again, ask for the trade.",
    ),
    errors.BrokerRejectedError: _Row(status=409, code="broker_rejected", detail="The broker said no; see rejection."),
    errors.PositionGoneError: _Row(status=404, code="position_gone", detail="The position is not open at the broker."),
    errors.LedgerError: _Row(status=503, code="ledger_failed", detail="The ledger failed; try again.", retry_after_s=1),
    errors.LedgerUnavailableError: _Row(
        status=503,
        code="ledger_unavailable",
        detail="The ledger cannot be read or written; try again.",
        retry_after_s=1,
    ),
    errors.StaleWriteError: _Row(
        status=409, code="stale_write", detail="Somebody else wrote first; load it anew and decide again."
    ),
    errors.NotifyError: _Row(status=502, code="notify_failed", detail="An alert could not be delivered; see the log."),
    errors.InvariantError: _Row(
        status=500, code="invariant_broken", detail="dtms broke a law of its own; see its log under this request_id."
    ),
    errors.IllegalTransitionError: _Row(
        status=500, code="illegal_transition", detail="dtms broke its own table; see its log under this request_id."
    ),
}

_OF_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "The request is not valid HTTP for this service."),
    401: ("token_missing", "A valid bearer token is needed."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is no such path; /openapi.json lists them."),
    405: ("method_not_allowed", "This path has other methods; see the Allow header."),
    422: ("invalid_request", "A part of the request is not valid; see fields."),
}


def internal() -> Problem:
    """Return the answer to an exception that nobody expected."""
    return of_error(errors.DtmsError())


def of_error(error: errors.DtmsError) -> Problem:
    """Return the answer to an error of ours; its text goes to the log alone, for it may hold the request's values."""
    row = next(_OF_ERROR[kind] for kind in type(error).__mro__ if kind in _OF_ERROR)
    headers = {} if row.retry_after_s is None else {"Retry-After": str(row.retry_after_s)}
    extra: dict[str, object] = {}
    if isinstance(error, errors.BrokerRejectedError):
        extra = {"rejection": error.rejection, "broker_code": error.code}
    return Problem(row.status, row.code, row.detail, headers=headers, extra=extra)


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the answer to an error that the framework names only by its status."""
    code, detail = _OF_STATUS.get(status, (f"http_{status}", f"{HTTPStatus(status).phrase}."))
    return Problem(status, code, detail, headers=headers)


def invalid(fields: Sequence[FieldFault]) -> Problem:
    """Return the 422 with its list of faulty fields."""
    code, detail = _OF_STATUS[422]
    return Problem(422, code, detail, fields=fields)


def request_id_of(scope: Scope) -> str:
    """Return the identifier that the guard gave the request; "-" where an application runs without its guard."""
    found = scope.get(REQUEST_ID)
    return found if isinstance(found, str) else "-"


def install(app: FastAPI) -> None:
    """Make every error of an application a problem: ours, the framework's own, and the unexpected.

    The handlers are `async`: the framework runs others in a thread, which an application driven by hand does not have.
    """
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(errors.DtmsError, _on_dtms_error)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Exception, _on_unexpected)


def _answer(request: Request, problem: Problem) -> Response:
    return problem.response(request_id_of(request.scope))


async def _on_problem(request: Request, error: Exception) -> Response:
    return _answer(request, error if isinstance(error, Problem) else internal())


async def _on_dtms_error(request: Request, error: Exception) -> Response:
    problem = of_error(error) if isinstance(error, errors.DtmsError) else internal()
    _log.warning("request failed", code=problem.code, error=repr(error))
    return _answer(request, problem)


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return _answer(request, internal())
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of(request))
    return _answer(request, of_status(error.status_code, headers))


def _methods_of(request: Request) -> list[str]:
    """Return every method that the path has: the framework names those of one route, and a path may have several."""
    matching = (route for route in request.app.router.routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in matching for method in getattr(route, "methods", None) or ()})


async def _on_validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        return _answer(request, internal())
    return _answer(request, invalid([_query_fault(fault) for fault in error.errors()[:MAX_FIELDS]]))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    # The framework raises the error again after this answer; the guard records it there, once.
    del error
    return _answer(request, internal())


def _query_fault(fault: Mapping[str, object]) -> FieldFault:
    """Name the declared parameter; an undeclared one is the client's word and is not repeated."""
    loc = fault.get("loc")
    code = str(fault.get("type"))
    parts = [str(part) for part in loc] if isinstance(loc, tuple | list) else []
    if code == "extra_forbidden":
        parts = parts[:-1]
    return FieldFault(field=".".join(parts), code=code, message=str(fault.get("msg")))
