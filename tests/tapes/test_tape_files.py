"""What is written is read back identically, whatever the line ends; clocks that are turned back stay in order."""

from __future__ import annotations

import codecs
import gzip
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import DAY, MINUTE, Millis, to_iso
from dtms.errors import InvalidDataError, SettingsError
from dtms_lab.tapes.tape import Doubt, Tape, bars_from_quotes, read_tape, write_tape

prices = st.floats(min_value=1e-3, max_value=1e6, allow_nan=False)
volumes = st.none() | st.floats(min_value=0, max_value=1e9, allow_nan=False)
notes = st.lists(st.sampled_from(("times are UTC", "symbol=GOLD, it is said", "# 3 rows; cut")), max_size=3).map(tuple)
doubts = st.lists(st.builds(Doubt, st.just("zone"), st.sampled_from(("is it UTC?", "a # b"))), max_size=2).map(tuple)
starts = st.integers(min_value=0, max_value=20_000).map(lambda day: day * DAY)


@st.composite
def tapes_of_bars(draw: st.DrawFn) -> Tape:
    timeframe = draw(st.sampled_from(Timeframe))
    steps = draw(st.lists(st.sampled_from((1, 1, 1, 2, 3, 7, 11)), min_size=1, max_size=20))
    first = draw(starts)
    times = [first + step * timeframe.value for step in accumulate(steps)]
    volume, side, ask = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    bars, asks = [], []
    for at in times:
        low, near, far, high = sorted(draw(st.tuples(prices, prices, prices, prices)))
        opened, close = draw(st.sampled_from(((near, far), (far, near))))
        bar = Bar(
            start=Millis(at),
            open=opened,
            high=high,
            low=low,
            close=close,
            volume=draw(volumes) if volume else None,
            buy_volume=draw(volumes) if side else None,
            sell_volume=draw(volumes) if side else None,
        )
        spread = draw(st.floats(min_value=0, max_value=100))
        bars.append(bar)
        asks.append(
            Bar(start=bar.start, open=opened + spread, high=high + spread, low=low + spread, close=close + spread)
        )
    return Tape(
        symbol=draw(st.sampled_from(("XAUUSD", "EURUSD", "JPXJPY"))),
        timeframe=timeframe,
        bars=tuple(bars),
        asks=tuple(asks) if ask else None,
        quotes=None,
        has_volume=volume,
        has_side=side,
        notes=draw(notes),
        doubts=draw(doubts),
    )


@st.composite
def tapes_of_quotes(draw: st.DrawFn) -> Tape:
    steps = draw(st.lists(st.integers(min_value=0, max_value=100_000), min_size=1, max_size=20))
    side = draw(st.booleans())
    start = draw(starts)
    quotes = []
    for step in accumulate(steps):
        bid = draw(prices)
        ask = bid + draw(st.floats(min_value=0, max_value=100))
        buys, sells = (draw(volumes), draw(volumes)) if side else (None, None)
        quotes.append(
            Quote(
                symbol="EURUSD",
                at=Millis(start + step),
                bid=bid,
                ask=ask,
                volume=draw(volumes),
                buy_volume=buys,
                sell_volume=sells,
            )
        )
    return Tape(
        symbol="EURUSD",
        timeframe=Timeframe.M1,
        bars=(),
        asks=None,
        quotes=tuple(quotes),
        has_volume=True,
        has_side=side,
        notes=draw(notes),
    )


@settings(max_examples=60)
@given(tape=tapes_of_bars() | tapes_of_quotes(), name=st.sampled_from(("tape.csv", "tape.csv.gz")))
def test_a_written_tape_is_read_back_identically(tmp_path: Path, tape: Tape, name: str) -> None:
    write_tape(tape, tmp_path / name)

    assert read_tape(tmp_path / name) == tape


@settings(max_examples=60)
@given(tape=tapes_of_quotes())
def test_the_minutes_of_quotes_enclose_them_and_keep_their_number(tape: Tape) -> None:
    assert tape.quotes is not None
    bids, asks = bars_from_quotes(tape.quotes)

    assert [bar.start for bar in bids] == sorted({quote.at - quote.at % MINUTE for quote in tape.quotes})
    assert [bar.start for bar in asks] == [bar.start for bar in bids]
    assert (bids[0].open, asks[0].open) == (tape.quotes[0].bid, tape.quotes[0].ask)
    assert (bids[-1].close, asks[-1].close) == (tape.quotes[-1].bid, tape.quotes[-1].ask)
    assert max(bar.high for bar in bids) == max(quote.bid for quote in tape.quotes)
    assert min(bar.low for bar in asks) == min(quote.ask for quote in tape.quotes)


def _tape(bars: int = 12, step: int = MINUTE) -> Tape:
    return Tape(
        symbol="XAUUSD",
        timeframe=Timeframe.M1,
        bars=tuple(Bar(start=Millis(i * step), open=10.0, high=12.0, low=9.0, close=11.0) for i in range(bars)),
        asks=None,
        quotes=None,
        has_volume=False,
        has_side=False,
    )


def test_the_same_tape_gives_the_same_compressed_bytes(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_tape(_tape(), tmp_path / name)

    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_a_tape_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="12 rows from here to line 12 are M5 bars in a tape of M1"):
        write_tape(_tape(step=5 * MINUTE), tmp_path / "tape.csv")

    assert not (tmp_path / "tape.csv").exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "#dtms-tape version=2 symbol=XAUUSD timeframe=M1",
            "line 1: tape version '2' is not 1, the one that is read here",
        ),
        ("#dtms-tape version=1 symbol=XAUUSD timeframe=M2", "line 1: symbol or timeframe is missing or unknown"),
        ("#dtms-tape version=1 timeframe=M1", "line 1: symbol or timeframe is missing or unknown"),
    ],
)
def test_a_preamble_that_is_not_ours_is_refused(tmp_path: Path, line: str, sentence: str) -> None:
    path = tmp_path / "tape.csv"
    write_tape(_tape(), path)
    path.write_text("\n".join([line, *path.read_text().split("\n")[1:]]))

    with pytest.raises(SettingsError) as refused:
        read_tape(path)

    assert sentence in str(refused.value)


