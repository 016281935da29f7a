"""The dashboard: one packaged page without anything from elsewhere; it reads the API and changes nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fastapi import Depends
from starlette.responses import Response

from dtms.errors import InvariantError
from dtms.services.web.api import Api
from dtms.services.web.query import only

_PAGE: Final = "dashboard.html"
_SHOWN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}}
}


@cache
def page() -> tuple[bytes, str]:
    """Return the page and its content security policy, which names the page's own script and style by their hashes."""
    text = files("dtms.services.api").joinpath(_PAGE).read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; "
        f"script-src {_hash(text, 'script')}; style-src {_hash(text, 'style')}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy


def add_dashboard(api: Api) -> None:
    """Add /ui."""

    @api.get("/ui", responses=_SHOWN, response_class=Response, dependencies=[Depends(only())])
    async def dashboard() -> Response:
        body, policy = page()
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
        return Response(body, headers=headers, media_type="text/html")


def _hash(text: str, tag: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    if len(found) != 1:
        msg = f"{_PAGE} has {len(found)} <{tag}> elements; its policy allows exactly one"
        raise InvariantError(msg)
    digest = hashlib.sha256(found[0].encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
