"""What can go wrong at a terminal, as frozen values: on the way there and back, around it, and at the dealer.

Nothing acts here. A fault says what happens, not when: a plan says when, the faulty link and dealer do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from dtms.errors import SettingsError
from dtms_lab.mt5_constants import Mt5

NEVER_LEFT = frozenset(
    {
        Mt5.RES_E_INVALID_PARAMS,
        Mt5.RES_E_NO_MEMORY,
        Mt5.RES_E_NOT_FOUND,
        Mt5.RES_E_INVALID_VERSION,
        Mt5.RES_E_AUTH_FAILED,
        Mt5.RES_E_UNSUPPORTED,
        Mt5.RES_E_AUTO_TRADING_DISABLED,
        Mt5.RES_E_INTERNAL_FAIL_INIT,
        Mt5.RES_E_INTERNAL_FAIL_CONNECT,
        Mt5.RES_E_INTERNAL_FAIL_TIMEOUT,
    }
)
"""Values of `last_error` that say that a request was not sent; after any other it may have been applied."""

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


class _Outcome(Protocol):
    @property
    def applied(self) -> bool: ...


def _applied(fault: _Outcome) -> str:
    return " applied" if fault.applied else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No answer, and this value of `last_error`; `applied` says whether the terminal did it all the same."""

    code: int
    applied: bool = False

    def __post_init__(self) -> None:
        if self.applied and self.code in NEVER_LEFT:
            msg = f"a call that failed with {self.code} was never sent; give applied=False or another code"
            raise SettingsError(msg)

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"failed {self.code}{_applied(self)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """An order is applied `delay_ms` of the market's clock later and not before `after_reads` reads of the positions.

    Until then there is no answer (-10002), or with a `code` this retcode without figures.
    """

    delay_ms: int = 0
    after_reads: int = 0
    code: int | None = None

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"late{' after a read' if self.after_reads else ''}{'' if self.code is None else f' {self.code}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """The call never returns; `applied` says whether the terminal did it before."""

    applied: bool = False

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"hang{_applied(self)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubled:
    """The reply comes twice: the copy waits in the pipe for the next call, and so on until the link is opened anew."""

    name: ClassVar[str] = "doubled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """An order gets the result of an order before it; `applied` says whether it was applied itself."""

    applied: bool = True

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"previous{_applied(self)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An order gets this retcode whatever became of it: applied and not said to be, or said to be and not applied."""

    code: int
    applied: bool = True

    def __post_init__(self) -> None:
        if self.applied and self.code in _DONE:
            msg = f"retcode {self.code} of an order that was applied is no fault; give another code or applied=False"
            raise SettingsError(msg)

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"answer {self.code}{_applied(self)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """A list that is not empty is read as empty, without an error."""

    name: ClassVar[str] = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """The pipe leads to another terminal with another account, for so many calls."""

    name: ClassVar[str] = "crossed"

    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleView:
    """The terminal shows what was `lag_ms` ago, for `for_ms` of the market's clock."""

    name: ClassVar[str] = "stale view"

    lag_ms: int
    for_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLag:
    """Deals and past orders are shown `lag_ms` late, for `for_ms`; positions are not."""

    name: ClassVar[str] = "history lag"

    lag_ms: int
    for_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockShift:
    """The broker's clock shows `shift_ms` more: from now on (summer time that nobody knew of), or for `for_ms` (a jump)."""

    shift_ms: int
    for_ms: int | None = None

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return "clock shift" if self.for_ms is None else "clock jump"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """The position that is touched, or without one every position, gets another ticket; the identifier stays."""

    name: ClassVar[str] = "reopened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """Something is turned off, for `for_ms` or until the faults are healed."""

    switch: Switch
    for_ms: int | None = None

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"switched {self.switch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Respecified:
    """The broker changes the instruments, for `for_ms` or until healed; None leaves a property as it is.

    `symbol` names one; None means every symbol with an open position. Levels are in points.
    """

    name: ClassVar[str] = "respecified"

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

    A positive number moves against the position that is touched, or makes the opening's fill worse.
    """

    name: ClassVar[str] = "moved"

    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOut:
    """So much money leaves the account that the server closes positions for want of margin."""

    name: ClassVar[str] = "stop out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server refuses with this retcode, `calls` times running: several are a storm."""

    code: int
    calls: int = 1

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"refused {self.code}" if self.calls == 1 else f"storm {self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFill:
    """Only this share of the volume is filled, and the answer is `says`: 10010, or 10009 with the smaller volume."""

    share: float = 0.5
    says: int = Mt5.TRADE_RETCODE_DONE_PARTIAL

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return f"part fill {self.says}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slipped:
    """The fill is so many points worse than the quote that the order was checked with."""

    name: ClassVar[str] = "slipped"

    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dripped:
    """The order is taken, listed under this comment, and filled in `parts` deals `every_ms` apart.

    `at_once` fills the first part now: the answer is 10010 then, and 10008 without any figures else.
    """

    parts: int = 3
    every_ms: int = 1_000
    at_once: bool = False
    comment: str | None = None

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        under = "" if self.comment is None else " under another comment"
        return f"dripped{' at once' if self.at_once else ''}{under}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevelled:
    """A change of levels is answered with DONE and kept otherwise: the stop so many ticks off, or without the target."""

    stop_ticks: int = 0
    drops_target: bool = False

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        return "target dropped" if self.drops_target else "stop clipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restamped:
    """The server keeps another comment or number than was sent: "" strips the comment, 0 the number."""

    comment: str | None = None
    magic: int | None = None

    @property
    def name(self) -> str:
        """Return the word under which it is counted."""
        parts = []
        if self.comment is not None:
            parts.append("comment rewritten" if self.comment else "comment stripped")
        if self.magic is not None:
            parts.append("magic changed")
        return " and ".join(parts) or "restamped"


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
DealerFault = Refused | PartFill | Slipped | Restamped | Dripped | Relevelled
"""What the server makes of an order that passed its checks."""
Fault = PipeFault | WorldFault | DealerFault
