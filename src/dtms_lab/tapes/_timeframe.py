"""A tape has one timeframe, its rows ascend, and gaps are normal: missing minutes are, other timeframes are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from dtms.domain.market import Timeframe
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._zones import wall_clock

_UNLIKELY = 100_000
"""Steps running that are all whole multiples of a coarser timeframe are no gaps once chance makes that rarer than 1 in this:
eight steps of five minutes in a tape of M1, two steps of a day."""

_NAMED = re.compile(rf"(?<![a-z0-9])(?:[A-Z]{{6}})?({'|'.join(t.name for t in Timeframe)})(?![A-Za-z0-9])")
"""A timeframe in a file name: XAUUSD_M15_2025, USDJPYH1."""

_COARSEST_FIRST = tuple(sorted(Timeframe, key=lambda timeframe: timeframe.value, reverse=True))


def check_order(path: Path, lines: list[int], times: Sequence[int], *, ticks: bool) -> None:
    """Refuse rows that go back or, in bars, come twice.

    Raises:
        SettingsError: It names the first such line.
    """
    for i in range(1, len(times)):
        if times[i] > times[i - 1] or (ticks and times[i] == times[i - 1]):
            continue
        at, before = wall_clock(times[i]), wall_clock(times[i - 1])
        if times[i] == times[i - 1]:
            raise defect(path, lines[i], f"{at} comes twice, also in line {lines[i - 1]}", "cut one of the two rows")
        why = f"{at} is out of order: line {lines[i - 1]} is {before} already"
        raise defect(path, lines[i], why, "sort the rows by time, oldest first")


def infer_timeframe(path: Path, times: Sequence[int]) -> Timeframe:
    """Return the timeframe that the file name says, where any step has it, else the one that most steps have.

    Raises:
        SettingsError: There is one row only, or the step is of no timeframe that we have.
    """
    steps = Counter(b - a for a, b in pairwise(times))
    if not steps:
        raise defect(path, None, "one row does not tell its timeframe", "give a tape of at least two bars")
    named = _NAMED.search(path.name)
    if named is not None and steps[Timeframe[named.group(1)].value]:
        return Timeframe[named.group(1)]
    usual = max(steps, key=lambda step: (steps[step], -step))
    for timeframe in Timeframe:
        if timeframe.value == usual:
            return timeframe
    if 0 < usual < MINUTE:
        why = f"its bars are mostly {usual / SECOND:g} s apart, finer than the M1 that a simulation is played by"
        raise defect(path, None, why, "export the tape as M1, or give the quotes themselves")
    why = (
        f"its bars are mostly {usual / MINUTE:g} minutes apart, which is none of {', '.join(t.name for t in Timeframe)}"
    )
    raise defect(path, None, why, "export the tape as M1")


def check_timeframe(path: Path, lines: list[int], times: Sequence[int], timeframe: Timeframe) -> None:
    """Refuse rows of another timeframe; `times` are on the tape's own clock, where days begin at midnight.

    Raises:
        SettingsError: It names the rows.
    """
    steps = [b - a for a, b in pairwise(times)]
    for i, step in enumerate(steps, 1):
        if step % timeframe.value:
            why = f"{step / MINUTE:g} minutes after the row before, in a tape of {timeframe.name}"
            raise defect(path, lines[i], why, f"export the tape again as {timeframe.name} only, or cut the other rows")
    foreign = _foreign_rows(steps, timeframe)
    if foreign is None:
        return
    first, last, names = foreign
    count = last - first + 1
    why = f"{count} rows from here to line {lines[last]} are {' and '.join(names)} bars in a tape of {timeframe.name}"
    remedy = f"cut the first {count} rows" if first == 0 else f"cut lines {lines[first]} to {lines[last]}"
    raise defect(path, lines[first], f"{why} (a terminal fills missing history so)", remedy)


def check_grid(path: Path, lines: list[int], starts: list[Millis], timeframe: Timeframe) -> None:
    """Refuse bars that do not start at a multiple of their timeframe in UTC; days and four hours follow the broker's clock.

    Raises:
        SettingsError: It names the first such line.
    """
    if timeframe.value > HOUR:
        return
    for line, start in zip(lines, starts, strict=True):
        if start % timeframe.value:
            why = f"{wall_clock(start)} UTC is no start of an {timeframe.name} bar"
            raise defect(path, line, why, "name the right zone with --tape-tz, or export the tape again")


def _too_many(ratio: int) -> int:
    steps = 1
    while ratio**steps < _UNLIKELY:
        steps += 1
    return steps


def _foreign_rows(steps: list[int], timeframe: Timeframe) -> tuple[int, int, list[str]] | None:
    """Return first and last row of the first stretch of coarser bars and their timeframes; None where there is none.

    A stretch of days may go over into one of hours; its last row is taken with it, for it covers rows that follow.
    """
    first, last = 0, -1
    names: list[str] = []
    for coarser in _COARSEST_FIRST:
        if coarser.value <= timeframe.value:
            break
        begin = max(last, 0)
        run = _long_run(
            [step % coarser.value == 0 for step in steps[begin:]], _too_many(coarser.value // timeframe.value)
        )
        if run is None or (names and run[0] > 0):
            continue
        if not names:
            first = run[0]
        last = begin + run[1]
        names.append(coarser.name)
    return (first, last, names) if names else None


def _long_run(flags: list[bool], limit: int) -> tuple[int, int] | None:
    """Return the first and last row of the first run of at least `limit` steps, None where there is none."""
    start = 0
    for i, flag in enumerate((*flags, False)):
        if flag:
            continue
        if i - start >= limit:
            return start, i
        start = i + 1
    return None
