"""Further public formats and odd files: each is read as it is meant, or refused with a sentence that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.tapes.files import BARS, begins, codes, epochs, first_prices, lines, read_tape, write

from dtms.domain.units import MINUTE
from dtms.errors import SettingsError

FORMATS: list[tuple[str, str, list[str], str, str, list[str]]] = [
    (
        "cTrader (Automate, MarketData.GetBars to CSV): UTC as the platform's API has it",
        "EURUSD_ctrader_m1.csv",
        lines(
            "{t},{o},{h},{l},{c},35",
            time="03/05/2025 09:{:02}:00 +00:00",
            header="OpenTime,Open,High,Low,Close,TickVolume",
        ),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "OKX candles: newest first, two more volumes and a confirm flag",
        "BTC-USDT.csv",
        [
            "ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm",
            *reversed(epochs("{t},{o},{h},{l},{c},1.5,1.5,9000,1", unit=1_000, scale=60_000)),
        ],
        "2025-03-05T09:00",
        "BTCUSDT",
        [],
    ),
    (
        "Bybit klines of the public archive",
        "BTCUSDT_1_2025-03-05.csv",
        epochs(
            "{t},{o},{h},{l},{c},1.5,90000",
            unit=1_000,
            scale=60_000,
            header="startTime,openPrice,highPrice,lowPrice,closePrice,volume,turnover",
        ),
        "2025-03-05T09:00",
        "BTCUSDT",
        [],
    ),
    (
        "Databento ohlcv-1m, pretty prices and times",
        "glbx-ohlcv-1m.EURUSD.csv",
        lines(
            "{t},33,1,4916,{o},{h},{l},{c},35,EURUSD",
            time="2025-03-05T09:{:02}:00.000000000Z",
            header="ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol",
        ),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "Databento ohlcv-1m, epochs in ns and prices in 1e-9",
        "xnas-ohlcv-1m.EURUSD.dbn.csv",
        [
            "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume",
            *(
                f"{(1_741_165_200 + 60 * i) * 10**9},33,1,4916,{','.join(str(round(p * 1e9)) for p in bar)},35"
                for i, bar in enumerate(BARS)
            ),
        ],
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "Twelve Data: semicolons, newest first",
        "twelvedata_EURUSD.csv",
        ["datetime;open;high;low;close", *reversed(lines("{t};{o};{h};{l};{c}"))],
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "EODHD intraday: an epoch, its offset, and a text of the same time",
        "EURUSD.FOREX.csv",
        epochs(
            "{t},0,2025-03-05 09:0{i}:00,{o},{h},{l},{c},35",
            header="Timestamp,Gmtoffset,Datetime,Open,High,Low,Close,Volume",
        ),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "CoinAPI: start and end of the period, then of its deals",
        "BITSTAMP_SPOT_BTC_USD.csv",
        lines(
            "{t};2025-03-05T09:59:00.0000000Z;{t};{t};{o};{h};{l};{c};1.5;31",
            time="2025-03-05T09:{:02}:00.0000000Z",
            header="time_period_start;time_period_end;time_open;time_close;price_open;price_high;price_low;price_close;volume_traded;trades_count",
            scale=60_000,
        ),
        "2025-03-05T09:00",
        "BTCUSD",
        [],
    ),
    (
        "Alpaca bars (CSV of the SDK)",
        "alpaca.csv",
        lines(
            "BTC/USD,{t},{o},{h},{l},{c},1.5,31,{c}",
            time="2025-03-05 09:{:02}:00+00:00",
            header="symbol,timestamp,open,high,low,close,volume,trade_count,vwap",
            scale=60_000,
        ),
        "2025-03-05T09:00",
        "BTCUSD",
        [],
    ),
    (
        "the Bitstamp data set of Kaggle: minutes without a deal are NaN",
        "btcusd_bitstamp_1min.csv",
        [
            *epochs(
                "{t},{o},{h},{l},{c},1.5,90000,{c}",
                scale=60_000,
                header="Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price",
            ),
            "1741165560,NaN,NaN,NaN,NaN,NaN,NaN,NaN",
        ],
        "2025-03-05T09:00",
        "BTCUSD",
        [],
    ),
    (
        "AmiBroker's ASCII export",
        "amibroker_EURUSD.txt",
        lines(
            "EURUSD,20250305,{t},{o},{h},{l},{c},35",
            time="09:{:02}:00",
            header="$FORMAT Ticker,Date_YMD,Time,Open,High,Low,Close,Volume",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
    (
        "Saxo chart data: both sides, bid first",
        "EURUSD_saxo.csv",
        lines(
            "{t},{o},{h},{l},{c},{o},{h},{l},{c}",
            time="2025-03-05T09:{:02}:00.000000Z",
            header="Time,OpenBid,HighBid,LowBid,CloseBid,OpenAsk,HighAsk,LowAsk,CloseAsk",
        ),
        "2025-03-05T09:00",
        "EURUSD",
        [],
    ),
    (
        "Finam: dates and clocks without signs, semicolons",
        "EURUSD_250305_250305.csv",
        lines(
            "EURUSD;1;20250305;{t};{o};{h};{l};{c};35",
            time="09{:02}00",
            header="<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>",
        ),
        "2025-03-05T07:00",
        "EURUSD",
        ["zone_assumed"],
    ),
]


@pytest.mark.parametrize(
    ("name", "text", "begin", "symbol", "doubts"), [f[1:] for f in FORMATS], ids=[f[0] for f in FORMATS]
)
def test_a_further_exporters_file_is_read_as_it_is_meant(
    tmp_path: Path, name: str, text: list[str], begin: str, symbol: str, doubts: list[str]
) -> None:
    tape = read_tape(write(tmp_path, name, text))

    assert (begins(tape), tape.symbol, codes(tape), len(tape.bars)) == (begin, symbol, doubts, len(BARS))
    scale = round(tape.bars[0].open / BARS[0][0])
    assert first_prices(tape) == pytest.approx(tuple(price * scale for price in BARS[0]))
    assert tape.bars[1].start - tape.bars[0].start == MINUTE


TICKS: list[tuple[str, str, list[str], str, tuple[float, float]]] = [
    (
        "Tardis quotes: microseconds, the ask first",
        "binance_quotes_BTCUSDT.csv",
        [
            "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
            *(f"binance,BTCUSDT,174116520{i}123456,174116520{i}223456,1.5,60001.5,60000.5,2" for i in range(5)),
        ],
        "2025-03-05T09:00",
        (60_000.5, 60_001.5),
    ),
    (
        "BitMEX quotes: a D between day and clock",
        "20250305_XBTUSD.csv",
        [
            "timestamp,symbol,bidSize,bidPrice,askPrice,askSize",
            *(f"2025-03-05D09:00:0{i}.123456000,XBTUSD,100,60000.5,60001.5,200" for i in range(5)),
        ],
        "2025-03-05T09:00",
        (60_000.5, 60_001.5),
    ),
    (
        "Binance bookTicker",
        "BTCUSDT-bookTicker-2025-03-05.csv",
        [
            "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
            *(f"60{i},60000.5,1.5,60001.5,2.5,174116520{i}123,174116520{i}125" for i in range(5)),
        ],
        "2025-03-05T09:00",
        (60_000.5, 60_001.5),
    ),
    (
        "Darwinex's tick recorder: epochs in ms on the server's clock, a spread beside the quote",
        "EURUSD_TickData.csv",
        ["time_milliseconds,bid,ask,spread", *(f"174116520{i}123,1.085,1.08508,0.00008" for i in range(5))],
        "2025-03-05T07:00",
        (1.085, 1.08508),
    ),
    (
        "cTrader's ticks",
        "EURUSD_ctrader_ticks.csv",
        ["Time,Bid,Ask", *(f"05/03/2025 09:00:0{i}.123 +00:00,1.085,1.08508" for i in range(5))],
        "2025-03-05T09:00",
        (1.085, 1.08508),
    ),
    (
        "Databento bbo",
        "EURUSD-bbo.csv",
        [
            "ts_recv,ts_event,rtype,bid_px_00,ask_px_00,bid_sz_00,ask_sz_00,symbol",
            *(
                f"2025-03-05T09:00:0{i}.123456789Z,2025-03-05T09:00:0{i}.123456000Z,195,1.085,1.08508,5,7,EURUSD"
                for i in range(5)
            ),
        ],
        "2025-03-05T09:00",
        (1.085, 1.08508),
    ),
]


@pytest.mark.parametrize(("name", "text", "begin", "quote"), [t[1:] for t in TICKS], ids=[t[0] for t in TICKS])
def test_a_further_file_of_quotes_is_read_as_it_is_meant(
    tmp_path: Path, name: str, text: list[str], begin: str, quote: tuple[float, float]
) -> None:
    tape = read_tape(write(tmp_path, name, text))

    assert tape.quotes is not None
    assert (begins(tape), len(tape.quotes)) == (begin, 5)
    assert (tape.quotes[0].bid, tape.quotes[0].ask) == quote


def _nested() -> str:
    return json.dumps(
        {
            "instrument": "EUR_USD",
            "granularity": "M1",
            "candles": [
                {"time": f"2025-03-05T09:0{i}:00.000000000Z", "volume": 3, "mid": {"o": "1.1"}} for i in range(5)
            ],
        }
    )


SECONDS = ["time,open,high,low,close", *(f"2025-03-05T09:00:{i:02}Z,1.085,1.086,1.084,1.0855" for i in range(50))]

REFUSED: list[tuple[str, str, list[str] | str, tuple[str, ...]]] = [
    ("one-second bars (TradingView's 1S)", "EURUSD_1S.csv", SECONDS, ("1 s apart", "export the tape as M1")),
    ("OANDA's answer as JSON, candles inside an object", "EUR_USD.json", _nested(), ("JSON object", "[time, open")),
    (
        "Finnhub's answer as JSON, a list a column",
        "EURUSD.json",
        json.dumps({"c": [1.1], "h": [1.2], "l": [1.0], "o": [1.1], "s": "ok", "t": [1_741_165_200]}),
        ("JSON object", "[time, open"),
    ),
    (
        "an error page that was saved as CSV",
        "EURUSD_M1.csv",
        ["<!DOCTYPE html>", "<html><head><title>429 Too Many Requests</title></head>", "<body>slow down</body></html>"],
        ("web page", "download"),
    ),
    (
        "an exchange's error answer that was saved as CSV",
        "BTCUSDT.csv",
        ['{"code":-1003,"msg":"Too many requests"}'],
        ("Too many requests", "JSON object"),
    ),
    (
        "a pointer of Git LFS in place of the data",
        "EURUSD_M1.csv",
        ["version https://git-lfs.github.com/spec/v1", "oid sha256:4d7a", "size 12345"],
        ("Git LFS",),
    ),
    (
        "Renko bars, whose steps are no time",
        "EURUSD_renko.csv",
        ["time,open,high,low,close", *(f"2025-03-05 09:0{i}:{13 * i % 60:02},1.08,1.09,1.07,1.08" for i in range(9))],
        ("minutes",),
    ),
    (
        "three rows of daylight saving's missing hour on a named clock",
        "EURUSD.csv",
        ["time,open,high,low,close", *(f"2025-03-30 02:{i:02}:00 Europe/Berlin,1.08,1.09,1.07,1.08" for i in range(5))],
        ("does not exist",),
    ),
    (
        "a tape of trades alone (Binance aggTrades)",
        "BTCUSDT-aggTrades-2025-03-05.csv",
        [
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
            *(f"60{i},60000.5,1.5,1,1,174116520{i}123,true" for i in range(5)),
        ],
        ("trades",),
    ),
    (
        "a price of zero inside (a feed's gap)",
        "EURUSD_M1.csv",
        [
            "time,open,high,low,close",
            *lines("{t},{o},{h},{l},{c}", time="2025-03-05T09:{:02}:00Z"),
            "2025-03-05T09:05:00Z,0,0,0,0",
        ],
        ("line 7",),
    ),
]


@pytest.mark.parametrize(("name", "text", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_an_odd_file_is_refused_with_what_it_is_and_what_to_do(
    tmp_path: Path, name: str, text: list[str] | str, words: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_tape(write(tmp_path, name, text))

    assert [word for word in words if word not in str(refused.value)] == []
