"""Rows without a header: what each column is, by what its cells look like and by what prices do.

Exporters differ in the order of a bar's prices; the right order is the one in which the high is the highest and the low the
lowest in every row. Of two prices near each other the lower one is the bid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._numbers import sample_numbers
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._table import Table

_ORDERS: Final = (
    ("open", "high", "low", "close"),
    ("open", "close", "high", "low"),
    ("low", "high", "open", "close"),
)
"""Everybody's; KuCoin's and Bitfinex's; Coinbase's."""

_KLINE: Final = 12
"""A Binance kline has so many columns."""

_QUOTED: Final = 0.05
"""Bid and ask are nearer to each other than this share of the price; a price and a volume hardly are."""

_LOOK: Final = 2_000
_DATE: Final = re.compile(r"(\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}|(19|20)\d{6})$")
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?$|\d{6}$")
_FULL: Final = re.compile(
    r"(\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}|\d{8})[T ]\d|\d{9,}(\.\d+)?$"
)
_SYMBOL: Final = re.compile(r"[A-Za-z#][A-Za-z0-9./_=-]*$")


def shape_of(path: Path, table: Table, remarks: Remarks) -> list[str] | None:
    """Return the kind of each column of a table without header; None where its shape is none that is known.

    Raises:
        SettingsError: The rows are trades.
    """
    rows = [row for row in table.rows[:_LOOK] if len(row) == len(table.rows[0])]
    kinds = [""] * len(table.rows[0])
    place = _lead(rows, kinds)
    if place is None:
        return None
    numbers = sample_numbers(rows, place)
    if len(numbers) >= 4:  # noqa: PLR2004 - a bar's prices
        order = next((order for order in _ORDERS if _holds(order, numbers)), None)
        if order is not None and _near(numbers[0], numbers[3], share=0.5):
            kinds[place : place + 4] = order
            if order is not _ORDERS[0]:
                remarks.note(f"no header: by their sizes the prices are {', '.join(order)}, in this order")
            _volumes(kinds, place + 4)
            return kinds
    if len(numbers) >= 2 and _near(numbers[0], numbers[1], share=_QUOTED):  # noqa: PLR2004 - a quote's prices
        pairs = list(zip(numbers[0], numbers[1], strict=True))
        asked_first = sum(a > b for a, b in pairs) > sum(a < b for a, b in pairs)
        kinds[place : place + 2] = ("ask", "bid") if asked_first else ("bid", "ask")
        if asked_first:
            remarks.note("no header: the first price is the higher one, so it is the ask")
        return kinds
    if len(numbers) in (1, 2):
        why = "these are trades, with one price and no bid and ask"
        raise defect(path, 1, why, "give the quotes of the same time, or bars")
    return None


def _lead(rows: Sequence[Sequence[str]], kinds: list[str]) -> int | None:
    """Name what stands before the prices: a row's number, a symbol, a period, date and time; return the first place behind it."""
    index = [row[0] for row in rows] == [str(i) for i in range(len(rows))]
    for place, cell in enumerate(rows[0]):
        if place == 0 and index and len(rows) > 1:
            continue
        if _FULL.match(cell) and "time" not in kinds:
            kinds[place] = "time"
            return place + 1
        if _DATE.match(cell) and "date" not in kinds:
            kinds[place] = "date"
        elif "date" in kinds and _CLOCK.match(cell):
            kinds[place] = "time"
            return place + 1
        elif "date" in kinds:
            return place
        elif _SYMBOL.match(cell) and "symbol" not in kinds:
            kinds[place] = "symbol"
        elif not (cell.isdigit() and "symbol" in kinds):
            return None
    return None


def _holds(order: tuple[str, ...], numbers: Sequence[Sequence[float]]) -> bool:
    column = {name: numbers[order.index(name)] for name in order}
    rows = zip(column["open"], column["high"], column["low"], column["close"], strict=True)
    return all(low <= min(opened, close) and high >= max(opened, close) for opened, high, low, close in rows)


def _near(left: Sequence[float], right: Sequence[float], *, share: float) -> bool:
    return all(a > 0 and abs(a - b) <= share * a for a, b in zip(left, right, strict=True))


def _volumes(kinds: list[str], place: int) -> None:
    if len(kinds) == _KLINE and place == 5:  # noqa: PLR2004 - time and four prices before it
        kinds[5], kinds[6], kinds[9] = "volume", "close_time", "buy_volume"
    elif place < len(kinds):
        kinds[place] = "volume"
