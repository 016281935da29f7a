"""Interim."""

from __future__ import annotations

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from dtms.domain.units import Ticket
from dtms.ports.ledger import Ledger


def states_app(ledger: Ledger) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        tickets = json.loads(message["body"])["tickets"]
        states = {}
        unknown = []
        with ledger.read() as tx:
            for t in tickets:
                trade = tx.trade(Ticket(t))
                if trade is None:
                    unknown.append(t)
                else:
                    states[str(t)] = {
                        "state": trade.state,
                        "pending_to": trade.pending_to,
                        "defensive": trade.defensive,
                        "version": trade.version,
                    }
        body = json.dumps({"epoch": ledger.epoch, "states": states, "unknown": unknown}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    return app
