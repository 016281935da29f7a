"""What a tape leaves open is judged over the whole file, and what stays open is said, as data too."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tapes.files import BARS, begins, codes, epochs, first_prices, lines, write

from dtms.domain.units import MINUTE, to_iso
from dtms.errors import SettingsError
from dtms_lab.tapes.tape import Tape, parse_columns, read_tape

OHLC = "time,open,high,low,close"


def spread_of(tape: Tape) -> float:
    """Return the tape's spread in the middle, rounded to hide binary noise."""
    assert tape.asks is not None
    return round(median(ask.close - bid.close for bid, ask in zip(tape.bars, tape.asks, strict=True)), 8)


# Two symbols in one file.


def _two() -> list[str]:
    names = ("EURUSD", "1.08500,1.08508"), ("GBPUSD", "1.26800,1.26808")
    rows = [f"2024-03-05T08:00:{i:02}+00:00,{names[i % 2][0]},{names[i % 2][1]}" for i in range(40)]
    return ["time,symbol,bid,ask", *rows]


def test_of_two_symbols_only_the_rows_of_the_one_asked_for_are_read(tmp_path: Path) -> None:
    tape = read_tape(write(tmp_path, "ticks.csv", _two()), symbol="EURUSD")

    assert tape.quotes is not None
    assert {quote.bid for quote in tape.quotes} == {1.085}
    assert (len(tape.quotes), codes(tape)) == (20, ["several_symbols"])
    assert "20 others (20 of GBPUSD) left out" in tape.doubts[0].text


def test_two_symbols_of_which_none_was_asked_for_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "EURUSD.csv", _two())

    with pytest.raises(SettingsError, match=r"it holds 2 symbols: EURUSD \(20 rows\), GBPUSD \(20 rows\); name one"):
        read_tape(path)
    with pytest.raises(SettingsError, match="none of USDJPY"):
        read_tape(path, symbol="USDJPY")


def test_one_symbol_of_two_accounts_is_two_streams(tmp_path: Path) -> None:
    path = write(tmp_path, "ticks.csv", [row.replace("GBPUSD", "EURUSD.r") for row in _two()])

    with pytest.raises(SettingsError, match=r"it holds 2 symbols: EURUSD \(20 rows\), EURUSD.r \(20 rows\)"):
        read_tape(path)
    tape = read_tape(path, symbol="EURUSD.r")
    assert tape.quotes is not None
    assert (tape.symbol, {quote.bid for quote in tape.quotes}) == ("EURUSD", {1.268})


def test_two_symbols_side_by_side_are_told_apart_by_their_headers(tmp_path: Path) -> None:
    rows = [f"2025-03-05T09:00:0{i}Z,1.085,1.0851,1.268,1.2681" for i in range(5)]
    path = write(tmp_path, "wide.csv", ["time,EURUSD_bid,EURUSD_ask,GBPUSD_bid,GBPUSD_ask", *rows])

    tape = read_tape(path, symbol="GBPUSD")

    assert tape.quotes is not None
    assert (tape.symbol, tape.quotes[0].bid, tape.quotes[0].ask) == ("GBPUSD", 1.268, 1.2681)
    with pytest.raises(SettingsError, match="its columns are of EURUSD and GBPUSD; name one of them with --symbol"):
        read_tape(path)


# The unit of a spread column.

INDEX = [f"2024-03-05 0{i // 60}:{i % 60:02}:00" for i in range(90)]


@pytest.mark.parametrize(
    ("symbol", "price", "spread", "expected", "doubted"),
    [
        ("EURUSD", "1.0850", "1", 0.0001, ["spread_unit"]),  # a broker of four digits
        ("US30", "39000.00", "240", 2.4, []),  # a terminal's own export
        ("US30", "39000.0", "240", 2.4, ["spread_unit"]),  # the same by pandas: a zero was dropped
        ("EURUSD", "1.08500", "8", 0.00008, []),
        ("EURUSD", "1.08500", "1", 0.00001, []),  # a raw account
        ("EURUSD", "1.085", "8", 0.00008, []),  # zeros dropped: the instrument's point decides
        ("EURUSD", "1.08500", "0.00008", 0.00008, ["spread_unit"]),  # ask minus bid, home-made
        ("EURUSD", "1.08500", "0.8", 0.00008, ["spread_unit"]),  # pips
        ("XAUUSD", "3200.5", "25", 0.25, []),
        ("XAUUSD", "3200.50", "0.25", 0.25, ["spread_unit"]),
        ("USDJPY", "150.120", "12", 0.012, []),
        ("BTCUSD", "63000.0", "1500", 15.0, []),
    ],
)
def test_the_unit_of_a_spread_is_judged_by_what_it_would_cost(
    tmp_path: Path, symbol: str, price: str, spread: str, expected: float, doubted: list[str]
) -> None:
    rows = [f"{at},{price},{price},{price},{price},40,{spread}" for at in INDEX]
    path = write(tmp_path, f"mt5_{symbol}.csv", ["time,open,high,low,close,tick_volume,spread", *rows])

    tape = read_tape(path, symbol=symbol)

    assert spread_of(tape) == pytest.approx(expected)
    assert [code for code in codes(tape) if code != "zone_assumed"] == doubted


