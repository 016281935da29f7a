"""The one table of what takes the system out of NORMAL, and how it comes back.

A cause is told by the process that saw it; the mode is the worst that any standing cause asks for. A cause that has ended
still stands until a full reconcile was clean after its end, so that one that comes and goes does not make the mode flap.
HALT is left by a person alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dtms.domain.modes import ActiveCause, Cause, Mode
from dtms.domain.units import Millis
from dtms.domain.verdict import KillLevel

_ORDER: Final = {mode: rank for rank, mode in enumerate(Mode)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeRow:
    """One cause.

    Attributes:
        cause: Which.
        mode: What it leaves the system to do.
        entered: When it begins.
        left: When it ends.
        remedy: What the operator can do, in a sentence.
        by_hand: Whether it is latched: only a person leaves it.
        reconciles: Whether it stands after its end until a full reconcile was clean.
        local: Whether it concerns one process alone and is never told to the others.
        called: Whether a person is called for it by name where the mode is what it was already, and told of its end.
    """

    cause: Cause
    mode: Mode
    entered: str
    left: str
    remedy: str
    by_hand: bool = False
    reconciles: bool = True
    local: bool = False
    called: bool = False


_ROWS: Final = (
    ModeRow(
        cause=Cause.UNKNOWN_OUTCOME,
        mode=Mode.DEGRADED,
        entered="the broker gave no answer to something that was sent, or maybe sent",
        left="evidence has decided each such action, or it is quarantined",
        remedy="Nothing is to be done; it is settled by evidence within a minute, and never sent again blindly.",
    ),
    ModeRow(
        cause=Cause.STALE_MARKET,
        mode=Mode.DEGRADED,
        entered="a symbol with an open trade has had no quote for 60 s while its market is open",
        left="every such symbol has quoted for a minute without such a silence, or its market has closed",
        remedy="Look at the terminal's connection and the symbol in its Market Watch; stops at the broker hold.",
    ),
    ModeRow(
        cause=Cause.CLOCK_STEPPED,
        mode=Mode.DEGRADED,
        entered="the wall clock moved against the clock that never steps by more than 500 ms",
        left="one whole pass has seen the clocks agree",
        remedy="Look at the machine's time service; nothing that depends on time fires from the step.",
    ),
    ModeRow(
        cause=Cause.QUARANTINED,
        mode=Mode.DEGRADED,
        entered="the outcome of an action could not be told in time, or a law was broken on one trade; it is only observed",
        left="no open trade is held in quarantine any more",
        remedy="Compare the trade with the terminal, then settle or confirm it by hand; the other trades are managed.",
    ),
    ModeRow(
        cause=Cause.SEND_BUDGET,
        mode=Mode.DEGRADED,
        entered="the budget of sends is spent, or the broker said that requests come too fast",
        left="the budget has filled again",
        remedy="Nothing is to be done; what reduces risk has a share of its own. Find out what plans so much if it stays.",
    ),
    ModeRow(
        cause=Cause.UNDECIDED,
        mode=Mode.DEGRADED,
        entered="an open managed trade was not decided on two bars that have closed and in which quotes came",
        left="every such trade has been decided on a bar since",
        remedy="Look at the server's log for the symbol and at its history in the terminal; stops at the broker hold.",
        called=True,
    ),
    ModeRow(
        cause=Cause.MARKET_UNREAD,
        mode=Mode.DEGRADED,
        entered="the bars or quotes of a symbol with an open trade could not be read for 60 s while its market is open",
        left="they can be read, or the market has closed, or no trade is open on it",
        remedy="Open the symbol's chart in the terminal and look at its Market Watch; stops at the broker hold.",
        called=True,
    ),
    ModeRow(
        cause=Cause.PASS_FAILING,
        mode=Mode.DEGRADED,
        entered="a pass of the defence, the exits or the gateway failed twice running, for want of the broker for 3 s too",
        left="a whole pass was made",
        remedy="Read what it failed on in the detail and the log; nothing new is decided or sent by it meanwhile.",
        called=True,
    ),
    ModeRow(
        cause=Cause.ERRORS_GROW,
        mode=Mode.DEGRADED,
        entered="errors that a pass survives kept coming for 60 s, ten at least, never 30 s apart",
        left="none came for 30 s",
        remedy="Read them in the log of the process that tells it; each kind is logged once a minute.",
        called=True,
    ),
    ModeRow(
        cause=Cause.BROKER_SILENT,
        mode=Mode.PROTECT_ONLY,
        entered="account or positions could not be read several times running, for some seconds",
        left="both can be read",
        remedy="Look at the terminal: is it running, logged in and connected? Stops at the broker hold.",
    ),
    ModeRow(
        cause=Cause.SUSPENDED,
        mode=Mode.PROTECT_ONLY,
        entered="the machine slept: everything known is older than it seems",
        left="one whole pass has been made on new data",
        remedy="Switch the machine's sleep off; what happened meanwhile is reconciled first.",
    ),
    ModeRow(
        cause=Cause.UNRECONCILED,
        mode=Mode.PROTECT_ONLY,
        entered="a gateway started, or the ledger was restored, and no full reconcile has been clean since",
        left="the first full reconcile is clean",
        remedy="Nothing is to be done; if it stays, the alerts name what does not fit between ledger and broker.",
        reconciles=False,
    ),
    ModeRow(
        cause=Cause.ORPHANS,
        mode=Mode.PROTECT_ONLY,
        entered="the broker holds positions in our name that the ledger does not know",
        left="each of them is adopted, released or closed",
        remedy="Adopt each with `dtms adopt TICKET`, or release it; was an old backup restored?",
        reconciles=False,
    ),
    ModeRow(
        cause=Cause.KILL_FILE,
        mode=Mode.PROTECT_ONLY,
        entered="the kill switch's file cannot be read, so nobody can tell whether it was pressed",
        left="it can be read, or is not there",
        remedy="Look at what the detail names: the data folder's rights, open files of the process, what lies under that name.",
        reconciles=False,
    ),
    ModeRow(
        cause=Cause.REJECTS,
        mode=Mode.PROTECT_ONLY,
        entered="the broker has refused several actions running for good",
        left="a probe after the cool-down was carried out",
        remedy="Read the reasons with `dtms actions`; the account's rights, its margin or the symbol's rules may have changed.",
    ),
    ModeRow(
        cause=Cause.TRADING_OFF,
        mode=Mode.PROTECT_ONLY,
        entered="the terminal or the broker does not let this account trade",
        left="a probe after the cool-down was carried out",
        remedy="Switch AutoTrading on in the terminal, and log in with the trading password; nothing is managed until then.",
    ),
    ModeRow(
        cause=Cause.STOP_OUT,
        mode=Mode.PROTECT_ONLY,
        entered="the broker closed a position for want of margin",
        left="the margin level is above the rail's limit",
        remedy="Add money or close positions until the margin level is above the limit of `rails.margin_level`.",
    ),
    ModeRow(
        cause=Cause.LEDGER_DOWN,
        mode=Mode.PROTECT_ONLY,
        entered="the ledger cannot be read or written: nothing can be claimed, so nothing is sent",
        left="it can be written",
        remedy="Look at the disk's free space and rights, or at the PostgreSQL server; stops at the broker hold.",
        called=True,
    ),
    ModeRow(
        cause=Cause.FENCED,
        mode=Mode.HALT,
        entered="another gateway has taken over the account, or the lease was lost",
        left="this process ends; the next start reconciles first",
        remedy="Let one gateway run for an account; end the other one.",
        reconciles=False,
        local=True,
    ),
    ModeRow(
        cause=Cause.ACCOUNT_CHANGED,
        mode=Mode.HALT,
        entered="the terminal shows another account than the ledger's, again and again",
        left="the terminal shows the ledger's account, and a person resumes",
        remedy="Log the terminal in to the account that the detail names, then resume.",
        by_hand=True,
    ),
    ModeRow(
        cause=Cause.LEDGER_DAMAGED,
        mode=Mode.HALT,
        entered="the ledger's own check or its audit chain found damage",
        left="a start finds the ledger whole, and a person resumes",
        remedy="Keep the damaged file, restore the last backup, start again, then resume.",
        by_hand=True,
    ),
    ModeRow(
        cause=Cause.OPERATOR,
        mode=Mode.HALT,
        entered="a person halted the system",
        left="a person resumes",
        remedy="Resume when the reason is gone.",
        by_hand=True,
        reconciles=False,
    ),
)

TABLE: Final[Mapping[Cause, ModeRow]] = {row.cause: row for row in _ROWS}
"""Every cause, in the order of the page."""

DOES: Final[Mapping[Mode, str]] = {
    Mode.NORMAL: "everything",
    Mode.DEGRADED: (
        "everything, and is shown and counted: rails, preconditions and the journal's own locks hold back what the cause "
        "concerns"
    ),
    Mode.PROTECT_ONLY: (
        "only what does not add risk: no hedge, no re-add, no unhedge, no opening, no wider stop; refused when it is "
        "planned and again when the gateway claims it"
    ),
    Mode.HALT: (
        "nothing by itself: the gateway claims nothing but the kill switch's own closings, which are a person's order; "
        "the stops at the broker remain"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The causes that count now, the worst first, and what they leave."""

    mode: Mode
    causes: tuple[ActiveCause, ...]


