"""What the server reports of each operation it applied, to whoever was put in at construction (the oracle, in tests)."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from dtms.domain.units import Millis


class AppliedKind(StrEnum):
    """What the server did."""

    OPEN = "open"
    ADD = "add"
    REVERSE = "reverse"
    SLTP = "sltp"
    PARTIAL = "partial"
    CLOSE = "close"
    CLOSE_BY = "close_by"
    STOP = "stop"
    TARGET = "target"
    STOP_OUT = "stop_out"
    SWAP = "swap"
    REOPEN = "reopen"
    ORDER_PLACED = "order_placed"
    ORDER_MODIFIED = "order_modified"
    ORDER_REMOVED = "order_removed"
    ORDER_EXPIRED = "order_expired"
    ORDER_REJECTED = "order_rejected"
    POSITION = "position"
    """A position's stop, target or volume after a change: the state from this instant on; volume 0 is closed."""


class Recorder(Protocol):
    """Takes one applied operation; `None` is "there is none", never "unknown"."""

    def record(
        self,
        *,
        at: Millis,
        kind: AppliedKind,
        symbol: str,
        identifier: int,
        ticket: int,
        side: int,
        tag: str,
        magic: int,
        reason: int,
        order: int,
        deal: int,
        stop_before: float | None,
        stop_after: float | None,
        target_before: float | None,
        target_after: float | None,
        volume_before: float,
        volume_after: float,
        volume: float,
        price: float | None,
        bid: float,
        ask: float,
    ) -> None:
        """Record one operation."""


class NoRecorder:
    """Records nothing."""

    def record(self, **_fields: object) -> None:
        """Drop the operation."""
