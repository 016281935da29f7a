"""Where alerts go."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class AlertKind(StrEnum):
    """What a trader is called for."""

    UNPROTECTED = "unprotected"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    PROCESS_DOWN = "process_down"
    DTMS_UNREACHABLE = "dtms_unreachable"
    PARKED = "parked"
    BREAKER = "breaker"
    HALT = "halt"
    MODE = "mode"
    ORPHAN = "orphan"
    BY_HAND = "by_hand"
    KILL_SWITCH = "kill_switch"


class Notifier(Protocol):
    """Delivers alerts without ever delaying a decision."""

    def alert(self, kind: AlertKind, subject: str, detail: str) -> None:
        """Queue one alert; the same kind and subject within its quiet time is sent once."""
        ...
