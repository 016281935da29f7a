"""The audit chain: each link's digest covers the one before, so a changed, removed or inserted link shows.

Tamper-evident, not tamper-proof: who can write the database can compute the whole chain anew.
"""

from __future__ import annotations

import hashlib

import msgspec

from dtms.domain.units import Millis, TradeId

GENESIS = "0" * 64
"""What stands in the place of a digest before the first link."""

_ENCODE = msgspec.json.Encoder(order="deterministic").encode


def digest(previous: str, *, seq: int, at: Millis, actor: str, what: str, trade_id: TradeId | None, body: str) -> str:
    """Return SHA-256 over the previous digest and the canonical row, as 64 hexadecimal digits."""
    row = {"seq": seq, "at": at, "actor": actor, "what": what, "trade_id": trade_id, "body": body}
    return hashlib.sha256(previous.encode() + _ENCODE(row)).hexdigest()
