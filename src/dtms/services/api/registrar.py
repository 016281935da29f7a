"""The way to POST /dtms/trade/enable: one request, and what its answer means for whoever wants the trade protected."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
import requests

from dtms.app.commands.outbox import RegisterAnswer, RegisterWord
from dtms.app.commands.registration import Registration

TIMEOUT_S: Final = (2.0, 8.0)
"""To connect, and for the answer: the server itself waits up to 5 s for the position's stop."""

_REFUSED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""What the same request will meet again, until somebody changes something."""


class _ProblemWire(msgspec.Struct, frozen=True):
    code: str


class HttpRegistrar:
    """Fulfils `dtms.app.commands.outbox.Registrar`.

    Args:
        base_url: The DTMS server.
        token: The installation's: a registration is a write.
        session: Makes the requests; a fresh one that ignores the environment's proxies when None.
    """

    def __init__(self, base_url: str, *, token: str, session: requests.Session | None = None) -> None:
        self._url = f"{base_url.rstrip('/')}/dtms/trade/enable"
        self._session = requests.Session() if session is None else session
        self._session.trust_env = False
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def register(self, wanted: Registration) -> RegisterAnswer:
        """Ask once; what the server or the way to it does becomes a word, never an exception."""
        try:
            with self._session.post(
                self._url,
                data=msgspec.json.encode(_members(wanted)),
                headers=self._headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
            ) as response:
                status, body = response.status_code, response.content
        except (requests.RequestException, OSError) as error:
            return _unreachable(f"the DTMS server cannot be reached ({type(error).__name__})")
        if status in (HTTPStatus.OK, HTTPStatus.CREATED):
            return RegisterAnswer(word=RegisterWord.REGISTERED)
        reason = f"the DTMS server answered {status} {_code(body)}"
        if status in _REFUSED:
            return RegisterAnswer(word=RegisterWord.REFUSED, reason=reason)
        return _unreachable(reason)


def _members(wanted: Registration) -> dict[str, object]:
    optional = {"initial_stop": wanted.initial_stop, "take_profit": wanted.target}
    return {
        "ticket": wanted.ticket,
        "symbol": wanted.symbol,
        "direction": wanted.side.name,
        "entry": wanted.entry,
        "volume": wanted.volume,
        "stop_loss": wanted.stop,
        "profile": wanted.profile,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _code(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_ProblemWire).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "without a code"


def _unreachable(reason: str) -> RegisterAnswer:
    return RegisterAnswer(word=RegisterWord.UNREACHABLE, reason=reason)
