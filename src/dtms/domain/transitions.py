"""The transition table: the only ways in which a trade changes its state.

One mapping, printed into docs/state-machine.md by a test. What each row's condition means in numbers stands in
``core/machine.py``, what its plan means in orders in ``core/plans.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from dtms.domain.policy import Policy
from dtms.domain.trade import TradeState
from dtms.errors import IllegalTransitionError


class Cause(IntEnum):
    """The order in which rows are asked; the first that holds is taken."""

    GONE = 1
    CHARACTER = 2
    DEADLINE = 3
    HEDGE_GONE = 4
    ESCALATION = 5
    DE_ESCALATION = 6


class PlanKind(StrEnum):
    """What a row does at the broker."""

    NONE = "none"
    TIGHTEN = "tighten"
    PARTIAL = "partial"
    HEDGE = "hedge"
    UNHEDGE = "unhedge"
    RE_ADD = "re_add"
    CLOSE = "close"
    CLOSE_CHILDREN = "close_children"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: its stable name, where from and to, what it is caused by, what it does, and its words for a person.

    The words name the numbers of a policy, as `{machine.l1_score}`; `when_by` and `actions_by` put them in.
    """

    name: str
    source: TradeState
    target: TradeState
    cause: Cause
    plan: PlanKind
    when: str
    actions: str

    @property
    def scored(self) -> bool:
        """Say whether grace and the wait after a change hold it back: score transitions only."""
        return self.cause in (Cause.ESCALATION, Cause.DE_ESCALATION)

    def when_by(self, policy: Policy) -> str:
        """Return when it is taken, in words, with the numbers of a policy."""
        return _with_numbers(self.when, policy)

    def actions_by(self, policy: Policy) -> str:
        """Return what it does at the broker, in words, with the numbers of a policy."""
        return _with_numbers(self.actions, policy)


def _with_numbers(words: str, policy: Policy) -> str:
    return words.format(machine=policy.machine, defence=policy.defence)


_S = TradeState
_OPEN = (_S.HEALTHY, _S.WARNING_L1, _S.WARNING_L2, _S.HEDGED, _S.RECOVERING)


def _row(
    name: str, source: TradeState, target: TradeState, cause: Cause, plan: PlanKind, when: str, actions: str
) -> Row:
    return Row(name=name, source=source, target=target, cause=cause, plan=plan, when=when, actions=actions)


