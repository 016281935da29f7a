"""What can go wrong at a terminal, as frozen values: on the way there and back, around it, and at the dealer.

Nothing acts here. A fault says what happens, not when: a plan says when, the faulty link and dealer do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from dtms.adapters.terminal.constants import Mt5
from dtms.errors import SettingsError

MAYBE_LEFT = frozenset(
    {
        Mt5.RES_E_FAIL,
        Mt5.RES_E_INTERNAL_FAIL,
        Mt5.RES_E_INTERNAL_FAIL_SEND,
        Mt5.RES_E_INTERNAL_FAIL_RECEIVE,
    }
)
"""Values of `last_error` after which a request may have been applied; the others say that it never left."""

_DONE = (Mt5.TRADE_RETCODE_DONE, Mt5.TRADE_RETCODE_DONE_PARTIAL)


class Switch(StrEnum):
    """What can be turned off between a program and the market."""

    BUTTON = "button"
    """The terminal's own button for automated trading: 10027."""
    API = "api"
    """Trading from Python, in the terminal's options: no answer, -8."""
    PROGRAMS = "programs"
    """Programs on this account, by the broker: 10026."""
    ACCOUNT = "account"
    """All trading on this account, or an investor's password: 10017."""
    CONNECTION = "connection"
    """The terminal's connection to its trade server: 10031."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No answer, and this value of `last_error`; `applied` says whether the terminal did it all the same."""

    code: int
    applied: bool = False

    def __post_init__(self) -> None:
        if self.applied and self.code not in MAYBE_LEFT:
            msg = f"a call that failed with {self.code} never left; only {sorted(MAYBE_LEFT)} can have been applied"
            raise SettingsError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """An order is applied `delay_ms` of the market's clock later and not before `after_reads` reads of the positions.

    Until then there is no answer (-10002), or with a `code` this retcode without figures.
    """

    delay_ms: int = 0
    after_reads: int = 0
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """The call never returns; `applied` says whether the terminal did it before."""

    applied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubled:
    """The reply comes twice: the copy waits in the pipe for the next call, and so on until the link is opened anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """An order gets the reply of the order before it; `applied` says whether it was applied itself."""

    applied: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An order gets this retcode whatever became of it: applied and not said to be, or said to be and not applied."""

    code: int
    applied: bool = True

    def __post_init__(self) -> None:
        if self.applied and self.code in _DONE:
            msg = f"retcode {self.code} of an order that was applied is no fault; give another code or applied=False"
            raise SettingsError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """A list that is not empty is read as empty, without an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """The pipe leads to another terminal with another account, for so many calls."""

    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleView:
    """The terminal shows what was `lag_ms` ago, for `for_ms` of the market's clock."""

    lag_ms: int
    for_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLag:
    """Deals and past orders are shown `lag_ms` late, for `for_ms`; positions are not."""

    lag_ms: int
    for_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockShift:
    """The broker's clock shows `shift_ms` more: from now on (summer time that nobody knew of), or for `for_ms` (a jump)."""

    shift_ms: int
    for_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """The position that is touched, or without one every position, gets another ticket; the identifier stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """Something is turned off, for `for_ms` or until the faults are healed."""

    switch: Switch
    for_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Respecified:
    """The broker changes the instruments, for `for_ms` or until healed; None leaves a property as it is.

    `symbol` names one; None means every symbol with an open position. Levels are in points.
    """

    symbol: str | None = None
    stops_level: int | None = None
    freeze_level: int | None = None
    volume_min: float | None = None
    volume_step: float | None = None
    tick_size: float | None = None
    trade_mode: int | None = None
    for_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The market moves by so many points before the server looks at the order: triggers fire, levels become invalid.

    A positive number moves against the position that is touched, or against the side that is opened.
    """

    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOut:
    """So much money leaves the account that the server closes positions for want of margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server refuses with this retcode, `calls` times running: several are a storm."""

    code: int
    calls: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFill:
    """Only this share of the volume is filled, and the answer is `says`: 10010, or 10009 with the smaller volume."""

    share: float = 0.5
    says: int = Mt5.TRADE_RETCODE_DONE_PARTIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Slipped:
    """The fill is so many points worse than the quote that the order was checked with."""

    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restamped:
    """The server keeps another comment or number than was sent: "" strips the comment, 0 the number."""

    comment: str | None = None
    magic: int | None = None


NOT_SENT = Failed(code=Mt5.RES_E_INTERNAL_FAIL_CONNECT)
"""Lost before sending."""
SEND_FAILED = Failed(code=Mt5.RES_E_INTERNAL_FAIL_SEND)
SEND_FAILED_APPLIED = Failed(code=Mt5.RES_E_INTERNAL_FAIL_SEND, applied=True)
REQUEST_LOST = Failed(code=Mt5.RES_E_INTERNAL_FAIL_RECEIVE)
"""Sent, never applied, no answer."""
REPLY_LOST = Failed(code=Mt5.RES_E_INTERNAL_FAIL_RECEIVE, applied=True)
"""Applied, no answer."""
OUT_OF_STEP = Failed(code=Mt5.RES_E_INTERNAL_FAIL)
OUT_OF_STEP_APPLIED = Failed(code=Mt5.RES_E_INTERNAL_FAIL, applied=True)

PipeFault = Failed | Late | Hang | Doubled | Previous | Answer | Empty | Crossed
"""What happens to one call; at most one of them does."""
WorldFault = StaleView | HistoryLag | ClockShift | Reopened | Switched | Respecified | Moved | StopOut
"""What changes at terminal or server just before a call is performed."""
DealerFault = Refused | PartFill | Slipped | Restamped
"""What the server makes of an order that passed its checks."""
Fault = PipeFault | WorldFault | DealerFault


def name_of(fault: Fault) -> str:
    """Return the word under which a fault is counted: its class, and what tells its kinds apart."""
    match fault:
        case Failed():
            return f"failed {fault.code}{_applied(applied=fault.applied)}"
        case Late():
            when = " after a read" if fault.after_reads else ""
            return f"late{when}" if fault.code is None else f"late{when} {fault.code}"
        case Hang():
            return f"hang{_applied(applied=fault.applied)}"
        case Previous():
            return f"previous{_applied(applied=fault.applied)}"
        case Answer():
            return f"answer {fault.code}{_applied(applied=fault.applied)}"
        case ClockShift():
            return "clock shift" if fault.for_ms is None else "clock jump"
        case Switched():
            return f"switched {fault.switch}"
        case Refused():
            return f"refused {fault.code}" if fault.calls == 1 else f"storm {fault.code}"
        case PartFill():
            return f"part fill {fault.says}"
        case Restamped():
            return _restamped(fault)
        case Doubled() | Empty() | Crossed() | StaleView() | HistoryLag() | Reopened() | Respecified():
            return _WORDS[type(fault)]
        case Moved() | StopOut() | Slipped():
            return _WORDS[type(fault)]
        case _:
            assert_never(fault)


def _applied(*, applied: bool) -> str:
    return " applied" if applied else ""


def _restamped(fault: Restamped) -> str:
    parts = []
    if fault.comment is not None:
        parts.append("comment rewritten" if fault.comment else "comment stripped")
    if fault.magic is not None:
        parts.append("magic changed")
    return " and ".join(parts) or "restamped"


_WORDS: dict[type, str] = {
    Doubled: "doubled",
    Empty: "empty",
    Crossed: "crossed",
    StaleView: "stale view",
    HistoryLag: "history lag",
    Reopened: "reopened",
    Respecified: "respecified",
    Moved: "moved",
    StopOut: "stop out",
    Slipped: "slipped",
}
