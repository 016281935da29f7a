"""What a caller gives, checked before it is used."""

from __future__ import annotations

import operator
from urllib.parse import urlsplit

from dtms.client.contract import MAX_TICKET
from dtms.errors import SettingsError


def as_ticket(value: object) -> int | None:
    """Return the value as a ticket that may be asked about, None where it is none (a bool is none)."""
    if isinstance(value, bool):
        return None
    try:
        ticket = operator.index(value)  # type: ignore[arg-type]  # the point is to find out
    except TypeError:
        return None
    return ticket if 1 <= ticket <= MAX_TICKET else None


def checked_base_url(base_url: str) -> str:
    """Return the URL without a trailing slash.

    Raises:
        SettingsError: It is no plain http(s) URL.
    """
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        msg = f"DTMS server URL {base_url!r} cannot be read ({error}); give one like http://127.0.0.1:8001"
        raise SettingsError(msg) from error
    if parts.username is not None or parts.password is not None:
        msg = "DTMS server URL holds a user or password, which would end in logs; give the token apart"
        raise SettingsError(msg)
    if not usable or parts.query or parts.fragment:
        msg = f"DTMS server URL {base_url!r} is no plain http(s) URL; give one like http://127.0.0.1:8001"
        raise SettingsError(msg)
    return base_url.rstrip("/")
