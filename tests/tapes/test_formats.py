"""Files as public exporters write them: each is read as it is meant, or refused with a sentence that helps."""

from __future__ import annotations

import gzip
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.tapes.files import BARS, begins, codes, epochs, first_prices, lines, read_tape, write

from dtms.domain.units import MINUTE
from dtms.errors import SettingsError

OANDA = "time,volume,bid.o,bid.h,bid.l,bid.c,ask.o,ask.h,ask.l,ask.c"
OHLC = "time,open,high,low,close"
KLINES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)

FORMATS: list[tuple[str, str, list[str], str, str, list[str]]] = [
    # what it is, the file's name, its lines, the first bar's instant, the symbol, the doubts
    (
        "MetaTrader 5 copy_rates (pandas)",
        "EURUSD_rates.csv",
        epochs("{i},{t},{o},{h},{l},{c},35,8,0", header=",time,open,high,low,close,tick_volume,spread,real_volume"),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "MetaTrader 5 terminal, bars",
        "EURUSD_M1_202503050900.csv",
        lines(
            "2025.03.05\t{t}\t{o}\t{h}\t{l}\t{c}\t35\t0\t8",
            time="09:{:02}:00",
            header="<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "MetaTrader 4 history center, with seconds",
        "EURUSD1.csv",
        lines("2025.03.05,{t},{o},{h},{l},{c},140", time="09:{:02}:00"),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "Dukascopy candles",
        "EURUSD_Candlestick_1_M_BID_05.03.2025-05.03.2025.csv",
        lines(
            "{t},{o},{h},{l},{c},10.5", time="05.03.2025 09:{:02}:00.000", header="Gmt time,Open,High,Low,Close,Volume"
        ),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "Dukascopy candles in local time",
        "EURUSD_Candlestick_1_M_BID_05.03.2025.csv",
        lines(
            "{t},{o},{h},{l},{c},10.5",
            time="05.03.2025 09:{:02}:00.000 GMT+0100",
            header="Local time,Open,High,Low,Close,Volume",
        ),
        "2025-03-05T08:00",
        "EURUSD",
        [],
    ),
    (
        "Binance klines with a header, ms",
        "BTCUSDT-1m-2025-03.csv",
        epochs("{t},{o},{h},{l},{c},1.5,{t},94500.0,120,0.7,44100.0,0", unit=1_000, header=KLINES, scale=60_000),
        "2025-03-05T09:00",
        "BTCUSDT",
        [],
    ),
    (
        "Binance klines without a header, us since 2025",
        "BTCUSDT-1m-2025-03-05.csv",
        epochs("{t},{o},{h},{l},{c},1.5,{t},94500.0,120,0.7,44100.0,0", unit=1_000_000, scale=60_000),
        "2025-03-05T09:00",
        "BTCUSDT",
        [],
    ),
    (
        "Kraken OHLCVT",
        "XBTUSD_1.csv",
        epochs("{t},{o},{h},{l},{c},1.25,31", scale=60_000),
        "2025-03-05T09:00",
        "BTCUSD",
        [],
    ),
    (
        "Coinbase API rows: low, high, open, close",
        "BTC-USD.csv",
        epochs("{t},{l},{h},{o},{c},1.25", scale=60_000),
        "2025-03-05T09:00",
        "BTCUSD",
        [],
    ),
    (
        "KuCoin and Bitfinex API rows: open, close, high, low",
        "ETH-USDT.csv",
        epochs("{t},{o},{c},{h},{l},1.25", scale=3_000),
        "2025-03-05T09:00",
        "ETHUSDT",
        [],
    ),
    (
        "ccxt rows (pandas without names)",
        "BTC_USDT-1m.csv",
        epochs("{i},{t},{o},{h},{l},{c},1.25", unit=1_000, header=",0,1,2,3,4,5", scale=60_000),
        "2025-03-05T09:00",
        "BTCUSDT",
        [],
    ),
    (
        "CryptoDataDownload: an address above the header, newest first",
        "Bitstamp_BTCUSD_minute.csv",
        [
            "https://www.CryptoDataDownload.com",
            "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
            *reversed(epochs("{t},2025-03-05 09:0{i}:00,BTC/USD,{o},{h},{l},{c},1.25,90000", scale=60_000)),
        ],
        "2025-03-05T09:00",
        "BTCUSD",
        [],
    ),
    (
        "TradingView, ISO time",
        "FX_EURUSD, 1.csv",
        lines("{t},{o},{h},{l},{c},35", time="2025-03-05T09:{:02}:00-05:00", header="time,open,high,low,close,Volume"),
        "2025-03-05T14:00",
        "EURUSD",
        [],
    ),
    (
        "TradingView, UNIX time, with an indicator's columns",
        "OANDA_EURUSD, 1.csv",
        epochs("{t},{o},{h},{l},{c},1.08,NaN", header='time,open,high,low,close,"MA (20, close)",Signal'),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "FXCM by fxcmpy: sides in one row, close before high",
        "EURUSD_m1.csv",
        lines(
            "{t},{o},{c},{h},{l},{o},{c},{h},{l},35",
            header="date,bidopen,bidclose,bidhigh,bidlow,askopen,askclose,askhigh,asklow,tickqty",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "OANDA v20 candles",
        "EUR_USD_M1.csv",
        lines("{t},35,{o},{h},{l},{c},{o},{h},{l},{c}", time="2025-03-05T09:{:02}:00.000000000Z", header=OANDA),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "HistData M1",
        "DAT_ASCII_EURUSD_M1_202503.csv",
        lines("{t};{o};{h};{l};{c};0", time="20250305 09{:02}00"),
        "2025-03-05T14:00",
        "EURUSD",
        [],
    ),
    (
        "NinjaTrader export: UTC, the bar's end",
        "EURUSD.Last.txt",
        lines("{t};{o};{h};{l};{c};35", time="20250305 09{:02}00"),
        "2025-03-05T08:59",
        "EURUSD",
        [],
    ),
    (
        "FirstRate Data: New York time, no header",
        "EURUSD_1min_firstratedata.txt",
        lines("{t},{o},{h},{l},{c},35"),
        "2025-03-05T14:00",
        "EURUSD",
        [],
    ),
    (
        "yfinance, several header lines",
        "download.csv",
        [
            "Price,Close,High,Low,Open,Volume",
            "Ticker,EURUSD=X,EURUSD=X,EURUSD=X,EURUSD=X,EURUSD=X",
            "Datetime,,,,,",
            *lines("{t},{c},{h},{l},{o},0", time="2025-03-05 09:{:02}:00+00:00"),
        ],
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "yfinance history with an offset",
        "EURUSD_yf.csv",
        lines(
            "{t},{o},{h},{l},{c},0,0.0,0.0",
            time="2025-03-05 09:{:02}:00-05:00",
            header="Datetime,Open,High,Low,Close,Volume,Dividends,Stock Splits",
        ),
        "2025-03-05T14:00",
        "EURUSD",
        [],
    ),
    (
        "Alpha Vantage, newest first",
        "EURUSD_alphavantage.csv",
        ["timestamp,open,high,low,close", *reversed(lines("{t},{o},{h},{l},{c}"))],
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "Stooq bulk",
        "eurusd.txt",
        lines(
            "EURUSD,1,20250305,{t},{o},{h},{l},{c},0,0",
            time="09{:02}00",
            header="<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "Stooq in Polish, a clock without its leading zero",
        "eurusd_5_pl.csv",
        lines(
            "2025-03-05,{t},{o},{h},{l},{c},0",
            time="9{:02}00",
            header="Data,Czas,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "MetaStock text (Forexite)",
        "050325.txt",
        lines(
            "EURUSD,20250305,{t},{o},{h},{l},{c}",
            time="09{:02}00",
            header="<TICKER>,<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "Barchart: Last for close, a line below the rows",
        "eurusd_intraday-1min.csv",
        [
            "Time,Open,High,Low,Last,Change,%Chg,Volume",
            *lines('"{t}",{o},{h},{l},{c},0.0001,"+0.01%",35', time="2025-03-05 09:{:02}"),
            '"Downloaded from Barchart.com as of 03-05-2025 10:00am CST"',
        ],
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "Interactive Brokers: the zone behind the time",
        "EURUSD_ib.csv",
        lines(
            "{t},{o},{h},{l},{c},-1,-1.0,-1",
            time="20250305 09:{:02}:00 US/Eastern",
            header="date,open,high,low,close,volume,average,barCount",
        ),
        "2025-03-05T14:00",
        "EURUSD",
        [],
    ),
    (
        "Sierra Chart: blanks behind commas, Last for close",
        "EURUSD-sierra.txt",
        lines(
            "2025/3/5, {t}, {o}, {h}, {l}, {c}, 35, 12, 17, 18",
            time="09:{:02}:00.000000",
            header="Date, Time, Open, High, Low, Last, Volume, NumberOfTrades, BidVolume, AskVolume",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "TradeStation: the bar's end, month first",
        "EURUSD_tradestation.txt",
        lines(
            '"03/05/2025",{t},{o},{h},{l},{c},17,18',
            time="09:{:02}",
            header='"Date","Time","Open","High","Low","Close","Up","Down"',
        ),
        "2025-03-05T06:59",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "Polygon flat files: nanoseconds, close before high",
        "polygon_EURUSD.csv",
        epochs(
            "C:EUR-USD,35,{o},{c},{h},{l},{t},12",
            unit=1_000_000_000,
            header="ticker,volume,open,close,high,low,window_start,transactions",
        ),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "Excel in German: sep=, semicolons, decimal commas",
        "EURUSD_de.csv",
        [
            "sep=;",
            "Datum;Uhrzeit;Eröffnung;Hoch;Tief;Schluss;Volumen",
            *(row.replace("1.08", "1,08") for row in lines("15.03.2024;{t};{o};{h};{l};{c};35", time="09:{:02}")),
        ],
        "2024-03-15T06:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "an American clock of twelve hours",
        "EURUSD_us.csv",
        lines("{t},{o},{h},{l},{c}", time="3/19/2024 9:{:02} PM", header="Date Time,Open,High,Low,Close"),
        "2024-03-19T18:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "a spreadsheet's days",
        "EURUSD_sheet.csv",
        [OHLC, *(f"{45_721.375 + i / 1_440:.8f},{o},{h},{low},{c}" for i, (o, h, low, c) in enumerate(BARS))],
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "freqtrade's JSON",
        "ETH_USDT-1m.json",
        ["[" + ",".join(epochs("[{t},{o},{h},{l},{c},1.5]", unit=1_000, scale=3_000)) + "]"],
        "2025-03-05T09:00",
        "ETHUSDT",
        [],
    ),
    (
        "MetaTrader rates without spread",
        "XRPUSD_rates.csv",
        epochs("{t},{o},{h},{l},{c},35", header="time,open,high,low,close,tick_volume"),
        "2025-03-05T07:00",
        "XRPUSD",
        ["zone_assumed"],
    ),
    (
        "columns set apart by blanks",
        "EURUSD_blanks.txt",
        lines("2025.03.05  09:0{i}   {o} {h}  {l}  {c}  35"),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
]


@pytest.mark.parametrize(
    ("name", "text", "begin", "symbol", "doubts"), [f[1:] for f in FORMATS], ids=[f[0] for f in FORMATS]
)
def test_a_file_of_a_public_exporter_is_read_as_it_is_meant(
    tmp_path: Path, name: str, text: list[str], begin: str, symbol: str, doubts: list[str]
) -> None:
    tape = read_tape(write(tmp_path, name, text))

    assert (begins(tape), tape.symbol, codes(tape), len(tape.bars)) == (begin, symbol, doubts, len(BARS))
    scale = tape.bars[0].open / BARS[0][0]
    assert first_prices(tape) == pytest.approx(tuple(price * scale for price in BARS[0]))
    assert tape.bars[1].start - tape.bars[0].start == MINUTE


TICKS: list[tuple[str, str, list[str], str, str, tuple[float, float]]] = [
    (
        "Dukascopy ticks: the ask first",
        "EURUSD_Ticks_05.03.2025.csv",
        [
            "Gmt time,Ask,Bid,AskVolume,BidVolume",
            *(f"05.03.2025 09:00:0{i}.123,1.08508,1.085,1.2,0.9" for i in range(5)),
        ],
        "2025-03-05T09:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
    (
        "dukascopy-node ticks",
        "eurusd-tick.csv",
        [
            "timestamp,askPrice,bidPrice,askVolume,bidVolume",
            *(f"{1_741_165_200_000 + i},1.08508,1.085,1,1" for i in range(5)),
        ],
        "2025-03-05T09:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
    (
        "HistData ticks",
        "DAT_ASCII_EURUSD_T_202503.csv",
        [f"20250305 09000{i}123,1.085000,1.085080,0" for i in range(5)],
        "2025-03-05T14:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
    (
        "TrueFX",
        "EURUSD-2025-03.csv",
        [f"EUR/USD,20250305 09:00:0{i}.123,1.085,1.08508" for i in range(5)],
        "2025-03-05T09:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
    (
        "Gain Capital",
        "EUR_USD_Week1.csv",
        [
            "lTid,cDealable,CurrencyPair,RateDateTime,RateBid,RateAsk",
            *(f"60{i},D,EUR/USD,2025-03-05 09:00:0{i}.123000000,1.085,1.08508" for i in range(5)),
        ],
        "2025-03-05T07:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
    (
        "Tickstory: milliseconds behind a colon",
        "EURUSD_tickstory.csv",
        [
            "Timestamp,Bid price,Ask price,Bid volume,Ask volume",
            *(f"20250305 09:00:0{i}:123,1.085,1.08508,1.2,0.9" for i in range(5)),
        ],
        "2025-03-05T07:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
    (
        "MetaTrader 5 copy_ticks (pandas)",
        "EURUSD_ticks.csv",
        [
            ",time,bid,ask,last,volume,time_msc,flags,volume_real",
            *(f"{i},174116520{i},1.085,1.08508,0.0,0,174116520{i}123,6,0.0" for i in range(5)),
        ],
        "2025-03-05T07:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
    (
        "a recorder with several pairs side by side, one asked for",
        "two.csv",
        [
            "time,EURUSD_bid,EURUSD_ask",
            *(f"2025-03-05T09:00:0{i}Z,1.085,1.08508" for i in range(5)),
        ],
        "2025-03-05T09:00",
        "EURUSD",
        (1.085, 1.08508),
    ),
]


@pytest.mark.parametrize(
    ("name", "text", "begin", "symbol", "quote"), [t[1:] for t in TICKS], ids=[t[0] for t in TICKS]
)
def test_a_file_of_quotes_is_read_as_it_is_meant(
    tmp_path: Path, name: str, text: list[str], begin: str, symbol: str, quote: tuple[float, float]
) -> None:
    tape = read_tape(write(tmp_path, name, text))

    assert tape.quotes is not None
    assert (begins(tape), tape.symbol, len(tape.quotes)) == (begin, symbol, 5)
    assert (tape.quotes[0].bid, tape.quotes[0].ask) == quote


def test_a_zip_is_opened_and_the_report_in_it_is_left(tmp_path: Path) -> None:
    path = tmp_path / "HISTDATA_COM_ASCII.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(
            "DAT_ASCII_EURUSD_M1_202503.csv", "\n".join(lines("{t};{o};{h};{l};{c};0", time="20250305 09{:02}00"))
        )
        packed.writestr("DAT_ASCII_EURUSD_M1_202503.txt", "Gap of 61s found between ...")

    tape = read_tape(path)

    assert (tape.symbol, begins(tape), len(tape.bars)) == ("EURUSD", "2025-03-05T14:00", len(BARS))


def test_a_zip_of_several_tapes_and_a_workbook_are_refused_with_the_way_out(tmp_path: Path) -> None:
    for name, members in (("two.zip", ("a.csv", "b.csv")), ("book.xlsx", ("xl/workbook.xml",))):
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            for member in members:
                packed.writestr(member, "x")

    with pytest.raises(SettingsError, match=r"2 tapes in it \(a.csv, b.csv\); unpack it and name one"):
        read_tape(tmp_path / "two.zip")
    with pytest.raises(SettingsError, match="this is an Excel workbook; save it as CSV"):
        read_tape(tmp_path / "book.xlsx")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252", "utf-8-sig"])
def test_the_encodings_of_common_programs_are_read(tmp_path: Path, encoding: str) -> None:
    header = "Datum;Eröffnung;Hoch;Tief;Schluss"
    path = write(tmp_path, "EURUSD.csv", lines("{t};{o};{h};{l};{c}", header=header), encoding=encoding)

    assert first_prices(read_tape(path)) == BARS[0]


def test_a_feather_of_freqtrade_is_read(tmp_path: Path) -> None:
    start = datetime(2025, 3, 5, 9, tzinfo=UTC)
    columns = {name: [bar[i] * 60_000 for bar in BARS] for i, name in enumerate(("open", "high", "low", "close"))}
    frame = pl.DataFrame(
        {"date": [start + timedelta(minutes=i) for i in range(len(BARS))], **columns, "volume": [1.5] * 5}
    )
    frame.write_ipc(tmp_path / "BTC_USDT-1m.feather")

    tape = read_tape(tmp_path / "BTC_USDT-1m.feather")

    assert (tape.symbol, begins(tape), codes(tape)) == ("BTCUSDT", "2025-03-05T09:00", [])
    assert first_prices(tape) == pytest.approx(tuple(price * 60_000 for price in BARS[0]))


@pytest.mark.parametrize("places", [9, 16])
def test_fixed_point_quotes_of_nautilus_are_read(tmp_path: Path, places: int) -> None:
    folder = tmp_path / "quote_tick" / "EURUSD.SIM"
    folder.mkdir(parents=True)
    at = 1_741_165_200_000_000_000
    bids, asks = ([round(price * 10**places) for price in prices] for prices in ([1.085, 1.0851], [1.0852, 1.0853]))

    def fixed(values: list[int]) -> list[int] | list[bytes]:
        return values if places == 9 else [value.to_bytes(16, "little", signed=True) for value in values]

    frame = pl.DataFrame(
        {
            "bid_price": fixed(bids),
            "ask_price": fixed(asks),
            "ts_event": [at, at + 1_000_000],
            "ts_init": [at, at + 1_000_000],
        }
    )
    frame.write_parquet(folder / "part-0.parquet")

    tape = read_tape(folder / "part-0.parquet")

    assert tape.quotes is not None
    assert tape.symbol == "EURUSD"
    assert [(quote.bid, quote.ask, quote.at) for quote in tape.quotes] == [
        (1.085, 1.0852, 1_741_165_200_000),
        (1.0851, 1.0853, 1_741_165_200_001),
    ]


def test_bars_of_nautilus_bear_their_end_and_that_is_doubted(tmp_path: Path) -> None:
    ends = [1_741_165_260_000_000_000 + 60_000_000_000 * i for i in range(len(BARS))]
    prices = {name: [round(bar[i] * 10**9) for bar in BARS] for i, name in enumerate(("open", "high", "low", "close"))}
    frame = pl.DataFrame({**prices, "volume": [10**9] * len(BARS), "ts_event": ends, "ts_init": ends})
    frame.write_parquet(tmp_path / "EURUSD.SIM-1-MINUTE-BID-EXTERNAL.parquet")

    tape = read_tape(tmp_path / "EURUSD.SIM-1-MINUTE-BID-EXTERNAL.parquet")

    assert (begins(tape), codes(tape)) == ("2025-03-05T09:00", ["bar_stamp"])
    assert first_prices(tape) == BARS[0]


def test_takers_volumes_of_binance_become_buy_and_sell_volume(tmp_path: Path) -> None:
    text = epochs("{t},{o},{h},{l},{c},1.5,{t},94500.0,120,0.7,44100.0,0", unit=1_000, header=KLINES, scale=60_000)

    tape = read_tape(write(tmp_path, "BTCUSDT-1m.csv", text))

    assert tape.has_side
    assert (tape.bars[0].volume, tape.bars[0].buy_volume, tape.bars[0].sell_volume) == (1.5, 0.7, 0.8)


def test_flat_bars_that_fill_a_weekend_are_left_out(tmp_path: Path) -> None:
    friday = [f"07.03.2025 21:{i}:00.000,1.085,1.0851,1.0849,1.085,10" for i in range(50, 60)]
    saturday = [f"08.03.2025 09:0{i}:00.000,1.085,1.085,1.085,1.085,0" for i in range(10)]
    path = write(tmp_path, "EURUSD_BID.csv", ["Gmt time,Open,High,Low,Close,Volume", *friday, *saturday])

    tape = read_tape(path)

    assert len(tape.bars) == 10
    assert "10 bars of a closed market, without volume or movement, were left out" in tape.notes


def test_packed_files_are_read_whatever_their_name(tmp_path: Path) -> None:
    import bz2
    import lzma

    text = "\n".join(lines("{t},{o},{h},{l},{c}", header="time,open,high,low,close")).encode()
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        (tmp_path / "EURUSD.csv").write_bytes(pack(text))

        assert first_prices(read_tape(tmp_path / "EURUSD.csv")) == BARS[0]