def worst(modes: Iterable[Mode]) -> Mode:
    """Return the most severe of some modes, NORMAL of none."""
    return max(modes, key=_ORDER.__getitem__, default=Mode.NORMAL)


def mode_of(causes: Iterable[Cause]) -> Mode:
    """Return the mode that some causes leave the system in: the worst of theirs."""
    return worst(TABLE[cause].mode for cause in causes)


def shown_mode(mode: Mode, level: KillLevel | None) -> Mode:
    """Return the mode that people are shown: the worse of the causes' and what the kill switch amounts to."""
    match level:
        case KillLevel.PAUSE:
            return worst((mode, Mode.HALT))
        case KillLevel.PROTECT_ONLY | KillLevel.FLATTEN:
            return worst((mode, Mode.PROTECT_ONLY))
        case None:
            return mode


def counts(cause: ActiveCause, clean_at: Millis | None) -> bool:
    """Say whether a cause still counts.

    Args:
        cause: As it was told.
        clean_at: When the last full reconcile that was clean was made, None where there was none.
    """
    if cause.ended is None:
        return True
    return TABLE[cause.cause].reconciles and (clean_at is None or clean_at < cause.ended)


def standing(told: Iterable[ActiveCause], halt: ActiveCause | None, clean_at: Millis | None) -> Standing:
    """Return what counts of all that was told, with the latched halt.

    Args:
        told: What the processes told.
        halt: What a person must resume from, None where nothing is latched.
        clean_at: When the last full reconcile that was clean was made, None where there was none.
    """
    left = [cause for cause in told if counts(cause, clean_at)]
    if halt is not None and all(cause.cause is not halt.cause for cause in left):
        left.append(halt)
    left.sort(key=lambda cause: (-_ORDER[TABLE[cause.cause].mode], cause.since, cause.cause, cause.role))
    mode = mode_of(cause.cause for cause in left)
    return Standing(mode=mode if halt is None else Mode.HALT, causes=tuple(left))


