"""Where a drill takes hold of a process: the places between two things that it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Hooks(Protocol):
    """What may happen at a place: a crash, another process's turn, time that passes."""

    def between(self, who: str, place: str) -> None:
        """Pass a place at which the process holds no transaction.

        Raises:
            SimCrash: It ends here.
        """
        ...

    def inside(self, who: str, place: str) -> None:
        """Pass a place within a transaction: nobody else has a turn.

        Raises:
            SimCrash: It ends here.
        """
        ...


@dataclass(frozen=True, slots=True)
class Points:
    """The crash points of one process."""

    hooks: Hooks
    who: str

    def reach(self, name: str) -> None:
        """Pass a named place; fulfils `CrashPoints`."""
        self.hooks.between(self.who, name)