@pytest.mark.parametrize(("unit", "expected"), [("points", 0.00002), ("price", 2.0)])
def test_a_person_may_say_the_unit_of_a_spread(tmp_path: Path, unit: str, expected: float) -> None:
    rows = [f"{at},1.08500,1.08500,1.08500,1.08500,40,2" for at in INDEX]
    path = write(tmp_path, "EURUSD.csv", ["time,open,high,low,close,tick_volume,spread", *rows])

    tape = read_tape(path, spread_unit=unit)

    assert spread_of(tape) == pytest.approx(expected)
    with pytest.raises(SettingsError, match="--spread-unit 'pips' is none; say points or price"):
        read_tape(path, spread_unit="pips")


def test_a_spread_ten_times_the_usual_one_is_doubted(tmp_path: Path) -> None:
    rows = [f"2025-03-05T09:00:{i:02}Z,1.08500,1.08700" for i in range(30)]

    tape = read_tape(write(tmp_path, "EURUSD.csv", ["time,bid,ask", *rows]))

    assert codes(tape) == ["spread"]


# Clocks.


def test_a_label_that_the_markets_hours_contradict_is_doubted_and_a_person_may_overrule_it(tmp_path: Path) -> None:
    # A server's day of gold, Monday 01:00 to 23:59, labelled UTC: the daily break stands at the wrong hour.
    days = [f"2025-03-{day:02}T{m // 60:02}:{m % 60:02}:00Z" for day in (4, 5, 6) for m in range(60, 1_440)]
    path = write(tmp_path, "XAUUSD.csv", [OHLC, *(f"{at},3200,3201,3199,3200" for at in days)])

    believed, told = read_tape(path), read_tape(path, tz="server")

    assert codes(believed) == ["zone_label"]
    assert "With server it is 0; say --tape-tz server" in believed.doubts[0].text
    assert (codes(told), believed.first - told.first) == ([], 120 * MINUTE)


@pytest.mark.parametrize(
    ("name", "begin"),
    [("BTCUSD.csv", "2025-03-05T09:00"), ("mt5_BTCUSD.csv", "2025-03-05T07:00"), ("AAPL.csv", "2025-03-05T14:00")],
)
def test_a_clock_that_leaves_no_trace_is_assumed_by_who_wrote_the_tape(tmp_path: Path, name: str, begin: str) -> None:
    symbol = "AAPL" if "AAPL" in name else "BTCUSD"

    tape = read_tape(write(tmp_path, name, lines("{t},{o},{h},{l},{c}", header=OHLC, scale=100)), symbol=symbol)

    assert (begins(tape), codes(tape)) == (begin, ["zone_assumed"])


def test_a_second_time_column_that_disagrees_is_doubted(tmp_path: Path) -> None:
    header = "timestamp,local_time,open,high,low,close"
    same = epochs("{t},2025-03-05T09:0{i}:00Z,{o},{h},{l},{c}", header=header)
    other = epochs("{t},2025-03-05 11:0{i}:00,{o},{h},{l},{c}", header=header)

    assert codes(read_tape(write(tmp_path, "EURUSD_same.csv", same))) == []
    tape = read_tape(write(tmp_path, "EURUSD_other.csv", other))
    assert (codes(tape), begins(tape)) == (["second_time"], "2025-03-05T09:00")
    assert "'local_time' tells the time too and differs by +2 h in every row" in tape.doubts[0].text


def test_of_two_clocks_the_one_that_names_its_zone_is_read(tmp_path: Path) -> None:
    rows = lines("2025-03-05 11:0{i}:00,{t},{o},{h},{l},{c}", header="time_server,time_utc,open,high,low,close")

    tape = read_tape(write(tmp_path, "EURUSD.csv", rows))

    assert (begins(tape), codes(tape)) == ("2025-03-05T09:00", ["second_time"])


