"""Asking a running service: one request, its answer, or an error that has an exit code."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import requests

from dtms.cli.output import FailedError, NotFoundError, UnreachableError

TIMEOUT_S: Final = 10.0

_Members = dict[str, Any]


def ask(
    method: str,
    url: str,
    *,
    service: str,
    query: Mapping[str, object] | None = None,
    body: Mapping[str, object] | None = None,
    token: str | None = None,
    patience_s: float = 0.0,
) -> _Members:
    """Return the answer's members; none for an answer without a body.

    An answer that says when to ask again is followed, as long as `patience_s` lasts.

    Raises:
        UnreachableError: Nobody answers, or the service is not ready.
        NotFoundError: The service does not know what was asked for.
        FailedError: It refused, or the answer is not as agreed.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    given = {name: str(value) for name, value in (query or {}).items() if value is not None}
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.request(method, url, params=given, json=body, headers=headers, timeout=TIMEOUT_S)
            end = time.monotonic() + patience_s
            while (pause_s := _pause_s(answer)) is not None and time.monotonic() + pause_s <= end:
                time.sleep(pause_s)
                answer = session.request(method, url, params=given, json=body, headers=headers, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            msg = f"the {service} at {url} does not answer ({type(error).__name__}); start it with: dtms up"
            raise UnreachableError(msg) from error
    if answer.ok:
        return _members(answer, url) if answer.content else {}
    raise _refused(answer, service)


def _pause_s(answer: requests.Response) -> float | None:
    """Return after how many seconds the same may be asked again; None where the answer does not ask for that."""
    if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
        return None
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else None


def read_token(data_dir: Path) -> str:
    """Return the installation's token.

    Raises:
        UnreachableError: There is none: nothing was started with this data folder.
        SettingsError: Its file is not private, or holds none.
    """
    from dtms.services.web.access import load_or_make_token

    path = data_dir / "token"
    if not path.exists():
        msg = (
            f"there is no token at {path}; set DTMS_DATA_DIR to the data folder of the running dtms (dtms up tells it)"
        )
        raise UnreachableError(msg)
    return load_or_make_token(path)


def _members(answer: requests.Response, url: str) -> _Members:
    try:
        found = answer.json()
    except ValueError as error:
        msg = f"{url} answered something that is no JSON; another program may have the port"
        raise FailedError(msg) from error
    if not isinstance(found, dict):
        msg = f"{url} answered something that is no object; another program may have the port"
        raise FailedError(msg)
    return found


def _undone(problem: _Members) -> tuple[str, ...]:
    """Return in words why a service is not ready: what it knows to be wrong, and what it waits for."""
    waits = (f"{name}: {word}" for name, word in problem.get("dependencies", {}).items() if word != "ok")
    return (*problem.get("causes", ()), *waits)


def _refused(answer: requests.Response, service: str) -> FailedError | NotFoundError | UnreachableError:
    try:
        problem = answer.json()
        said = "; ".join((f"{problem['detail']} ({problem['code']})", *_undone(problem)))
        faults = "; ".join(f"{fault['field']}: {fault['message']}" for fault in problem.get("fields", ()))
    except (ValueError, KeyError, TypeError):
        msg = f"status {answer.status_code} at {answer.url} is no answer of the {service}; another program may have the port"
        return UnreachableError(msg)
    msg = f"the {service} said: {said}{f' {faults}' if faults else ''}"
    match answer.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(msg)
        case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.BAD_GATEWAY | HTTPStatus.GATEWAY_TIMEOUT:
            return UnreachableError(msg)
        case _:
            return FailedError(msg)
