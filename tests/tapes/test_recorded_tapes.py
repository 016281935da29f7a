"""The recorded files of the field: each reads as its README says, or is refused with the sentence it deserves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dtms.domain.market import Timeframe
from dtms.domain.units import MINUTE, to_iso
from dtms.errors import SettingsError
from dtms_lab.tapes.tape import Tape, bars_from_quotes, read_tape, require_m1

BARS = [
    ("fxcm_GBPUSD_M1_bid_201202", "GBPUSD", 30_117, "2012-02-01T00:00", "2012-03-01T00:00", True, False),
    ("fxcm_USDJPY_M1_bid_201302", "USDJPY", 28_761, "2013-02-01T00:00", "2013-03-01T00:00", True, False),
    ("mt5_XAUUSD_M1_20250515_20250604", "XAUUSD", 20_000, "2025-05-15T04:35", "2025-06-04T18:24", False, True),
    ("mt5_BTCUSD_M1_20250521_20250604", "BTCUSD", 20_000, "2025-05-21T15:46", "2025-06-04T18:24", False, True),
    ("oanda_EURUSD_M1_quote_20140501_20140515", "EURUSD", 15_366, "2014-05-01T00:00", "2014-05-15T23:59", True, False),
    ("oanda_XAUUSD_M1_quote_20140501_20140515", "XAUUSD", 15_222, "2014-05-01T00:00", "2014-05-15T23:59", True, False),
]
TICKS = [
    (
        "oanda_XAUUSD_tick_20140505_20140507.csv.gz",
        "XAUUSD",
        567_565,
        "2014-05-05T00:00:00.040",
        "2014-05-07T23:59:59.205",
    ),
    ("histdata_EURUSD_tick_20200101.csv.gz", "EURUSD", 9_500, "2020-01-01T22:00:00.065", "2020-01-02T04:00:52.125"),
    ("truefx_USDJPY_tick_20130101.csv", "USDJPY", 1_000, "2013-01-01T22:00:00.295", "2013-01-01T22:35:13.494"),
    ("truefx_USDJPY_tick_20190101.parquet", "USDJPY", 10_000, "2019-01-01T23:00:00.071", "2019-01-02T02:00:43.514"),
    ("binance_BTCUSDT_quotes_20210108.parquet", "BTCUSDT", 451, "2021-01-08T00:00:01.076", "2021-01-08T00:00:46.674"),
]
EXPORTS = [
    ("exports/mt4_history_center/USDJPYH1.csv", "USDJPY", Timeframe.H1, 30_249, "2014-04-07T14:00", "2019-02-19T17:00"),
    (
        "exports/mt5_python/BTCUSDc_M15_2025.csv",
        "BTCUSD",
        Timeframe.M15,
        35_022,
        "2025-01-01T00:00",
        "2025-12-31T23:45",
    ),
    (
        "exports/tradingview/BINANCE_BTCUSDT, 60.csv",
        "BTCUSDT",
        Timeframe.H1,
        1_907,
        "2025-08-12T13:00",
        "2025-10-30T23:00",
    ),
]


@pytest.mark.parametrize(("name", "expected"), [(case[0], case[1:]) for case in BARS])
def test_a_recorded_m1_tape_has_the_rows_and_instants_its_readme_says(
    shared_data: Path, name: str, expected: tuple[object, ...]
) -> None:
    tape = read_tape(shared_data / "bars_m1" / f"{name}.csv.gz")

    require_m1(tape)
    span = (to_iso(tape.first)[:16], to_iso(tape.last)[:16])
    assert (tape.symbol, len(tape.bars), *span, tape.asks is not None, tape.has_volume) == expected
    assert not tape.has_side


@pytest.mark.parametrize(("name", "expected"), [(case[0], case[1:]) for case in TICKS])
def test_a_recorded_tick_tape_has_the_quotes_and_instants_its_readme_says(
    shared_data: Path, name: str, expected: tuple[object, ...]
) -> None:
    tape = read_tape(shared_data / "ticks" / name)

    assert tape.quotes is not None
    assert (tape.symbol, len(tape.quotes), to_iso(tape.first)[:23], to_iso(tape.last)[:23]) == expected
    assert (tape.bars, tape.asks, tape.timeframe) == ((), None, Timeframe.M1)


def test_ticks_with_equal_times_are_all_kept_and_make_the_minutes_of_the_recorded_bars(shared_data: Path) -> None:
    ticks = read_tape(shared_data / "ticks" / "oanda_EURUSD_tick_20140501_20140515.csv.gz")
    recorded = read_tape(shared_data / "bars_m1" / "oanda_EURUSD_M1_quote_20140501_20140515.csv.gz")

    assert ticks.quotes is not None
    bids, asks = bars_from_quotes(ticks.quotes)

    assert len(ticks.quotes) == 532_903
    assert recorded.asks is not None
    first = {bar.start: (bar.open, bar.high, bar.low, bar.close) for bar in recorded.bars}
    same = sum(first.get(bar.start) == (bar.open, bar.high, bar.low, bar.close) for bar in bids)
    assert (len(bids), len(asks)) == (15_366, 15_366)
    assert same == 15_366
    assert sum(bar.volume or 0.0 for bar in bids) == 532_903.0


@pytest.mark.parametrize(("name", "expected"), [(case[0], case[1:]) for case in EXPORTS])
def test_a_recorded_export_reads_and_is_refused_for_simulation_as_too_coarse(
    shared_data: Path, name: str, expected: tuple[object, ...]
) -> None:
    tape = read_tape(shared_data / name)

    span = (to_iso(tape.first)[:16], to_iso(tape.last)[:16])
    assert (tape.symbol, tape.timeframe, len(tape.bars), *span) == expected
    with pytest.raises(
        SettingsError, match=f"has {tape.timeframe.name} bars; simulate needs M1 or quotes.*export the tape as M1"
    ):
        require_m1(tape)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "exports/mt5_terminal/XAUUSD_H1_202101040000_202412312100.csv",
            "line 2: 432 rows from here to line 433 are D1 bars in a tape of H1 (a terminal fills missing history so); cut the first 432 rows",
        ),
        (
            "exports/mt5_terminal/XAUUSD_M15_202101040000_202212302345.csv",
            "line 2: 2346 rows from here to line 2347 are D1 and H1 bars in a tape of M15 (a terminal fills missing history so); cut the first 2346 rows",
        ),
        (
            "ticks/binance_BTCUSDT_trades_20210108.parquet",
            "these are trades, with one price and no bid and ask; give the quotes of the same time, or bars",
        ),
    ],
)
def test_a_recorded_file_with_a_real_defect_is_refused_with_its_sentence(
    shared_data: Path, name: str, sentence: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_tape(shared_data / name)

    assert sentence in str(refused.value)
    assert str(shared_data / name) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "cut", "expected"),
    [
        ("XAUUSD_H1_202101040000_202412312100.csv", 432, (Timeframe.H1, 14_210 - 432, "2022-09-01T13:00")),
        ("XAUUSD_M15_202101040000_202212302345.csv", 2_346, (Timeframe.M15, 2_517 - 2_346, "2022-12-29T02:15")),
    ],
)
def test_the_remedy_for_daily_rows_in_an_export_works(
    shared_data: Path, tmp_path: Path, name: str, cut: int, expected: tuple[object, ...]
) -> None:
    lines = (shared_data / "exports" / "mt5_terminal" / name).read_bytes().split(b"\n")
    (tmp_path / name).write_bytes(b"\n".join((lines[0], *lines[1 + cut :])))

    tape = read_tape(tmp_path / name)

    assert (tape.timeframe, len(tape.bars), to_iso(tape.first)[:16]) == expected
    assert tape.has_volume


def test_the_spread_column_of_a_terminal_export_makes_asks_and_its_zeros_take_the_median(
    shared_data: Path, tmp_path: Path
) -> None:
    name = "XAUUSD_H1_202101040000_202412312100.csv"
    lines = (shared_data / "exports" / "mt5_terminal" / name).read_bytes().split(b"\n")
    (tmp_path / name).write_bytes(b"\n".join((lines[0], *lines[433:])))

    tape = read_tape(tmp_path / name)

    assert tape.asks is not None
    assert (tape.bars[-1].close, tape.asks[-1].close) == (2623.70, 2623.84)
    assert "asks are the bid plus the spread column, in points of 0.01" in tape.notes
    # 3,317 zeros in the whole file, 432 of them in the daily rows.
    assert [
        note for note in tape.notes if note.startswith("2885 rows with a spread of 0 have the median of the others")
    ]


def _notes(tape: Tape, word: str) -> list[str]:
    return [note for note in tape.notes if word in note]


def test_the_zone_of_a_metal_tape_is_inferred_from_its_daily_break(shared_data: Path) -> None:
    tape = read_tape(shared_data / "bars_m1" / "mt5_XAUUSD_M1_20250515_20250604.csv.gz")

    (note,) = _notes(tape, "zone")
    assert note == (
        "the rows name no time zone; server is inferred from the market's hours: with it 0 of 1334 quarter hours with rows "
        "are closed, with the next best 80"
    )


def test_the_zone_of_a_market_that_never_closes_is_assumed_and_said(shared_data: Path) -> None:
    tape = read_tape(shared_data / "bars_m1" / "mt5_BTCUSD_M1_20250521_20250604.csv.gz")

    (doubt,) = tape.doubts
    assert doubt.code == "zone_assumed"
    assert "the market never closes" in doubt.text
    assert "server is assumed" in doubt.text


def test_a_given_zone_moves_the_rows_and_is_doubted_where_they_fall_into_closed_hours(shared_data: Path) -> None:
    path = shared_data / "bars_m1" / "mt5_XAUUSD_M1_20250515_20250604.csv.gz"

    given, inferred, wrong = read_tape(path, tz="Europe/Athens"), read_tape(path), read_tape(path, tz="UTC")

    assert given.bars == inferred.bars
    assert wrong.first - inferred.first == 180 * MINUTE
    assert given.doubts == ()
    assert [doubt.code for doubt in wrong.doubts] == ["zone_label"]
    assert "With server it is 0; say --tape-tz server" in wrong.doubts[0].text


def test_a_given_zone_is_believed_over_the_false_label_of_an_api_dump_only(shared_data: Path) -> None:
    dump = read_tape(shared_data / "exports" / "mt5_python" / "BTCUSDc_M15_2025.csv", tz="Etc/GMT-2")
    labelled = read_tape(shared_data / "ticks" / "truefx_USDJPY_tick_20130101.csv", tz="server")

    assert to_iso(dump.first)[:16] == "2024-12-31T22:00"
    assert to_iso(labelled.first)[:16] == "2013-01-01T22:00"
    assert len(_notes(labelled, "given time zone server is not used")) == 1


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_either_file_of_a_pair_finds_the_other(shared_data: Path, side: str) -> None:
    tape = read_tape(shared_data / "bars_m1" / f"fxcm_GBPUSD_M1_{side}_201202.csv.gz")

    assert tape.asks is not None
    assert (tape.bars[0].close, tape.asks[0].close) == (1.57576, 1.57585)
    assert _notes(tape, "fxcm_GBPUSD_M1_ask_201202.csv.gz")


def test_asks_below_their_bid_in_separately_recorded_sides_are_replaced_and_counted(shared_data: Path) -> None:
    tape = read_tape(shared_data / "bars_m1" / "fxcm_USDJPY_M1_bid_201302.csv.gz")

    assert tape.asks is not None
    # The second minute: bid high 91.707, recorded ask high 91.699.
    assert (tape.bars[1].high, tape.asks[1].high) == (91.707, 91.71)
    assert _notes(tape, "0 minutes without ask bar and 2144 with an ask below the bid have the bid plus the median")


def test_a_bid_file_without_its_sibling_is_read_and_says_that_it_has_no_asks(shared_data: Path, tmp_path: Path) -> None:
    name = "fxcm_GBPUSD_M1_bid_201202.csv.gz"
    shutil.copy(shared_data / "bars_m1" / name, tmp_path / name)

    tape = read_tape(tmp_path / name)

    assert tape.asks is None
    assert "the tape has no ask prices" in tape.notes


def test_an_ask_file_alone_is_refused(shared_data: Path, tmp_path: Path) -> None:
    name = "fxcm_GBPUSD_M1_ask_201202.csv.gz"
    shutil.copy(shared_data / "bars_m1" / name, tmp_path / name)

    with pytest.raises(SettingsError, match="this is the ask side and its bid file is not beside it; give both files"):
        read_tape(tmp_path / name)


def test_prices_in_pips_are_divided_and_said(shared_data: Path) -> None:
    tape = read_tape(shared_data / "ticks" / "truefx_USDJPY_tick_20190101.parquet")

    assert tape.quotes is not None
    assert (tape.quotes[0].bid, tape.quotes[0].ask) == (109.676, 109.687)
    assert "prices are in pips (10963.5) and were divided by 100" in tape.notes


def test_nanoseconds_that_lost_their_last_digits_give_the_recorded_millisecond(shared_data: Path) -> None:
    tape = read_tape(shared_data / "ticks" / "truefx_USDJPY_tick_20190101.parquet")

    assert tape.quotes is not None
    # Stored as ...600_180_999_936 ns.
    assert tape.quotes[1].at == 1_546_383_600_181


@pytest.mark.parametrize(
    ("name", "symbol", "why"),
    [
        ("oanda_EURUSD_M1_quote_20140501_20140515.csv.gz", "XAUUSD", "the file name says EURUSD, not XAUUSD"),
        ("mt5_BTCUSD_M1_20250521_20250604.csv.gz", "EURUSD", "the file name says BTCUSD, not EURUSD"),
    ],
)
def test_a_symbol_that_contradicts_the_file_name_is_refused(
    shared_data: Path, name: str, symbol: str, why: str
) -> None:
    with pytest.raises(SettingsError, match=f"{why}; give the tape of {symbol}, or --symbol"):
        read_tape(shared_data / "bars_m1" / name, symbol=symbol)


def test_a_brokers_spelling_of_the_symbol_is_the_same_symbol(shared_data: Path) -> None:
    tape = read_tape(shared_data / "bars_m1" / "mt5_XAUUSD_M1_20250515_20250604.csv.gz", symbol="XAUUSD.r")

    assert tape.symbol == "XAUUSD"


def test_the_headerless_bars_of_histdata_are_est_all_year(shared_data: Path) -> None:
    tape = read_tape(shared_data / "exports" / "histdata" / "DAT_ASCII_JPXJPY_M1_201803_excerpt.csv")

    assert (tape.symbol, len(tape.bars), to_iso(tape.first)[:16]) == ("JPXJPY", 20, "2018-03-01T06:25")
    assert (tape.has_volume, tape.bars[0].volume) == (False, None)
