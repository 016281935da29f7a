"""Small tapes written the way public exporters write them; the numbers are our own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dtms.domain.units import to_iso
from dtms_lab.tapes.tape import Tape, read_tape

OPENS = (1.08500, 1.08513, 1.08521, 1.08517, 1.08505)
BARS = tuple(
    (opened, round(max(opened, close) + 0.00002, 5), round(min(opened, close) - 0.00003, 5), close)
    for opened, close in zip(OPENS, (*OPENS[1:], 1.08494), strict=True)
)
"""Five minutes of EURUSD: open, high, low, close."""


def minute(i: int, pattern: str = "2025-03-05 09:{:02}:00") -> str:
    """Return the time of a bar, on 5 March 2025 from 09:00 on."""
    return pattern.format(i)


def lines(
    pattern: str, *, header: str | None = None, time: str = "2025-03-05 09:{:02}:00", scale: float = 1.0
) -> list[str]:
    """Return the five bars as lines of `pattern`, whose fields are t, o, h, l, c; `scale` multiplies the prices."""
    rows = []
    for i, bar in enumerate(BARS):
        opened, high, low, close = (f"{round(price * scale, 5):.5f}" for price in bar)
        rows.append(pattern.format(t=minute(i, time), o=opened, h=high, l=low, c=close, i=i))
    return rows if header is None else [header, *rows]


def epochs(pattern: str, *, unit: int = 1, header: str | None = None, scale: float = 1.0) -> list[str]:
    """Return the five bars with epochs of the unit (1: seconds, 1000: milliseconds ...) in place of times."""
    made = lines(pattern, time="@{:02}@", header=header, scale=scale)
    for i in range(len(BARS)):
        made = [line.replace(f"@{i:02}@", str((1_741_165_200 + 60 * i) * unit)) for line in made]
    return made


def write(folder: Path, name: str, text: Sequence[str] | str, *, encoding: str = "utf-8") -> Path:
    """Write a tape's text and return its path."""
    path = folder / name
    path.write_text(text if isinstance(text, str) else "\n".join([*text, ""]), encoding=encoding)
    return path


def codes(tape: Tape) -> list[str]:
    """Return the codes of a tape's doubts."""
    return [doubt.code for doubt in tape.doubts]


def first_prices(tape: Tape) -> tuple[float, float, float, float]:
    """Return the first bid bar's prices."""
    bar = tape.bars[0]
    return bar.open, bar.high, bar.low, bar.close


def begins(tape: Tape) -> str:
    """Return the tape's first instant, to the minute."""
    return to_iso(tape.first)[:16]


__all__ = ["BARS", "begins", "codes", "epochs", "first_prices", "lines", "minute", "read_tape", "write"]
