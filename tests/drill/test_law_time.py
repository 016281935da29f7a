"""The drill's limits on sending grow with the trades that there were within the minute, also those that have just ended."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.app.rig import Rig

from dtms.domain.intent import tag_of
from dtms.domain.policy.machine import MachinePolicy
from dtms.domain.trade import Trade
from dtms.domain.units import TradeId
from dtms_lab.drill.law_time import TimeLaws
from dtms_lab.drill.record import Record
from dtms_lab.drill.ways import SendLog

_TRADES = 12
_SENDS = 60


@pytest.fixture
def rig() -> Rig:
    return Rig()


def judged(rig: Rig, trades: tuple[Trade, ...], after_s: float) -> list[str]:
    """Return the laws that break where these trades are open, and so long after that none is and orders were sent."""
    on_disk = cast("Any", rig)
    record = Record(
        sim=rig.sim, disk=lambda: on_disk, log=SendLog(), notifier=rig.notifier, clock=rig.clock.market_now, open=trades
    )
    laws = TimeLaws(record, MachinePolicy())
    laws.passed(0)
    record.open = ()
    rig.wait(after_s)
    tags = [tag_of(TradeId(str(number)), "flatten", 0, 1) for number in range(_SENDS)]
    record.log.at.update(dict.fromkeys(tags, rig.clock.now))
    laws.passed(0)
    return [found.law for found in record.found]


def test_closing_many_trades_at_once_is_no_storm(rig: Rig) -> None:
    trades = tuple(rig.managed(volume=0.1) for _ in range(_TRADES))
    assert judged(rig, trades, after_s=20) == []


def test_as_many_orders_for_nothing_are_one(rig: Rig) -> None:
    assert judged(rig, (), after_s=20) == ["I12 limits"]


def test_what_ended_more_than_a_minute_ago_allows_nothing(rig: Rig) -> None:
    trades = tuple(rig.managed(volume=0.1) for _ in range(_TRADES))
    assert judged(rig, trades, after_s=61) == ["I12 limits"]
