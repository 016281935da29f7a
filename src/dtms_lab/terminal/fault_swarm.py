"""Random plans for drills: each seed draws a subset of all faults with random rates and intensities.

Leaving faults out finds what all of them together hide: a link that never gets through shows nothing of what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from dtms.domain.units import HOUR, SECOND
from dtms_lab.mt5_constants import RETCODE_TEXT, Mt5
from dtms_lab.terminal.fault_kinds import (
    NOT_SENT,
    OUT_OF_STEP,
    OUT_OF_STEP_APPLIED,
    REPLY_LOST,
    REQUEST_LOST,
    SEND_FAILED,
    SEND_FAILED_APPLIED,
    Answer,
    ClockShift,
    Crossed,
    Doubled,
    Empty,
    Failed,
    Fault,
    Hang,
    HistoryLag,
    Late,
    Moved,
    PartFill,
    Previous,
    Refused,
    Reopened,
    Respecified,
    Restamped,
    Slipped,
    StaleView,
    StopOut,
    Switch,
    Switched,
)
from dtms_lab.terminal.fault_plan import ANY, ORDER_SEND, READS, Chance, FaultPlan, Sent

UNKNOWN_RETCODE: Final = 10_999
"""A retcode that nobody knows."""
UNKNOWN_ERROR: Final = -99
"""A value of `last_error` that nobody knows."""

UNCLEAR: Final = (
    Mt5.TRADE_RETCODE_PLACED,
    Mt5.TRADE_RETCODE_ERROR,
    Mt5.TRADE_RETCODE_TIMEOUT,
    Mt5.TRADE_RETCODE_ORDER_CHANGED,
    Mt5.TRADE_RETCODE_LOCKED,
    Mt5.TRADE_RETCODE_CONNECTION,
    Mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST,
    UNKNOWN_RETCODE,
)
"""Retcodes that do not say what became of the order: it may be applied, be applied later, or never."""

REFUSALS: Final = tuple(
    code
    for code in (*RETCODE_TEXT, UNKNOWN_RETCODE)
    if code not in (0, Mt5.TRADE_RETCODE_DONE, Mt5.TRADE_RETCODE_DONE_PARTIAL, Mt5.TRADE_RETCODE_PLACED)
)
"""Retcodes with which a server can refuse; 10046 is among them."""

READ_ERRORS: Final = (-1, -2, -3, -4, -5, -6, -7, -8, -10000, -10001, -10002, -10004, UNKNOWN_ERROR)

_SHARE: Final = 0.35
"""Share of all faults that is in one plan, on average."""
_RATES: Final = (0.003, 0.05)
_STORM: Final = 20


def swarm(seed: int, *, late_ms: int = 200, hangs: bool = False) -> FaultPlan:
    """Return the plan of a seed.

    Args:
        seed: The same seed is the same plan.
        late_ms: How late an order or a view is at most; it has to stay under the settle time, or no software can tell.
        hangs: Whether calls may hang; only for a harness that restarts what hung.
    """
    random = Random(f"swarm {seed}")  # noqa: S311 - seeded faults, no secret
    chances = []
    for fault, op, sent, scale in _candidates(random, late_ms=late_ms, hangs=hangs):
        taken, weight = random.random() < _SHARE, random.random()
        if taken:
            low, high = _RATES
            rate = round(scale * (low + (high - low) * weight * weight), 6)
            chances.append(Chance(fault=fault, rate=rate, op=op, sent=sent))
    return FaultPlan(seed=seed, chances=tuple(chances))


def _candidates(random: Random, *, late_ms: int, hangs: bool) -> Iterator[tuple[Fault, str, Sent | None, float]]:
    """Yield every fault with where it happens and how much rarer than others it is."""
    for fault in _on_orders(random, late_ms):
        yield fault, ORDER_SEND, None, 1.0
    for fault in _on_reads(random):
        yield fault, READS, None, 0.2
    yield Empty(), "positions_get", None, 1.0
    yield Failed(code=Mt5.RES_E_INTERNAL_FAIL_INIT), "open", None, 1.0
    for fault in _around(random, late_ms):
        yield fault, ANY, None, 0.1
    yield Moved(points=random.randint(1, 300)), ORDER_SEND, None, 1.0
    yield Reopened(), ANY, None, 0.05
    yield StopOut(), ANY, None, 0.002
    if hangs:
        yield Hang(), ORDER_SEND, None, 0.5
        yield Hang(applied=True), ORDER_SEND, None, 0.5


def _on_orders(random: Random, late_ms: int) -> Iterator[Fault]:
    yield from (NOT_SENT, SEND_FAILED, SEND_FAILED_APPLIED, REQUEST_LOST, REPLY_LOST, OUT_OF_STEP, OUT_OF_STEP_APPLIED)
    yield from (Doubled(), Previous(), Previous(applied=False), Failed(code=UNKNOWN_ERROR, applied=True))
    yield Late(delay_ms=random.randint(1, late_ms))
    yield Late(delay_ms=random.randint(0, late_ms // 2), after_reads=1)
    yield Late(delay_ms=random.randint(1, late_ms), code=random.choice(UNCLEAR))
    for code in UNCLEAR:
        yield Answer(code=code)
    for code in REFUSALS:
        yield Refused(code=code)
    yield Refused(code=Mt5.TRADE_RETCODE_REQUOTE, calls=random.randint(2, _STORM))
    yield PartFill(share=random.choice((0.25, 0.5, 0.9)))
    yield PartFill(share=random.choice((0.25, 0.5, 0.9)), says=Mt5.TRADE_RETCODE_DONE)
    yield Slipped(points=random.randint(1, 100))
    yield from (Restamped(comment=""), Restamped(comment="by broker"), Restamped(magic=0))
    yield Restamped(comment="", magic=0)


def _on_reads(random: Random) -> Iterator[Fault]:
    for code in READ_ERRORS:
        yield Failed(code=code)
    yield Doubled()
    yield Crossed(calls=random.randint(1, 12))


def _around(random: Random, late_ms: int) -> Iterator[Fault]:
    yield StaleView(lag_ms=random.randint(1, late_ms), for_ms=random.randint(1, 20) * SECOND)
    yield HistoryLag(lag_ms=random.randint(1, late_ms), for_ms=random.randint(1, 20) * SECOND)
    yield ClockShift(shift_ms=random.choice((-HOUR, HOUR)))
    yield ClockShift(shift_ms=random.choice((-HOUR, HOUR, 5 * SECOND)), for_ms=random.randint(1, 30) * SECOND)
    for switch in Switch:
        yield Switched(switch=switch, for_ms=random.randint(1, 30) * SECOND)
    yield Respecified(stops_level=random.randint(0, 200), for_ms=60 * SECOND)
    yield Respecified(freeze_level=random.randint(1, 100), for_ms=20 * SECOND)
    yield Respecified(volume_step=0.1, volume_min=0.1, for_ms=20 * SECOND)
    yield Respecified(trade_mode=Mt5.SYMBOL_TRADE_MODE_CLOSEONLY, for_ms=20 * SECOND)
