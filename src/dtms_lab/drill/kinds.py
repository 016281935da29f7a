"""What a drill does to the system, beside what the terminal does: the words under which faults are switched and counted.

The terminal's own faults stand in `dtms_lab/terminal/fault_kinds.py`.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """One kind of trouble."""

    WALL_JUMP = "clock: wall jump"
    """The wall clock steps by hours or years; the boot-time clock does not."""
    SUSPEND = "clock: suspend"
    """The machine sleeps for minutes or hours."""
    REBOOT = "clock: reboot"
    """Every process ends, and the boot-time clock begins anew."""

    READS_LOST = "network: reads lost"
    """Server or API get no answer from the gateway."""
    READS_CUT = "network: reads cut"
    """For a while the gateway is out of reach for one of them."""
    DTMS_LOST = "network: request lost"
    """A request of the API never reaches the server."""
    DTMS_REPLY_LOST = "network: reply lost"
    """It does, and its answer never comes back."""
    DTMS_SLOW = "network: slow"
    """The answer comes after the time-out."""
    DTMS_GARBLED = "network: garbled"
    """The answer is cut, of another trade, of an older version, or another server's."""
    DTMS_CUT = "network: server cut"
    """For a while the server is out of reach for the API."""
    FEED_GAP = "network: feed gap"
    """The pushed state feed breaks off."""

    LEDGER_BUSY = "ledger: busy"
    """A write transaction cannot begin."""
    LEDGER_FULL = "ledger: full"
    """A commit fails; nothing was written."""
    LEDGER_TORN = "ledger: torn commit"
    """A commit is reported as failed although it was written."""
    POWER_LOSS = "ledger: power loss"
    """Every process ends at once, and what was not on the disk is gone."""

    CRASH_GATEWAY = "process: crash gateway"
    CRASH_SERVER = "process: crash server"
    CRASH_API = "process: crash api"
    CRASH_LOOP = "process: crash loop"
    """A process that has just been started dies again."""
    PAUSE = "process: pause"
    """A process stands still for a while (SIGSTOP)."""
    RACE = "process: race"
    """Another process has its turn in the middle of one's work."""
    ZOMBIE = "process: zombie"
    """A stopped gateway comes back after another one has taken its place."""

    HAND_STOP = "operator: stop by hand"
    HAND_TARGET = "operator: target by hand"
    HAND_PARTIAL = "operator: partial by hand"
    HAND_CLOSE = "operator: close by hand"
    HAND_HEDGE_CLOSED = "operator: hedge closed by hand"
    HAND_TRAILING = "operator: trailing stop"
    """The terminal moves a stop after the price by itself, as a hand does, until all trouble ends."""
    HAND_CLOSE_BY = "operator: close by"
    """A position is closed against an opposite one by hand."""
    FOREIGN = "operator: foreign position"
    OUR_MAGIC = "operator: our magic"
    """Another program opens a position under our magic number."""
    MONEY = "operator: money"
    """Money is paid in or out."""
    KILL_SWITCH = "operator: kill switch"
    RELEASE = "operator: release"
    REPEATED = "operator: repeated request"
    """A registration or an opening is sent twice."""
    EXITS = "operator: exit rules"

    MARGIN = "broker: margin raised"
    """Before a weekend or an event the broker asks for several times the margin."""
    SLOW_CALL = "broker: slow call"
    """A call of the terminal takes a second or more."""

    CONTRACT = "broker: contract"
    """A lot becomes another size, and a tick is worth another sum."""
    CORRECTED = "broker: deal corrected"
    """A deal is booked anew at another price."""
    RENAMED = "broker: symbol renamed"
    """A position is shown under another symbol."""
    RENUMBERED = "broker: renumbered"
    """A position is shown under another identifier, and no deal tells why."""

    BAD_TICK = "market: bad tick"
    """A crossed, absurd or old quote is read."""
    GAP = "market: gap"
    SPREAD = "market: spread"
    SILENCE = "market: silence"
    """No quotes for a while."""


class SimCrash(BaseException):
    """One process ends here, at once: no handler of the program runs on."""

    def __init__(self, who: str, place: str) -> None:
        super().__init__(f"{who} at {place}")
        self.who = who


class PowerLoss(BaseException):
    """Every process ends here."""
