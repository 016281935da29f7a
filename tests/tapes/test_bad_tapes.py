"""What is no tape, or a tape with a fault, is one clear sentence: file, line, why, remedy."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from dtms.errors import SettingsError
from dtms_lab.tapes.tape import read_tape

HEADER = "timestamp,open,high,low,close"


def _row(minute: int, close: float | str = 1.1010) -> str:
    hour, minute = divmod(minute, 60)
    return f"2014-05-06T{10 + hour:02}:{minute:02}:00Z,1.1,1.2,1.0,{close}"


def _good(rows: int = 30) -> list[str]:
    return [HEADER, *(_row(i) for i in range(rows))]


def _with(line: int, text: str) -> list[str]:
    """A good tape whose line, counted from 1 with the header, is another."""
    lines = _good()
    lines[line - 1] = text
    return lines


Lines = list[str]
FAULTS: list[tuple[str, Lines, str]] = [
    (
        "NaN",
        _with(7, _row(5, "NaN")),
        "line 7: prices (1.1, 1.2, 1.0, nan) are not all finite and positive; cut the row",
    ),
    ("infinity", _with(7, _row(5, "inf")), "line 7: prices (1.1, 1.2, 1.0, inf) are not all finite and positive"),
    (
        "beyond floats",
        _with(7, _row(5, "1e999")),
        "line 7: prices (1.1, 1.2, 1.0, inf) are not all finite and positive",
    ),
    (
        "a negative price",
        _with(7, _row(5, -1.1)),
        "line 7: prices (1.1, 1.2, 1.0, -1.1) are not all finite and positive",
    ),
    ("a zero price", _with(7, _row(5, 0)), "line 7: prices (1.1, 1.2, 1.0, 0.0) are not all finite and positive"),
    ("a close above the high", _with(7, _row(5, 1.3)), "line 7: low 1.0 and high 1.2 do not enclose 1.1 and 1.3"),
    ("a word for a price", _with(7, _row(5, "abc")), "line 7: close is 'abc', no number; cut the row"),
    ("an empty price", _with(7, _row(5, "")), "line 7: close is empty; cut the row"),
    ("a time that is none", _with(7, "yesterday,1.1,1.2,1.0,1.1"), "line 7: 'yesterday' is no time; cut the row"),
    ("a cut line", _with(7, "2014-05-06T10:05:00Z,1.1"), "line 7: 2 columns where 5 are needed: the line is cut off"),
    (
        "a bar twice",
        _with(7, _row(4)),
        "line 7: 2014-05-06 10:04:00 comes twice, also in line 6; cut one of the two rows",
    ),
    (
        "a bar out of order",
        _with(7, _row(2)),
        "line 7: 2014-05-06 10:02:00 is out of order: line 6 is 2014-05-06 10:04:00 already; sort the rows by time",
    ),
    (
        "another timeframe in the middle",
        [*_good(), *(_row(30 + 5 * i) for i in range(1, 12)), *(_row(86 + i) for i in range(20))],
        "line 32: 11 rows from here to line 42 are M5 bars in a tape of M1",
    ),
    (
        "days in the middle",
        [
            *_good(),
            *(f"2014-05-{7 + i:02}T00:00:00Z,1.1,1.2,1.0,1.1" for i in range(5)),
            "2014-05-12T00:01:00Z,1.1,1.2,1.0,1.1",
        ],
        "are D1 bars in a tape of M1",
    ),
    (
        "a shorter timeframe",
        [HEADER, *(_row(5 * i) for i in range(20)), _row(96), _row(97)],
        "line 22: 1 minutes after the row before, in a tape of M5; export the tape again as M5 only",
    ),
    (
        "seconds",
        [HEADER, *(row.replace(":00Z", ":30Z") for row in _good()[1:])],
        "line 2: 2014-05-06 10:00:30 UTC is no start of an M1 bar; name the right zone with --tape-tz",
    ),
    (
        "an unknown step",
        [HEADER, *(_row(2 * i) for i in range(20))],
        "its bars are mostly 2 minutes apart, which is none of M1, M5, M15, H1, H4, D1; export the tape as M1",
    ),
    ("one row", _good(1), "one row does not tell its timeframe; give a tape of at least two bars"),
    ("a header alone", [HEADER], "line 1: a header and no rows; export the tape again"),
    ("nothing", [], "the file is empty; export or download it again"),
    ("another table", ["name,age", "Ann,7"], "line 1: no known header: name, age; give bars with a header of time"),
    ("no time", ["open,high,low,close", "1,1,1,1"], "line 1: no time column among open, high, low, close"),
    (
        "offset here and there",
        _with(7, "2014-05-06T10:05:00,1.1,1.2,1.0,1.1"),
        "line 7: some rows name their offset from UTC",
    ),
    (
        "another symbol's prices",
        [HEADER, *(f"2014-05-06T10:{i:02}:00Z,1310,1311,1309,1310" for i in range(20))],
        "1310 is no price of EURUSD, which lies between 0.5 and 2.5; give the tape of this symbol",
    ),
]


@pytest.mark.parametrize(("lines", "sentence"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_fault_in_a_tape_is_one_sentence_with_file_line_reason_and_remedy(
    tmp_path: Path, lines: list[str], sentence: str
) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text("\n".join(lines))

    with pytest.raises(SettingsError) as refused:
        read_tape(path)

    assert str(refused.value).startswith(f"{path}")
    assert sentence in str(refused.value)
    assert "; " in str(refused.value)
    assert "\n" not in str(refused.value)


QUOTES = "timestamp,bid,ask"
QUOTE_FAULTS: list[tuple[str, Lines, str]] = [
    (
        "crossed",
        [QUOTES, "2014-05-06T10:00:00Z,1.1,1.2", "2014-05-06T10:00:01Z,1.2,1.1"],
        "line 3: crossed quotes: ask 1.1 is below bid 1.2; cut the row",
    ),
    (
        "NaN",
        [QUOTES, "2014-05-06T10:00:00Z,nan,1.2"],
        "line 2: bid nan, ask 1.2 are not finite, positive and bid <= ask",
    ),
    (
        "backwards",
        [QUOTES, *(f"2014-05-06T10:00:0{s}Z,1.1,1.2" for s in (1, 2, 0))],
        "line 4: 2014-05-06 10:00:00 is out of order",
    ),
    ("trades", ["timestamp,price,quantity", "2014-05-06T10:00:00Z,1,1"], "line 1: these are trades, with one price"),
]


@pytest.mark.parametrize(("lines", "sentence"), [f[1:] for f in QUOTE_FAULTS], ids=[f[0] for f in QUOTE_FAULTS])
def test_a_fault_in_a_tape_of_quotes_is_one_sentence(tmp_path: Path, lines: list[str], sentence: str) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text("\n".join(lines))

    with pytest.raises(SettingsError) as refused:
        read_tape(path)

    assert sentence in str(refused.value)


def test_crossed_sides_in_one_row_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    header = "date,ms_of_day,bid_open,bid_high,bid_low,bid_close,bid_size,ask_open,ask_high,ask_low,ask_close,ask_size"
    good = "1.1,1.2,1.0,1.1,0,1.2,1.3,1.1,1.2,0"
    bad = "1.1,1.2,1.0,1.1,0,1.05,1.3,1.0,1.2,0"
    path.write_text(f"{header}\n20140506,0,{good}\n20140506,60000,{bad}\n")

    with pytest.raises(
        SettingsError, match=r"line 3: crossed quotes at .*: open ask 1.05 is below bid 1.1; cut the row"
    ):
        read_tape(path)


@pytest.mark.parametrize("millis", ["86400000", "-1", "soon"])
def test_a_millisecond_outside_the_day_is_no_time(tmp_path: Path, millis: str) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text(f"date,ms_of_day,bid,ask\n20140506,0,1.1,1.2\n20140506,{millis},1.1,1.2\n")

    with pytest.raises(SettingsError, match=f"line 3: '20140506 {millis}' is no time; cut the row"):
        read_tape(path)


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("bid", ["1.1", "low"], "line 2: bid is 'low', no number; cut the row, or export the tape again"),
        ("timestamp", ["one", "two"], "line 1: 'one' is no time; write times as 2025-03-05 09:00:00"),
        ("ask", ["1.2", "dear"], "line 2: ask is 'dear', no number; cut the row"),
    ],
)
def test_a_fault_in_a_parquet_names_its_row(tmp_path: Path, column: str, values: list[object], sentence: str) -> None:
    path = tmp_path / "EURUSD.parquet"
    times = [datetime(2014, 5, 6, 10, 0, second, tzinfo=UTC) for second in (0, 1)]
    good: dict[str, list[object]] = {"timestamp": [*times], "bid": [1.1, 1.1], "ask": [1.2, 1.2]}
    pl.DataFrame({**good, column: values}).write_parquet(path)

    with pytest.raises(SettingsError) as refused:
        read_tape(path)

    assert sentence in str(refused.value)


def test_a_sibling_far_below_its_bid_names_the_siblings_line(tmp_path: Path) -> None:
    (tmp_path / "EURUSD_bid.csv").write_text("\n".join(_good()))
    asks = [line.replace(",1.1,1.2,1.0,", ",1.101,1.201,1.001,").replace("1.101\n", "1.102\n") for line in _good()]
    asks[6] = asks[6].replace(",1.101,1.201,1.001,", ",1.001,1.201,1.001,")
    (tmp_path / "EURUSD_ask.csv").write_text("\n".join(asks))

    with pytest.raises(SettingsError, match=r"EURUSD_ask.csv, line 7: crossed quotes.*cut the row in both files"):
        read_tape(tmp_path / "EURUSD_bid.csv")


def test_the_two_sides_given_the_wrong_way_round_are_not_one_market(tmp_path: Path) -> None:
    (tmp_path / "EURUSD_bid.csv").write_text("\n".join(_good()))
    asks = [line.replace(",1.1,1.2,1.0,", ",1.0999,1.1999,0.9999,") for line in _good()]
    (tmp_path / "EURUSD_ask.csv").write_text("\n".join(asks))

    with pytest.raises(
        SettingsError, match=r"30 of its bars lie below the bid file's and 0 fit: it is not the ask side"
    ):
        read_tape(tmp_path / "EURUSD_bid.csv")


def test_the_last_row_of_a_plain_gap_is_no_other_timeframe(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text("\n".join([*_good(), _row(95), _row(96), _row(101), _row(160)]))

    tape = read_tape(path)

    assert len(tape.bars) == 34


def _missing(path: Path) -> Path:
    return path / "EURUSD.csv"


def _folder(path: Path) -> Path:
    return path


def _broken_gzip(path: Path) -> Path:
    (path / "EURUSD.csv.gz").write_bytes(gzip.compress("\n".join(_good()).encode())[:-9])
    return path / "EURUSD.csv.gz"


def _picture(path: Path) -> Path:
    (path / "EURUSD.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    return path / "EURUSD.csv"


def _no_parquet(path: Path) -> Path:
    (path / "EURUSD.parquet").write_bytes(b"PAR1 but no more")
    return path / "EURUSD.parquet"


def _nameless(path: Path) -> Path:
    (path / "prices.csv").write_text("\n".join(_good()))
    return path / "prices.csv"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_missing, "no such file; check the path"),
        (_folder, "this is a folder; name one tape in it"),
        (_broken_gzip, "the gzip data is broken"),
        (_picture, "is no text (byte 0 is not utf-8-sig); give a CSV (plain, gzip or zip), Parquet or Feather file"),
        (_no_parquet, "is no Parquet"),
        (_nameless, "neither tape nor file name says a known symbol; name it with --symbol"),
    ],
)
def test_a_file_that_is_no_tape_is_one_sentence(tmp_path: Path, make: Callable[[Path], Path], sentence: str) -> None:
    path = make(tmp_path)

    with pytest.raises(SettingsError) as refused:
        read_tape(path)

    assert str(refused.value).startswith(f"{path}: {sentence}")


def test_an_unknown_time_zone_is_refused_with_the_names_that_are_known(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text("time,open,high,low,close\n2014-05-06 10:00,1.1,1.2,1.0,1.1\n2014-05-06 10:01,1.1,1.2,1.0,1.1\n")

    with pytest.raises(
        SettingsError, match=r"tape time zone 'Mars' is not known; say UTC, server, EST or an IANA name"
    ):
        read_tape(path, tz="Mars")


def test_a_time_that_the_zone_skips_says_that_the_zone_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSD.csv"
    rows = [f"2025-03-30 {2 + i // 60:02}:{i % 60:02},100,100,100,100" for i in range(100)]
    path.write_text("\n".join(["time,open,high,low,close", *rows]))

    with pytest.raises(
        SettingsError, match="line 62: 2025-03-30 03:00:00 does not exist in Europe/Athens: the clock is put"
    ):
        read_tape(path, tz="Europe/Athens")


def test_a_tape_that_fits_no_zone_asks_for_one(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    saturday = [f"2014-05-10 {i // 60:02}:{i % 60:02},1.1,1.2,1.0,1.1" for i in range(600)]
    path.write_text("\n".join(["time,open,high,low,close", *saturday]))

    with pytest.raises(SettingsError, match=r"name no time zone and no zone fits.*; name the zone with --tape-tz"):
        read_tape(path)