_ROWS: tuple[Row, ...] = (
    *(
        _row(
            f"gone_{state.lower()}",
            state,
            _S.CLOSED,
            Cause.GONE,
            PlanKind.CLOSE_CHILDREN,
            "gone: two clean reads a settle time apart and closing deals that sum to the volume",
            "close children at once",
        )
        for state in _OPEN
    ),
    *(
        _row(
            f"character_{state.lower()}",
            state,
            _S.CLOSED,
            Cause.CHARACTER,
            PlanKind.CLOSE,
            "change of character against the trade",
            "the closing plan",
        )
        for state in (_S.WARNING_L2, _S.HEDGED, _S.RECOVERING)
    ),
    _row(
        "l1_timeout",
        _S.WARNING_L1,
        _S.HEALTHY,
        Cause.DEADLINE,
        PlanKind.NONE,
        "after {machine.l1_minutes:g} min with score > {machine.l1_score:g}",
        "none",
    ),
    _row(
        "l2_timeout",
        _S.WARNING_L2,
        _S.WARNING_L1,
        Cause.DEADLINE,
        PlanKind.NONE,
        "after {machine.l2_minutes:g} min",
        "none",
    ),
    _row(
        "hedged_timeout",
        _S.HEDGED,
        _S.CLOSED,
        Cause.DEADLINE,
        PlanKind.CLOSE,
        "after {machine.hedged_minutes:g} min",
        "the closing plan",
    ),
    _row(
        "hedged_before_close_recovering",
        _S.HEDGED,
        _S.RECOVERING,
        Cause.DEADLINE,
        PlanKind.UNHEDGE,
        "{machine.before_close_minutes:g} min before the market closes for more than {machine.long_close_hours:g} h, "
        "score >= 0 and the rails let it",
        "close the hedge (required)",
    ),
    _row(
        "hedged_before_close",
        _S.HEDGED,
        _S.CLOSED,
        Cause.DEADLINE,
        PlanKind.CLOSE,
        "{machine.before_close_minutes:g} min before the market closes for more than {machine.long_close_hours:g} h",
        "the closing plan",
    ),
    _row(
        "recovering_timeout",
        _S.RECOVERING,
        _S.CLOSED,
        Cause.DEADLINE,
        PlanKind.CLOSE,
        "{machine.recovering_minutes:g} min without confirmation",
        "close",
    ),
    _row(
        "hedge_gone",
        _S.HEDGED,
        _S.WARNING_L2,
        Cause.HEDGE_GONE,
        PlanKind.NONE,
        "the hedge alone was stopped out or closed by hand",
        "none; no second hedge",
    ),
    _row(
        "healthy_to_l2",
        _S.HEALTHY,
        _S.WARNING_L2,
        Cause.ESCALATION,
        PlanKind.PARTIAL,
        "score <= {machine.hedge_score:g} on {machine.running_bars} consecutive bars "
        "(the first fell into grace or the wait after a change)",
        "close {defence.partial_share:.0%} (required); breakeven if the price allows it (best effort)",
    ),
    _row(
        "healthy_to_l1",
        _S.HEALTHY,
        _S.WARNING_L1,
        Cause.ESCALATION,
        PlanKind.TIGHTEN,
        "score <= {machine.l1_score:g}",
        "tighten (best effort)",
    ),
    _row(
        "l1_to_l2",
        _S.WARNING_L1,
        _S.WARNING_L2,
        Cause.ESCALATION,
        PlanKind.PARTIAL,
        "score <= {machine.l2_score:g}",
        "close {defence.partial_share:.0%} (required); breakeven if the price allows it (best effort)",
    ),
    _row(
        "l2_to_hedged",
        _S.WARNING_L2,
        _S.HEDGED,
        Cause.ESCALATION,
        PlanKind.HEDGE,
        "score <= {machine.hedge_score:g}; or a flip against with the opposite volume share above its threshold and "
        "score <= {machine.l2_score:g}",
        "hedge {defence.hedge_share:.0%} of the remaining volume (required)",
    ),
    _row(
        "recovering_to_l2",
        _S.RECOVERING,
        _S.WARNING_L2,
        Cause.ESCALATION,
        PlanKind.NONE,
        "score <= {machine.l2_score:g}",
        "none",
    ),
    _row(
        "l1_to_healthy",
        _S.WARNING_L1,
        _S.HEALTHY,
        Cause.DE_ESCALATION,
        PlanKind.NONE,
        "score >= {machine.healthy_score:g}",
        "none",
    ),
    _row(
        "l2_to_l1",
        _S.WARNING_L2,
        _S.WARNING_L1,
        Cause.DE_ESCALATION,
        PlanKind.NONE,
        "score >= {machine.l2_release_score:g}; or above {machine.l2_score:g} on {machine.l2_release_bars} consecutive bars",
        "none",
    ),
    _row(
        "hedged_to_recovering",
        _S.HEDGED,
        _S.RECOVERING,
        Cause.DE_ESCALATION,
        PlanKind.UNHEDGE,
        "break of structure with the trade after the hedge's fill, or score >= {machine.recover_score:g} on "
        "{machine.running_bars} consecutive bars",
        "close the hedge (required; rails apply; refused: stay, try each bar)",
    ),
    _row(
        "recovering_to_healthy",
        _S.RECOVERING,
        _S.HEALTHY,
        Cause.DE_ESCALATION,
        PlanKind.RE_ADD,
        "score >= {machine.confirm_score:+g} on {machine.running_bars} consecutive bars",
        "re-add where the policy has it (best effort)",
    ),
)

ROWS: dict[str, Row] = {row.name: row for row in _ROWS}
"""Every row by its name, in the order in which they are asked."""

TABLE: dict[tuple[TradeState, TradeState], tuple[Row, ...]] = {
    pair: tuple(row for row in _ROWS if (row.source, row.target) == pair)
    for pair in {(row.source, row.target): None for row in _ROWS}
}
"""The rows of each pair of states; a pair that is not here is illegal."""


def rows_from(state: TradeState) -> tuple[Row, ...]:
    """Return the rows out of a state, in the order in which they are asked; empty for CLOSED, which absorbs."""
    return tuple(row for row in _ROWS if row.source is state)


def check(source: TradeState, target: TradeState) -> None:
    """Raise where the table holds no way from `source` to `target`.

    Raises:
        IllegalTransitionError: No row; the ticket becomes observe-only.
    """
    if (source, target) not in TABLE:
        msg = f"no transition leads from {source} to {target}; the ticket is observed only until an operator decides"
        raise IllegalTransitionError(msg)
