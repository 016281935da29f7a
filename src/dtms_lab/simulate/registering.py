"""How another program asks dtms to protect its trades: over HTTP, as any program would. It knows nothing of the inside."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import requests

from dtms.settings import Settings

TIMEOUT_S: Final = 10.0
"""Longer than the server's own wait for a first stop."""

OPEN_TIMEOUT_S: Final = 20.0
"""Longer than the main API waits for the gateway and then for the registration."""


class Registering:
    """Registers positions over HTTP: first with the DTMS server, then with the exits."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._server, self._api = settings.server_url, settings.api_url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def register(self, body: Mapping[str, Any]) -> tuple[bool, str]:
        """Register one position; return whether that is settled, and why not managed ("" where it is)."""
        settled, reason = self._ask("POST", f"{self._server}/dtms/trade/enable", body)
        if not settled or reason:
            return settled, reason
        return self._ask("PUT", f"{self._api}/api/exits/{body['ticket']}", {"profile": body["profile"]})

    def open(self, body: Mapping[str, Any], key: str) -> tuple[int | None, str]:
        """Ask the main API to open and protect; return the ticket, and why there is none ("" where there is)."""
        url = f"{self._api}/api/trades"
        try:
            answer = self._session.post(url, json=body, headers={"Idempotency-Key": key}, timeout=OPEN_TIMEOUT_S)
        except requests.RequestException as error:
            return None, type(error).__name__
        if answer.status_code not in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
            return None, _reason(answer)
        ticket = answer.json()["ticket"]
        return ticket, "" if ticket is not None else "it is not known yet whether it was opened"

    def _ask(self, method: str, url: str, body: Mapping[str, Any]) -> tuple[bool, str]:
        try:
            answer = self._session.request(method, url, json=body, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            return False, type(error).__name__
        if answer.status_code in (HTTPStatus.OK, HTTPStatus.CREATED):
            return True, ""
        reason = _reason(answer)
        again = answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in (
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.REQUEST_TIMEOUT,
        )
        return not again, reason


def _reason(answer: requests.Response) -> str:
    try:
        problem = answer.json()
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
