"""A database's URL as it may be printed: everything that tells where it is, and nothing that lets anybody in."""

from __future__ import annotations

from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

UNREADABLE: Final = "(a URL that cannot be read)"
_HIDDEN: Final = "..."
_SHOWN: Final = frozenset({"host", "port", "connect_timeout", "sslmode", "application_name"})
"""Query parameters that tell where a server is; every other one may hold a secret."""


def shown_url(url: str | URL) -> str:
    """Return a URL without its password, and of its query only what tells where: drivers take passwords and keys there."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return UNREADABLE  # its text may be nothing but the secret
    told = {name: value if name in _SHOWN else _HIDDEN for name, value in parsed.query.items()}
    return parsed.set(query=told).render_as_string(hide_password=True)
