"""Why an intent was planned: every reason by its one name, in journal, API and screen. No two enums share a name."""

from __future__ import annotations

from enum import StrEnum


class DefenceRule(StrEnum):
    """What the state machine's plans do, and what follows for the legs of a trade that has ended."""

    TIGHTEN = "defence.tighten"
    PARTIAL = "defence.partial"
    BREAKEVEN = "defence.breakeven"
    HEDGE = "defence.hedge"
    HEDGE_STOP = "defence.hedge_stop"
    HEDGE_REDUCTION = "defence.hedge_reduction"
    HEDGE_EQUIVALENT = "defence.hedge_equivalent"
    UNHEDGE = "defence.unhedge"
    RESTORE = "defence.restore"
    RE_ADD = "defence.re_add"
    CLOSE = "defence.close"
    CLOSE_CHILD = "defence.close_child"
    ORPHAN = "defence.orphan"


class ExitRule(StrEnum):
    """The exit manager's rules."""

    TIME_EXIT = "time_exit"
    STALL_EXIT = "stall_exit"
    BREAKEVEN = "breakeven"
    TRAILING = "trailing"
    WIDENING = "widening"
    PARTIAL = "partial"


class CommandRule(StrEnum):
    """What a person or another program asked for, and what makes that safe."""

    OPEN = "command.open"
    CLOSE_BARE = "command.open.bare"
    FIRST_STOP = "register.stop"
    RELEASE = "command.release"
    FLATTEN = "command.flatten"


class FactRule(StrEnum):
    """What follows from what others did at the broker: a stop put back after a hand, a lost target, legs that follow."""

    FLOOR = "by_hand.floor"
    REASSERT = "by_hand.reassert"
    PUT_BACK = "target.put_back"
    FOLLOW = "child.follows"
    PAIR = "child.pairs"


class StopOrigin(StrEnum):
    """Where a stop came from that no intent of ours has set."""

    ADOPTED = "adopted"
    CONFIRMED = "confirmed"
    BY_HAND = "by_hand"


Rule = DefenceRule | ExitRule | CommandRule | FactRule
"""The reason of an intent."""

StopRule = Rule | StopOrigin
"""The reason of a stop that was seen at the broker."""