_HEAD: Final = """# Modes

This page is written by `dtms.core.modes` from the table that the code uses; a test fails when it is stale.
Run that test with `DTMS_WRITE_DOCS=1` to write it anew.

The system enters a mode by itself, and the mode is the worst that any standing cause asks for.
It leaves by itself when the cause has ended and, where the table says so, a full reconcile was clean since.
HALT is latched and left by a person alone: `dtms mode resume --reason TEXT`, which is refused while its cause stands.
`dtms mode` shows the present mode, each cause with what was seen, and what to do.
The kill switch has levels of its own; pressed, it is shown as HALT (`pause`) or PROTECT_ONLY (`protect_only`, `flatten`).
"""
_COLUMNS: Final = ("cause", "mode", "entered when", "left when", "left how", "what to do")


def render_page() -> str:
    """Return docs/modes.md."""
    does = [_line(("mode", "what the system does by itself")), _line(("---", "---"))]
    does += [_line((f"`{mode}`", words)) for mode, words in DOES.items()]
    table = [_line(_COLUMNS), _line(("---",) * len(_COLUMNS))]
    table += [
        _line((f"`{row.cause}`", f"`{row.mode}`", row.entered, row.left, _how(row), row.remedy))
        for row in TABLE.values()
    ]
    return "\n".join((_HEAD, *does, "", "## Causes", "", *table, ""))


def _how(row: ModeRow) -> str:
    if row.by_hand:
        return "by hand"
    if row.local:
        return "with the process"
    return "by itself, after a clean full reconcile" if row.reconciles else "by itself"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
