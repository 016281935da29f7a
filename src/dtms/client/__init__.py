"""The DTMS query contract, for any program that wants to defer to DTMS.

    from dtms.client import DtmsClient
    dtms = DtmsClient()
    if not dtms.is_defensive(ticket): ...

It is no way to change a trade: it only asks. Belief is not permission: before anything is sent to a broker, the ledger
and the broker themselves are consulted.
"""

from __future__ import annotations

from dtms.client.aio import AsyncDtmsClient
from dtms.client.contract import Identity, Known, ServerIdentity, Source, StateAnswer, StateEvent, cache_key
from dtms.client.memory import StateCache, new_last_known_cache, new_state_cache
from dtms.client.stats import ClientStats
from dtms.client.sync import DtmsClient
from dtms.client.transport import AsyncTransport, RequestsTransport, Transport
from dtms.client.transport_httpx import HttpxTransport
from dtms.client.wire import Reply, Request, TransportError, read_event
from dtms.platforms.clock import boot_ns

__all__ = [
    "AsyncDtmsClient",
    "AsyncTransport",
    "ClientStats",
    "DtmsClient",
    "HttpxTransport",
    "Identity",
    "Known",
    "Reply",
    "Request",
    "RequestsTransport",
    "ServerIdentity",
    "Source",
    "StateAnswer",
    "StateCache",
    "StateEvent",
    "Transport",
    "TransportError",
    "boot_ns",
    "cache_key",
    "new_last_known_cache",
    "new_state_cache",
    "read_event",
]
