"""Names for the numbers that must not be confused.

Market data and analysis are plain floats. A `Price` or `Lots` came out of `Instrument`'s quantiser: only those may
leave ``core``. Instants are integer milliseconds since the epoch, UTC (`Millis`); aware datetimes are made at the edges.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import NewType

from dtms.errors import InvalidDataError

Ticket = NewType("Ticket", int)
"""The broker's number of one open position."""

TradeId = NewType("TradeId", str)
"""Our key of a trade: the broker's stable position identifier, as text."""

Price = NewType("Price", float)
"""A price on the instrument's tick grid."""

Lots = NewType("Lots", float)
"""A volume on the instrument's volume grid."""

Millis = NewType("Millis", int)
"""An instant: milliseconds since 1970-01-01T00:00:00Z."""

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Side(IntEnum):
    """The direction of a trade; its value is the sign of `favourable`."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side(-self.value)


def to_utc(at: Millis) -> datetime:
    """Return the instant as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=at)


def to_iso(at: Millis) -> str:
    """Return the instant as ISO-8601 with offset, to the millisecond."""
    return to_utc(at).isoformat(timespec="milliseconds")


def from_utc(when: datetime) -> Millis:
    """Return the instant of an aware datetime.

    Raises:
        InvalidDataError: The datetime is naive; give it a time zone.
    """
    if when.tzinfo is None:
        msg = f"datetime {when.isoformat()} has no time zone; give it one"
        raise InvalidDataError(msg)
    return Millis((when - _EPOCH) // timedelta(milliseconds=1))
