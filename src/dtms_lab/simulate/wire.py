"""The DTMS server's HTTP without a socket: the exit manager's client asks the real application in this process.

The pushed state feed is carried here too: what the server's event stream would tell is applied before the next cycle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp

from dtms.client import Reply, StateEvent
from dtms.client.wire import Request
from dtms.domain.records import EventKind
from dtms.domain.trade import TradeState
from dtms.ports.ledger import Ledger
from dtms.services.web.in_process import call


class Feed(Protocol):
    """What a pushed feed tells a client."""

    def apply_event(self, event: StateEvent) -> bool:
        """Take a pushed change of state."""
        ...

    def heartbeat(self, epoch: str, sent_ns: int) -> bool:
        """Take the word that nothing else has changed."""
        ...


@dataclass(slots=True, kw_only=True)
class InProcessDtms:
    """Carries the client's requests to the DTMS server's application, and the server's events to the client."""

    ledger: Ledger
    app: ASGIApp
    requests: int = 0
    _seen: int = 0
    _revision: int = -1

    def fetch(self, request: Request) -> Reply:
        """Return the application's answer to one request."""
        self.requests += 1
        status, _headers, body = call(self.app, request.method, request.url, request.headers, request.body or b"")
        return Reply(status=status, body=body)

    def push(self, feed: Feed, now_ns: int) -> None:
        """Tell a client what changed since the last push, then that nothing else did."""
        revision = self.ledger.revision()
        if revision != self._revision:
            self._revision = revision
            with self.ledger.read() as tx:
                events = tx.events_since(self._seen)
            for event in events:
                self._seen = event.seq
                if event.kind is EventKind.STATE:
                    feed.apply_event(_state_event(event.body, self.ledger.epoch, now_ns))
        feed.heartbeat(self.ledger.epoch, now_ns)


def ask(app: ASGIApp, method: str, url: str, token: str, body: Mapping[str, object]) -> tuple[int, dict[str, object]]:
    """Send what another program sends: a JSON body with the installation's token; return status and answer."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    status, _headers, answer = call(app, method, url, headers, json.dumps(body).encode())
    return status, json.loads(answer)


def _state_event(body: str, epoch: str, now_ns: int) -> StateEvent:
    told = json.loads(body)
    pending = told["pending_to"]
    return StateEvent(
        ticket=told["ticket"],
        state=TradeState(told["state"]),
        pending_to=None if pending is None else TradeState(pending),
        defensive=told["defensive"],
        version=told["version"],
        epoch=epoch,
        sent_ns=now_ns,
    )
