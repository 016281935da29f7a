"""Where a process tells what takes some of the system's freedom away; what follows from it is decided elsewhere."""

from __future__ import annotations

from typing import Protocol

from dtms.domain.modes import Cause


class Causes(Protocol):
    """The causes of one process; telling the same thing again changes nothing."""

    def set(self, cause: Cause, detail: str) -> None:
        """Say that a cause holds, with what was seen."""
        ...

    def clear(self, cause: Cause) -> None:
        """Say that it has ended."""
        ...


class NoCauses:
    """For where nobody asks for the mode."""

    def set(self, cause: Cause, detail: str) -> None:
        """Do nothing."""

    def clear(self, cause: Cause) -> None:
        """Do nothing."""
