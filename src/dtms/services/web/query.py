"""Queries as strict as bodies: a parameter that is not known, or stands twice, is refused instead of ignored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.requests import Request

from dtms.services.web.problem import FieldFault, invalid


def only(*names: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that accepts these query parameters, each at most once."""
    known = frozenset(names)
    listed = ", ".join(names) if names else "none"

    async def check(request: Request) -> None:
        if not request.scope["query_string"]:
            return
        try:
            pairs = parse_qsl(
                request.scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                max_num_fields=32,
                errors="strict",
            )
        except ValueError:
            message = "the query is not percent-encoded UTF-8, or has too many parts"
            raise invalid([FieldFault(field="query", code="query_malformed", message=message)]) from None
        seen: set[str] = set()
        for name, _ in pairs:
            if name not in known:
                message = f"this parameter is not known; known are: {listed}"
                raise invalid([FieldFault(field="query", code="unknown_parameter", message=message)])
            if name in seen:
                raise invalid([FieldFault(field=f"query.{name}", code="repeated", message="this stands twice")])
            seen.add(name)

    return check
