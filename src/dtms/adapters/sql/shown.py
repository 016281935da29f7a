"""A database's URL as it may be printed: everything that tells where it is, and nothing that lets anybody in."""

from __future__ import annotations

from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

UNREADABLE: Final = "(a URL that cannot be read)"
_HIDDEN: Final = "..."


def shown_url(url: str | URL) -> str:
    """Return a URL without its password, and without the values of its query: drivers take passwords and keys there too."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return UNREADABLE  # its text may be nothing but the secret
    hidden = dict.fromkeys(parsed.query, _HIDDEN)
    return parsed.set(query={}).update_query_dict(hidden).render_as_string(hide_password=True)
