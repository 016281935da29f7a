"""Recorded tapes through the whole terminal: what goes in as bars comes out as bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtms.domain.units import MINUTE
from dtms_lab.tapes.tape import read_tape
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.driver import TapeDriver
from dtms_lab.terminal.server_time import eet_new_york_dst

_PLAYED = 1_500


@pytest.mark.parametrize(
    "name",
    [
        "mt5_XAUUSD_M1_20250515_20250604.csv.gz",
        "mt5_BTCUSD_M1_20250521_20250604.csv.gz",
        "fxcm_USDJPY_M1_bid_201302.csv.gz",
    ],
)
def test_m1_comes_back_exactly_and_longer_bars_hold_its_extremes(shared_data: Path, name: str) -> None:
    tape = read_tape(shared_data / "bars_m1" / name)
    bars = tape.bars[: 500 + _PLAYED]
    desk = SimDesk(start=bars[500].start)
    driver = TapeDriver(desk.server, [tape], start=bars[500].start)
    bids: list[float] = []
    while (at := driver.next_at) is not None and at <= bars[-1].start + MINUTE:
        desk.now = at
        event = driver.step()
        assert event is not None
        if event.quote is not None and event.quote.at < bars[-1].start + MINUTE:
            assert event.quote.ask >= event.quote.bid
            bids.append(event.quote.bid)
    rates = desk.terminal.copy_rates_from_pos(tape.symbol, 1, 0, len(bars) + 1)
    assert rates is not None
    closed = rates[: len(bars)]
    expected = [
        ((b.start + eet_new_york_dst(b.start)) // 1000, b.open, b.high, b.low, b.close, round(b.volume or 0))
        for b in bars
    ]
    assert [row[:6] for row in closed.tolist()] == expected
    assert bids == [price for b in bars[500:] for price in (b.open, b.low, b.high, b.close)]
    hours = desk.terminal.copy_rates_from_pos(tape.symbol, 16385, 0, 10_000)
    assert hours is not None
    assert (hours["high"].max(), hours["low"].min()) == (rates["high"].max(), rates["low"].min())
    assert int(hours["tick_volume"].sum()) == int(rates["tick_volume"].sum())
    assert set((hours["time"] % 3600).tolist()) == {0}
