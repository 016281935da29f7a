"""Conditional reads: whether the client holds the present bytes already (RFC 9110, section 13.1.2)."""

from __future__ import annotations


def etag(version: int, seq: int) -> str:
    """Return the ETag of a trade's answer, with its quotes."""
    return f'"{version}-{seq}"'


def matches(if_none_match: str | None, current: str) -> bool:
    """Say whether one of the tags in an If-None-Match header is the current one; weak tags compare by their value."""
    if if_none_match is None:
        return False
    if if_none_match == current:
        return True
    given = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return current in given or given == ["*"]
