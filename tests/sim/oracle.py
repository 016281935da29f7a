"""One entry of the broker's own record, for tests of what judges it: a BUY of 1.0 lot with its stop, changed as asked."""

from __future__ import annotations

from typing import Any

from dtms.domain.units import SECOND, Millis
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind

MAGIC = 77
T0 = Millis(1_750_161_600_000)
MAIN = 101
STOP = 1_990.0


def at(seconds: float) -> Millis:
    return Millis(T0 + round(seconds * SECOND))


def entry(kind: AppliedKind, seconds: float, **changes: Any) -> OracleEntry:
    values: dict[str, Any] = {
        "seq": 0,
        "at": at(seconds),
        "kind": kind,
        "symbol": "XAUUSD",
        "identifier": MAIN,
        "ticket": MAIN,
        "side": 1,
        "tag": "",
        "magic": MAGIC,
        "reason": 3,
        "order": 1,
        "deal": 1,
        "stop_before": STOP,
        "stop_after": STOP,
        "target_before": None,
        "target_after": None,
        "volume_before": 1.0,
        "volume_after": 1.0,
        "volume": 0.0,
        "price": 2_000.0,
        "bid": 2_000.0,
        "ask": 2_000.2,
        **changes,
    }
    return OracleEntry(**values)
