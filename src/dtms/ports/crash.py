"""Crash points: named places at which a drill may kill the process. In service they do nothing."""

from __future__ import annotations

from typing import Protocol


class CrashPoints(Protocol):
    """Armed by `bootstrap` from the settings; a no-op otherwise."""

    def reach(self, name: str) -> None:
        """Pass a named place; an armed drill ends the process here."""
        ...


class NoCrash:
    """The points of a process in service."""

    def reach(self, name: str) -> None:
        """Do nothing."""
