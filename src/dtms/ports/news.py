"""The economic calendar."""

from __future__ import annotations

from typing import Protocol

from dtms.domain.units import Millis


class NewsCalendar(Protocol):
    """High-impact events."""

    def known(self, at: Millis) -> bool:
        """Say whether the calendar covers an instant."""
        ...

    def window(self, currencies: tuple[str, ...], at: Millis, before_ms: int, after_ms: int) -> str:
        """Return the event of one of the currencies whose window holds `at`, "" where there is none."""
        ...


class NoCalendar:
    """The calendar of a system that has none: nothing is known, the news rail allows and flags it."""

    def known(self, at: Millis) -> bool:  # noqa: ARG002 - the port gives it
        """Say no."""
        return False

    def window(self, currencies: tuple[str, ...], at: Millis, before_ms: int, after_ms: int) -> str:  # noqa: ARG002
        """Return "": `known` says what that is worth."""
        return ""
