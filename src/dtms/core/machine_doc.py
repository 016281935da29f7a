"""The transition table as Markdown, for docs/state-machine.md: what a reader sees is what the code holds."""

from __future__ import annotations

from dtms.domain.policy import Policy
from dtms.domain.policy.machine import MachinePolicy
from dtms.domain.transitions import ROWS, Cause, Row

_CAUSES = {
    Cause.GONE: "gone at the broker",
    Cause.CHARACTER: "change of character",
    Cause.DEADLINE: "deadline",
    Cause.HEDGE_GONE: "hedge gone",
    Cause.ESCALATION: "escalation",
    Cause.DE_ESCALATION: "de-escalation",
}
_HEAD = """# The state machine of a trade

This page is written by `dtms.core.machine_doc` from the table that the code uses; a test fails when it is stale.
Run that test with `DTMS_WRITE_DOCS=1` to write it anew.

A decision takes at most one row: the first that holds, from top to bottom among the rows out of the trade's state.
A pair of states without a row is illegal, and CLOSED has no way out.
"""
_COLUMNS = ("row", "cause", "from", "to", "when", "actions, in this order")


def render_table(policy: Policy | None = None) -> str:
    """Return the whole page: the table, and what holds score transitions back, with the shipped numbers."""
    numbers = Policy() if policy is None else policy
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    lines += [
        _line((f"`{row.name}`", _CAUSES[row.cause], row.source, row.target, *_words(row, numbers)))
        for row in ROWS.values()
    ]
    return "\n".join((_HEAD, *lines, "", *_waits(numbers.machine), ""))


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _words(row: Row, policy: Policy) -> tuple[str, str]:
    return row.when_by(policy), row.actions_by(policy)


def _waits(policy: MachinePolicy) -> tuple[str, ...]:
    grace = (
        f"So they do until {policy.grace_bars} M5 bars have closed, or {policy.grace_s:g} s of open time have passed, "
        f"since registration, unless the r-multiple is {policy.grace_r:g} or worse."
    )
    return (
        "## What holds a row back",
        "",
        f"Escalations and de-escalations wait for bar {policy.dwell_bars} after a change of state.",
        grace,
        "A break of structure that ends a hedge is no score and waits for neither.",
        "A bar without a score changes no state.",
        "While a transition is under way only a way to CLOSED may overtake it.",
        "A trade that is only observed leaves its state by its end at the broker alone.",
        "Deadlines run in the symbol's open-market time.",
    )
