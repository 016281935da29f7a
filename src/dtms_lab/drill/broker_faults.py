"""What may go wrong at the terminal in a drill, and how much of it one seed gets.

What reduces or moves a stop is late by less than the settle time, a stale view and a lagging history included, for no
software can tell "not yet" from "never" beyond it (reliability.md section 3). What opens may be later than that, and than
the time after which it is quarantined: it must not be doubled, and somebody must be called.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from dtms.adapters.mt5.retcodes import RETCODES, Reaction
from dtms.domain.units import HOUR, SECOND
from dtms_lab.mt5_constants import Mt5
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
    Dripped,
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
    Relevelled,
    Reopened,
    Respecified,
    Restamped,
    Slipped,
    StaleView,
    StopOut,
    Switch,
    Switched,
)
from dtms_lab.terminal.fault_plan import ORDER_SEND, READS, Chance, FaultPlan, Sent

UNKNOWN_CODE: Final = 10_099
"""A retcode that nobody has mapped."""

_LATE_SHARE: Final = 0.3
"""Of the settle time, for each of the three delays."""

_VERY_LATE: Final = 90 * SECOND
"""When an opening that nobody can tell is left to the operator already."""

_FEW_FILLS: Final = 5.0

_MAYBE: Final = tuple(code for code, meaning in RETCODES.items() if meaning.reaction is Reaction.UNKNOWN)
_NEVER: Final = tuple(
    code
    for code, meaning in RETCODES.items()
    if meaning.reaction not in (Reaction.APPLIED, Reaction.PARTIAL, Reaction.UNKNOWN)
)
_READ_ERRORS: Final = (-1, -3, -4, -6, -7, -10_000, -10_001, -10_002, -10_004)
_SEND_ERRORS: Final = (-1, -2, -3, -4, -5, -6, -7, -8)


def _order_faults(settle_ms: int) -> tuple[Fault, ...]:
    late = round(_LATE_SHARE * settle_ms)
    return (
        NOT_SENT,
        SEND_FAILED,
        SEND_FAILED_APPLIED,
        REQUEST_LOST,
        REPLY_LOST,
        OUT_OF_STEP,
        OUT_OF_STEP_APPLIED,
        *(Failed(code=code) for code in _SEND_ERRORS),
        Failed(code=Mt5.RES_E_FAIL, applied=True),
        Late(delay_ms=late),
        Late(delay_ms=late // 4),
        Late(after_reads=1),
        Late(delay_ms=late // 2, code=Mt5.TRADE_RETCODE_TIMEOUT),
        Late(delay_ms=late // 2, code=Mt5.TRADE_RETCODE_PLACED),
        Hang(),
        Hang(applied=True),
        Doubled(),
        Previous(applied=True),
        Previous(applied=False),
        Answer(code=Mt5.TRADE_RETCODE_DONE, applied=False),
        Crossed(calls=1),
        Crossed(calls=5),
        Moved(points=30),
        Moved(points=400),
        Moved(points=-200),
        Reopened(),
        StopOut(),
        Refused(code=Mt5.TRADE_RETCODE_REQUOTE, calls=6),
        Refused(code=Mt5.TRADE_RETCODE_MARKET_CLOSED, calls=2),
        PartFill(),
        PartFill(share=0.4, says=Mt5.TRADE_RETCODE_DONE),
        Slipped(points=25),
        Restamped(comment=""),
        Restamped(comment="broker's own"),
        Restamped(magic=0),
        Restamped(comment="", magic=0),
        Dripped(every_ms=1_500),
        Dripped(every_ms=4_000, at_once=True),
        Dripped(every_ms=6_000, comment="broker's own"),
        Dripped(parts=2, every_ms=3_000, at_once=True, comment=""),
        Relevelled(drops_target=True),
        Relevelled(stop_ticks=1),
        Relevelled(stop_ticks=40),
    )


def _read_faults(settle_ms: int) -> tuple[tuple[Fault, str], ...]:
    late = round(_LATE_SHARE * settle_ms)
    return (
        *((Failed(code=code), READS) for code in _READ_ERRORS),
        (Failed(code=Mt5.RES_E_FAIL), "positions_get"),
        (Failed(code=Mt5.RES_E_INTERNAL_FAIL_RECEIVE), "history_deals"),
        (Empty(), "positions_get"),
        (Empty(), "history_deals"),
        (Doubled(), READS),
        (Hang(), READS),
        (Crossed(calls=4), READS),
        (StaleView(lag_ms=late, for_ms=20 * SECOND), "positions_get"),
        (HistoryLag(lag_ms=late, for_ms=60 * SECOND), "positions_get"),
        (ClockShift(shift_ms=HOUR, for_ms=20 * SECOND), "symbol_info_tick"),
        (Reopened(), "positions_get"),
        *((Switched(switch=switch, for_ms=8 * SECOND), "positions_get") for switch in Switch),
        (Respecified(stops_level=150, for_ms=60 * SECOND), "positions_get"),
        (Respecified(freeze_level=60, for_ms=30 * SECOND), "positions_get"),
        (Respecified(volume_min=0.3, volume_step=0.1, for_ms=60 * SECOND), "positions_get"),
        (Respecified(trade_mode=Mt5.SYMBOL_TRADE_MODE_CLOSEONLY, for_ms=60 * SECOND), "positions_get"),
    )


def _answers() -> tuple[Fault, ...]:
    refused = (Answer(code=code, applied=False) for code in (*_NEVER, *_MAYBE, UNKNOWN_CODE))
    return (*refused, *(Answer(code=code) for code in (*_MAYBE, UNKNOWN_CODE)))


def fault_names() -> tuple[str, ...]:
    """Return the words under which the terminal's faults are counted: all that a seed may get."""
    faults = (*_answers(), *_order_faults(SECOND), *(fault for fault, _op in _read_faults(SECOND)))
    return tuple(dict.fromkeys(fault.name for fault in faults))


def _often(fault: Fault) -> float:
    """Return how many times as often a fault comes as others: the dealer's meet fills alone, few of all orders."""
    return _FEW_FILLS if isinstance(fault, PartFill | Slipped | Restamped | Dripped | Relevelled) else 1.0


def _picked(stream: Random, found: Sequence[Chance], most: int) -> list[Chance]:
    return stream.sample(list(found), stream.randint(0, min(most, len(found))))


def broker_plan(seed: int, stream: Random, settle_s: float) -> FaultPlan:
    """Return the terminal's faults of one seed: a random subset, each at a random rate."""
    settle_ms = round(settle_s * SECOND)
    heat = stream.choice((0.3, 1.0, 1.0, 2.0))
    chances = _picked(
        stream,
        [Chance(fault=fault, rate=heat * stream.uniform(0.005, 0.04), op=ORDER_SEND) for fault in _answers()],
        12,
    )
    chances += _picked(
        stream,
        [
            Chance(fault=fault, rate=_often(fault) * heat * stream.uniform(0.005, 0.05), op=ORDER_SEND)
            for fault in _order_faults(settle_ms)
        ],
        10,
    )
    chances += _picked(
        stream,
        [
            Chance(fault=fault, rate=heat * stream.uniform(0.0003, 0.003), op=op)
            for fault, op in _read_faults(settle_ms)
        ],
        8,
    )
    chances += _picked(
        stream,
        [
            Chance(fault=Late(delay_ms=delay), rate=heat * stream.uniform(0.01, 0.1), op=ORDER_SEND, sent=Sent.OPEN)
            for delay in (3 * settle_ms, _VERY_LATE)
        ],
        1,
    )
    return FaultPlan(seed=seed, chances=tuple(chances))