def test_newest_first_is_turned_round_and_said(tmp_path: Path) -> None:
    rows = lines("{t},{o},{h},{l},{c}", header=OHLC, time="2025-03-05T09:{:02}:00Z")
    path = write(tmp_path, "EURUSD.csv", [rows[0], *rows[:0:-1]])

    tape = read_tape(path)

    assert (first_prices(tape), begins(tape)) == (BARS[0], "2025-03-05T09:00")
    assert "the rows are newest first and were turned round" in tape.notes


def test_a_trading_station_file_has_both_sides_month_first_and_newest_first(tmp_path: Path) -> None:
    names = ",".join(
        f'"EUR/USD({name}, {side})"' for side in ("Ask", "Bid") for name in ("Open", "High", "Low", "Close")
    )
    rows = lines("{t},1.0854,1.0855,1.0853,1.0854,{o},{h},{l},{c}", time="03/05/2025 09:{:02}:00")

    tape = read_tape(write(tmp_path, "export.csv", [f"Date,{names}", *reversed(rows)]))

    assert tape.asks is not None
    assert (tape.symbol, to_iso(tape.first)[:10], first_prices(tape)) == ("EURUSD", "2025-03-05", BARS[0])
    assert tape.asks[0].open == 1.0854
    assert (codes(tape), "the rows are newest first and were turned round" in tape.notes) == (["zone_assumed"], True)


# Day and month.


@pytest.mark.parametrize(
    ("dates", "first", "doubted"),
    [
        (("03.04.2025", "15.04.2025"), "2025-04-03", False),  # a 15th shows it
        (("03/04/2025", "03/14/2025"), "2025-03-04", False),
        (("03/04/2025", "03/05/2025", "03/06/2025"), "2025-03-04", False),  # days in a row, not months
        (("04/03/2025", "05/03/2025", "06/03/2025"), "2025-03-04", False),
        (("01/03/2025",), "2025-01-03", False),  # 1 March 2025 was a Saturday
        (("03.04.2025",), "2025-04-03", True),
        (("03/04/2025",), "2025-03-04", True),
    ],
)
def test_day_and_month_are_judged_over_the_whole_file(
    tmp_path: Path, dates: tuple[str, ...], first: str, *, doubted: bool
) -> None:
    rows = [f"{day} 12:{m:02},1.085,1.086,1.084,1.085" for day in dates for m in range(20)]

    tape = read_tape(write(tmp_path, "EURUSD.csv", [OHLC, *rows]), tz="UTC")

    assert to_iso(tape.first)[:10] == first
    assert ("day_or_month" in codes(tape)) is doubted


def test_both_orders_in_one_file_are_refused_with_the_line(tmp_path: Path) -> None:
    rows = [f"{day} 12:00,1.085,1.086,1.084,1.085" for day in ("15/03/2025", "03/16/2025")]

    with pytest.raises(SettingsError, match=r"line 3: '03/16/2025 12:00' has the month first and line 2 has the day"):
        read_tape(write(tmp_path, "EURUSD.csv", [OHLC, *rows]))


@settings(max_examples=60)
@given(
    start=st.dates(min_value=date(1990, 1, 1), max_value=date(2035, 1, 1)),
    days=st.integers(min_value=14, max_value=40),
    pattern=st.sampled_from(("%d.%m.%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d/%m/%y", "%d %b %Y", "%Y%m%d")),
)
def test_dates_of_a_month_are_read_as_they_were_written(tmp_path: Path, start: date, days: int, pattern: str) -> None:
    dates = [start + timedelta(days=i) for i in range(days)]
    rows = [f"{day.strftime(pattern)} 12:0{m},1.085,1.086,1.084,1.085" for day in dates for m in range(3)]

    tape = read_tape(write(tmp_path, "BTCUSD.csv", [OHLC, *rows]), tz="UTC")

    assert [to_iso(bar.start)[:10] for bar in tape.bars[::3]] == [day.isoformat() for day in dates]


# One side of a quote.


def test_a_missing_side_of_a_metatrader_tick_is_carried_forward(tmp_path: Path) -> None:
    rows = [
        "2025.03.05\t09:00:00.100\t\t1.08508\t\t\t4",  # nothing is known of the bid yet
        "2025.03.05\t09:00:00.200\t1.08500\t\t\t\t2",
        "2025.03.05\t09:00:00.300\t\t1.08510\t\t\t4",
        "2025.03.05\t09:00:00.400\t\t\t1.08505\t1\t24",  # a deal, no quote
        "2025.03.05\t09:00:00.500\t1.08512\t\t\t\t2",  # above the carried ask: the next row tells it
        "2025.03.05\t09:00:00.500\t\t1.08520\t\t\t4",
    ]
    header = "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>"

    tape = read_tape(write(tmp_path, "EURUSD_ticks.csv", [header, *rows]))

    assert tape.quotes is not None
    assert [(quote.bid, quote.ask) for quote in tape.quotes] == [
        (1.085, 1.08508),
        (1.085, 1.0851),
        (1.08512, 1.0852),
    ]
    assert any("the other is carried forward" in note for note in tape.notes)


