"""The socket server of a service: uvicorn, bound to this machine, ending in a second even with open streams."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from dtms.errors import SettingsError
from dtms.services.web.protocol import Limits, bounded_by

GRACE_S: Final = 1
"""Without a limit an open event stream keeps uvicorn from ever ending."""

LIMITS: Final = Limits()

_KEEP_ALIVE_S: Final = 5


def make_server(app: ASGIApp, *, host: str, port: int, limits: Limits = LIMITS) -> uvicorn.Server:
    """Return a server that is not yet running.

    Args:
        app: What it serves.
        host: A loopback address.
        port: Its port.
        limits: What it takes of its clients before a request is understood.

    Raises:
        SettingsError: The host is not this machine's loopback.
    """
    require_loopback(host)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,  # the process has configured its logs
        access_log=False,  # the guard logs what matters, without what the client sent
        server_header=False,
        proxy_headers=False,  # no proxy stands before us: a client must not be able to name its own address
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="auto",
        http=bounded_by(limits),
        ws="none",  # no service has a websocket
    )
    return uvicorn.Server(config)


def require_loopback(host: str) -> None:
    """Refuse an address that other machines reach.

    Raises:
        SettingsError: It is one, or a name other than localhost.
    """
    try:
        local = host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = False
    if not local:
        msg = f"host {host!r} is not loopback; use 127.0.0.1 or ::1 (other addresses need TLS and a token for reads)"
        raise SettingsError(msg)
