"""The VIX, which one exit rule asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dtms.domain.units import Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class VixClose:
    """A day's close, in VIX points, > 0, and the instant from which it was known."""

    value: float
    known_at: Millis


class VixHistory(Protocol):
    """Closes of the VIX."""

    def last(self, at: Millis) -> VixClose | None:
        """Return the newest close that was known at an instant, None where none was."""
        ...


class NoVix:
    """The history of a system that has none: nothing is known, and nothing is widened."""

    def last(self, at: Millis) -> VixClose | None:  # noqa: ARG002 - the port gives it
        """Return None."""
        return None
