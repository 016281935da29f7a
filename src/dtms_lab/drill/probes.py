"""Questions of every kind to the server's application: each has a documented answer, and none changes anything unasked.

Law I14: a documented status, a body of the documented shape, no 5xx but 503, no change but by a 2xx, and no secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dtms.client.contract import SERVICE_NAME
from dtms.services.server import wire
from dtms.services.web.in_process import call
from dtms_lab.drill.dice import Dice
from dtms_lab.drill.processes import DtmsServer
from dtms_lab.drill.record import Record
from dtms_lab.simulate.services import SERVER_URL, TOKEN

_SHARE: Final = 0.12
_AUTH: Final = {"Authorization": f"Bearer {TOKEN}"}
_JSON: Final = {"Content-Type": "application/json"}


class _Problem(msgspec.Struct):
    """What every error says of itself (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class _Live(msgspec.Struct):
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question: `good` are the statuses of an answer, `bad` those of a refusal; `shape` that of the answer."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    good: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    shape: Any = None


def _probes(ticket: int) -> tuple[Probe, ...]:
    unknown = (404, 503)
    refused = (400, 401, 403, 404, 405, 409, 413, 415, 421, 422)
    enable = b'{"ticket":%d,"symbol":"XAUUSD","direction":"BUY","entry":%s,"volume":1.0,"stop_loss":1.0}'
    return (
        Probe(method="GET", path=f"/dtms/trade/{ticket}", headers={}, good=(200,), bad=unknown, shape=wire.TradeAnswer),
        Probe(
            method="GET",
            path=f"/dtms/trade/{ticket}/explain",
            headers={},
            good=(200,),
            bad=unknown,
            shape=wire.ExplainAnswer,
        ),
        Probe(method="GET", path="/dtms/trades?limit=5", headers={}, good=(200,), bad=(503,), shape=wire.TradesAnswer),
        Probe(method="GET", path="/dtms/status", headers={}, good=(200,), bad=(503,), shape=wire.StatusAnswer),
        Probe(
            method="GET",
            path=f"/dtms/actions?ticket={ticket}",
            headers={},
            good=(200,),
            bad=unknown,
            shape=wire.ActionsAnswer,
        ),
        Probe(method="GET", path="/health/live", headers={}, good=(200,), shape=_Live),
        Probe(method="GET", path="/health/ready", headers={}, good=(200, 503)),
        Probe(
            method="POST",
            path="/dtms/states",
            headers=_JSON,
            body=b'{"tickets":[1,%d]}' % ticket,
            good=(200,),
            bad=(503,),
            shape=wire.StatesAnswer,
        ),
        Probe(method="POST", path="/dtms/states", headers=_JSON, body=b'{"tickets":[NaN]}', bad=(*refused, 503)),
        Probe(
            method="POST", path="/dtms/states", headers={"Content-Type": "text/plain"}, body=b"{}", bad=(*refused, 503)
        ),
        Probe(method="POST", path="/dtms/trade/enable", headers=_JSON, body=enable % (ticket, b"1.0"), bad=(401,)),
        Probe(
            method="POST",
            path="/dtms/trade/enable",
            headers={**_JSON, **_AUTH},
            body=enable % (1, b"1e400"),
            bad=(*refused, 503),
        ),
        Probe(
            method="POST", path="/dtms/trade/enable", headers={**_JSON, **_AUTH}, body=b"[" * 5_000, bad=(*refused, 503)
        ),
        Probe(method="DELETE", path=f"/dtms/trade/{ticket}", headers={}, bad=(401,)),
        Probe(method="DELETE", path="/dtms/trade/99999999999999999999", headers=_AUTH, bad=(*refused, 503)),
        Probe(method="GET", path="/dtms/trade/..%2f..%2fetc", headers={}, bad=(*refused, 503)),
        Probe(method="PATCH", path="/dtms/status", headers=_AUTH, bad=(405,)),
        Probe(method="GET", path="/dtms/status", headers={"Host": "evil.example:8001"}, bad=(421, 400)),
        Probe(method="GET", path="/dtms/status", headers={"Origin": "https://evil.example"}, bad=(403,)),
    )


@dataclass(slots=True, kw_only=True)
class Prober:
    """Asks now and then."""

    dice: Dice
    server: Callable[[], DtmsServer | None]
    as_server: Callable[[Callable[[], object]], bool]
    record: Record
    asked: int = 0

    def maybe(self) -> None:
        """Ask something, or nothing."""
        stream = self.dice.stream("probes")
        if stream.random() >= _SHARE:
            return
        trades = self.record.open
        ticket = stream.choice(trades).ticket if trades and stream.random() < 0.8 else 12_345  # noqa: PLR2004 - a share
        probe = stream.choice(_probes(ticket))
        self.as_server(lambda: self._ask(probe))

    def _ask(self, probe: Probe) -> None:
        server = self.server()
        if server is None:
            return
        self.asked += 1
        ledger = server.parts.ledger
        before = ledger.revision()
        status, headers, body = call(server.app, probe.method, f"{SERVER_URL}{probe.path}", probe.headers, probe.body)
        wrong = self._judge(probe, status, dict(headers), body)
        if not wrong and ledger.revision() != before and probe.method != "DELETE":
            wrong = "it changed the ledger"
        if wrong:
            self.record.report("I14 HTTP", f"{probe.method} {probe.path[:60]} answered {status}: {wrong}", probe.path)

    def _judge(self, probe: Probe, status: int, headers: dict[str, str], body: bytes) -> str:
        if TOKEN.encode() in body or any(TOKEN in value for value in headers.values()):
            return "the answer holds the token"
        if status in probe.good:
            return _shaped(body, probe.shape)
        if status not in probe.bad:
            return f"not a documented status; {body[:120]!r}"
        if not headers.get("content-type", "").startswith("application/problem+json"):
            return f"an error of type {headers.get('content-type')!r}"
        return _shaped(body, _Problem)


def _shaped(body: bytes, shape: Any) -> str:
    if shape is None:
        return ""
    try:
        found = msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        return f"not of the documented shape: {error}"
    if isinstance(found, _Live) and found.service != SERVICE_NAME:
        return f"it calls itself {found.service!r}"
    return ""
