"""Crash points: named places at which a drill may kill the process. In service they do nothing.

`POINTS` is the registry of all names. A process that is drilled refuses a name that is not in it, so that no place can be
reached which nobody counts.
"""

from __future__ import annotations

from typing import Final, Protocol

PLACES: Final = (
    "gateway.starting",
    "gateway.recovering",
    "gateway.recovered",
    "gateway.before_claim",
    "gateway.claimed",
    "gateway.before_send",
    "gateway.sending",
    "gateway.delivered",
    "gateway.answered",
    "gateway.sent",
    "gateway.acked",
    "gateway.unknown",
    "gateway.before_conclude",
    "gateway.concluded",
    "server.starting",
    "server.recovering",
    "server.recovered",
    "server.before_decision",
    "server.decided",
    "api.starting",
    "api.started",
)
"""Places in the code, by the role whose process passes them.

At `gateway.sending` nothing of an order has left the process, so it is surely not applied; at `gateway.answered` the broker's
child has carried it out and nobody has read the answer. Between them, at `gateway.delivered`, the child has the order and dies
with its parent: whether it left is nobody's to say, and either must come out right.
"""

COMMITS: Final = {
    "gateway": ("claim", "ack", "unknown", "conclude"),
    "server": ("register", "plan", "trade", "market", "fact"),
    "api": ("plan", "exit_book", "reply"),
}
"""Kinds of ledger transactions, by what is written in them, in each role's process."""

RARE_COMMITS: Final = {
    "gateway": ("transition", "plan", "trade", "fact", "record"),
    "server": ("conclude", "transition", "exit_book", "outbox", "reply", "record"),
    "api": ("conclude", "register", "transition", "trade", "outbox", "fact", "record"),
}
"""Kinds that happen in some lives only: a law that is broken, a kill switch, a registration that had to wait."""

COMMITTING: Final = "committing"
"""All is written, nothing is durable yet."""

COMMITTED: Final = "committed"
"""It is durable, and nobody has heard of it."""


def _commit_points(kinds: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(
        f"{role}.{when}.{kind}" for role, names in kinds.items() for kind in names for when in (COMMITTING, COMMITTED)
    )


POINTS: Final = (*PLACES, *_commit_points(COMMITS), *_commit_points(RARE_COMMITS))
"""Every name that may be reached."""


class CrashPoints(Protocol):
    """Armed by `bootstrap` from the settings; a no-op otherwise."""

    def reach(self, name: str) -> None:
        """Pass a named place; an armed drill ends the process here."""
        ...


class NoCrash:
    """The points of a process in service."""

    def reach(self, name: str) -> None:
        """Do nothing."""
