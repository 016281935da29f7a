"""The shared cases: files as people sent them, each with the right value that it must be read with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tapes.files import begins, codes, first_prices

from dtms.errors import SettingsError
from dtms_lab.tapes.tape import read_tape

FIRST = (1.085, 1.08513, 1.08494, 1.08513)


def test_seconds_of_a_metatrader_dump_are_of_the_servers_clock(shared_cases: Path) -> None:
    tape = read_tape(shared_cases / "10-epoch-times" / "EURUSD_copy_rates.csv")

    assert (begins(tape), first_prices(tape), len(tape.bars)) == ("2025-03-05T07:00", FIRST, 12)
    assert any("the epochs count on the broker's clock" in note for note in tape.notes)
    assert tape.asks is not None
    assert tape.asks[0].open == 1.08508


def test_milliseconds_of_binance_are_utc(shared_cases: Path) -> None:
    tape = read_tape(shared_cases / "10-epoch-times" / "BTCUSDT-1m-2024-11-header.csv")

    assert (tape.symbol, begins(tape), codes(tape), len(tape.bars)) == ("BTCUSDT", "2025-03-05T09:00", [], 12)


def test_dukascopys_candles_are_day_first_utc_and_the_bid_side(shared_cases: Path) -> None:
    folder = shared_cases / "11-dukascopy-export"

    tape = read_tape(folder / "EURUSD_Candlestick_1_M_BID_05.03.2025-05.03.2025.csv")

    assert (begins(tape), first_prices(tape), codes(tape), tape.asks) == ("2025-03-05T09:00", FIRST, [], None)


def test_metatrader_4_rows_with_seconds_are_bars(shared_cases: Path) -> None:
    tape = read_tape(shared_cases / "13-near-misses" / "EURUSD1_with_seconds.csv")

    assert (begins(tape), first_prices(tape), len(tape.bars)) == ("2025-03-05T07:00", FIRST, 12)


def test_a_trading_station_export_has_both_sides_and_is_turned_round(shared_cases: Path) -> None:
    tape = read_tape(shared_cases / "13-near-misses" / "EURUSD_trading_station.csv")

    assert (first_prices(tape), len(tape.bars)) == (FIRST, 12)
    assert tape.asks is not None
    assert tape.asks[0].open == 1.08504
    assert "the rows are newest first and were turned round" in tape.notes


def test_ticks_of_two_symbols_are_told_apart(shared_cases: Path) -> None:
    path = shared_cases / "02-ticks-of-two-symbols" / "ticks.csv"

    tape = read_tape(path, symbol="EURUSD")

    assert tape.quotes is not None
    assert (len(tape.quotes), max(quote.bid for quote in tape.quotes) < 1.1) == (200, True)
    with pytest.raises(SettingsError, match="it holds 2 symbols"):
        read_tape(path)