def test_a_blank_side_of_any_recorder_is_the_one_before(tmp_path: Path) -> None:
    rows = ["2025-03-05T09:00:00Z,1.085,1.0851", "2025-03-05T09:00:01Z,,1.0852", "2025-03-05T09:00:02Z,1.0851,"]

    tape = read_tape(write(tmp_path, "EURUSD.csv", ["time,bid,ask", *rows]))

    assert tape.quotes is not None
    assert [(quote.bid, quote.ask) for quote in tape.quotes] == [(1.085, 1.0851), (1.085, 1.0852), (1.0851, 1.0852)]


# What a person says.


def test_columns_may_be_said_by_name_or_number(tmp_path: Path) -> None:
    text = lines("{i};{c};{h};{t};{l};{o}", time="2025-03-05T09:{:02}:00Z", header="nr;letzter;oben;wann;unten;start0")
    path = write(tmp_path, "EURUSD.csv", text)
    named = parse_columns("time=wann,open=start0,high=oben,low=unten,close=letzter")

    by_name = read_tape(path, columns=named)
    by_number = read_tape(path, columns=parse_columns("time=4,open=6,high=3,low=5,close=2"))

    assert first_prices(by_name) == BARS[0]
    assert by_name.bars == by_number.bars


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("time=when", "--columns time=when: no such column among t, x, y"),
        ("time=9", "--columns time=9: no such column among"),
        ("moment=t", "--columns moment=t: a column is one of time, date, open"),
        ("t", "'t' is not MEANING=COLUMN, once each"),
    ],
)
def test_columns_that_are_none_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, "EURUSD.csv", ["t,x,y", "2025-03-05T09:00:00Z,1.1,1.2"])

    with pytest.raises(SettingsError) as refused:
        read_tape(path, columns=parse_columns(text))

    assert sentence in str(refused.value)


def test_a_refusal_shows_the_first_lines_and_how_to_say_it(tmp_path: Path) -> None:
    path = write(
        tmp_path, "EURUSD.csv", ["alpha,beta,gamma", "2025-03-05T09:00:00Z,1.1,1.2", "2025-03-05T09:01:00Z,1.1,1.2"]
    )

    with pytest.raises(SettingsError) as refused:
        read_tape(path)

    assert "no known header: alpha, beta, gamma" in str(refused.value)
    assert "--columns time=1,open=2,high=3,low=4,close=5" in str(refused.value)
    assert "the file begins 'alpha,beta,gamma' / '2025-03-05T09:00:00Z,1.1,1.2'" in str(refused.value)


@pytest.mark.parametrize(
    ("prices", "expected", "doubted"),
    [
        ("39.000,50;39.010,00;38.990,00;39.005,25", 39_000.5, []),
        ("39000,5;39010,0;38990,0;39005,25", 39_000.5, []),
        ("39 000.50;39 010.00;38 990.00;39 005.25", 39_000.5, []),
        ("150,123;150,200;150,000;150,100", 150.123, ["decimal_comma"]),
    ],
)
def test_decimal_commas_and_thousands_are_told_apart(
    tmp_path: Path, prices: str, expected: float, doubted: list[str]
) -> None:
    rows = [f"2025-03-05T09:0{i}:00Z;{prices}" for i in range(5)]

    tape = read_tape(write(tmp_path, "tape.csv", ["time;open;high;low;close", *rows]), symbol="US30")

    assert (tape.bars[0].open, codes(tape)) == (expected, doubted)


EPOCHS = st.integers(min_value=1_000_000_000, max_value=2_200_000_000)


@settings(max_examples=40)
@given(start=EPOCHS, digits=st.sampled_from((0, 3, 6, 9)))
def test_epochs_of_every_unit_are_the_same_instant(tmp_path: Path, start: int, digits: int) -> None:
    begin = start - start % 60
    rows = [f"{(begin + 60 * i) * 10**digits},1.085,1.086,1.084,1.085" for i in range(3)]

    tape = read_tape(write(tmp_path, "EURUSD.csv", [OHLC, *rows]))

    assert [bar.start for bar in tape.bars] == [(begin + 60 * i) * 1_000 for i in range(3)]