def test_our_own_tape_says_its_symbol_and_another_one_is_refused(tmp_path: Path) -> None:
    write_tape(_tape(), tmp_path / "EURUSD.csv")

    assert read_tape(tmp_path / "EURUSD.csv").symbol == "XAUUSD"
    with pytest.raises(
        SettingsError, match="the tape says XAUUSD, not EURUSD; give the tape of EURUSD, or --symbol XAUUSD"
    ):
        read_tape(tmp_path / "EURUSD.csv", symbol="EURUSD")


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_line_ends_byte_order_marks_and_gzip_change_nothing(
    tmp_path: Path, mark: bytes, end: str, packed: bool
) -> None:
    rows = [f"2025.05.20\t10:{i:02}:00\t10.5\t12.0\t9.0\t11.0\t{i}\t0\t20" for i in range(9)]
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
    text = mark + end.join([header, *rows, ""]).encode()
    path = tmp_path / "XAGUSD_M1.csv"
    path.write_bytes(gzip.compress(text) if packed else text)

    tape = read_tape(path)

    assert tape.asks is not None
    assert (len(tape.bars), tape.bars[8].volume, tape.asks[0].open) == (9, 8.0, 10.52)
    assert to_iso(tape.first)[:16] == "2025-05-20T07:00"


def test_a_terminals_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    lines = ["timestamp,bid,ask", "2014-05-06T10:00:00+02:00,1.1,1.2"]
    path.write_text("\r\n".join(lines), encoding="utf-16")

    assert read_tape(path).first == 1_399_363_200_000


def test_rows_in_an_hour_that_the_server_skips_are_taken_for_utc_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mt5_BTCUSD.csv"
    # New York goes from 02:00 to 03:00 on this day, so a server's clock has no 09:00.
    rows = [f"2025-03-09 {8 + i // 60:02}:{i % 60:02},100,100,100,100" for i in range(120)]
    path.write_text("\n".join(["time,open,high,low,close", *rows]))

    tape = read_tape(path)

    assert to_iso(tape.first)[:16] == "2025-03-09T08:00"
    assert [doubt.code for doubt in tape.doubts] == ["zone_assumed"]
    assert "server skips: UTC is assumed" in tape.doubts[0].text


def test_the_hour_that_comes_twice_stays_in_order(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSD.csv"
    # Athens turns 04:00 back to 03:00: the minutes from 03:00 to 03:59 are there twice.
    minutes = [*range(170, 240), *range(180, 250)]
    rows = [f"2025-10-26 {i // 60:02}:{i % 60:02},100,100,100,100" for i in minutes]
    path.write_text("\n".join(["time,open,high,low,close", *rows]))

    tape = read_tape(path, tz="Europe/Athens")

    assert to_iso(tape.first)[:16] == "2025-10-25T23:50"
    assert tape.last - tape.first == 139 * MINUTE
    assert len(tape.bars) == 140


def test_missing_ask_minutes_take_the_median_difference_and_are_counted(tmp_path: Path) -> None:
    rows = [f"2014-05-06T10:{i:02}:00Z" for i in range(10)]
    (tmp_path / "EURUSD-bid.csv").write_text(
        "\n".join(["timestamp,open,high,low,close", *(f"{r},1.1,1.2,1.0,1.1" for r in rows)])
    )
    asks = [f"{r},1.102,1.202,1.002,1.102" for r in rows if not r.endswith("10:03:00Z")]
    (tmp_path / "EURUSD-ask.csv").write_text("\n".join(["timestamp,open,high,low,close", *asks]))

    tape = read_tape(tmp_path / "EURUSD-bid.csv")

    assert tape.asks is not None
    assert (tape.asks[3].open, tape.asks[3].high, tape.asks[3].start) == (1.102, 1.202, tape.bars[3].start)
    assert (
        "1 minutes without ask bar and 0 with an ask below the bid have the bid plus the median difference 0.002 instead"
        in tape.notes
    )


def test_a_tape_cannot_hold_asks_of_other_minutes_or_deny_its_volumes() -> None:
    bars = _tape().bars
    late = tuple(Bar(start=Millis(bar.start + MINUTE), open=11.0, high=13.0, low=10.0, close=12.0) for bar in bars)
    loud = (Bar(start=Millis(0), open=10.0, high=12.0, low=9.0, close=11.0, volume=1.0),)

    def make(bars: tuple[Bar, ...], asks: tuple[Bar, ...] | None) -> Tape:
        return Tape(
            symbol="XAUUSD", timeframe=Timeframe.M1, bars=bars, asks=asks, quotes=None, has_volume=False, has_side=False
        )

    with pytest.raises(InvalidDataError, match="is not of bid bar 0"):
        make(bars, late)
    with pytest.raises(InvalidDataError, match="12 bid bars and 3 ask bars"):
        make(bars, bars[:3])
    with pytest.raises(InvalidDataError, match="denies volumes that it has"):
        make(loud, None)
    with pytest.raises(InvalidDataError, match="0 bars and 0 quotes; it needs one of both"):
        make((), None)
