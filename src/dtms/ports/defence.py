"""What the exit manager asks the defence, before it touches a trade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol


class DefenceAnswer(Protocol):
    """The state of one trade as far as it is known."""

    @property
    def defensive(self) -> bool:
        """Say whether DTMS alone may touch the trade."""
        ...

    @property
    def is_default(self) -> bool:
        """Say whether this is the mandated default because nothing is known."""
        ...


class DefenceState(Protocol):
    """Answers without ever raising; one question at most fails a cycle."""

    def begin_cycle(self) -> None:
        """Allow one failed question again."""
        ...

    def is_defensive(self, ticket: int) -> bool:
        """Say whether DTMS alone may touch the trade."""
        ...

    def states(self, tickets: Iterable[int]) -> Mapping[int, DefenceAnswer]:
        """Return the state of each trade, asked in one request."""
        ...
