"""Halting and resuming by hand: a person's two orders about the mode, each with a reason in the audit."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dtms.app.journal.mode_facts import HALT_FACT, ROLES, Modes, encode, read_causes, read_modes
from dtms.core.modes import TABLE
from dtms.domain.modes import ActiveCause, Cause
from dtms.domain.units import Millis
from dtms.errors import DtmsError
from dtms.ports.ledger import Ledger, LedgerRead


class NotHaltedError(DtmsError):
    """There is nothing to resume from."""


class StillHoldsError(DtmsError):
    """The cause of the halt still holds; its remedy comes first.

    Attributes:
        told: The cause as it was told.
    """

    def __init__(self, told: ActiveCause) -> None:
        super().__init__(f"{told.cause} still holds: {told.detail}. {TABLE[told.cause].remedy}")
        self.told = told


def halt(ledger: Ledger, now: Millis, *, actor: str, reason: str) -> Modes:
    """Stop everything that is automatic; the stops at the broker remain. A halt that is latched already stays as it is.

    Raises:
        LedgerError: It cannot be written; write `pause` into the kill switch's file instead.
    """
    with ledger.write() as tx:
        if tx.fact(HALT_FACT) is None:
            told = ActiveCause(cause=Cause.OPERATOR, since=now, detail=reason, role="operator")
            tx.set_fact(HALT_FACT, encode((told,)))
        body = json.dumps({"reason": reason})
        tx.add_audit(at=now, actor=actor, what="halted", trade_id=None, body=body)
        return read_modes(tx)


def resume(ledger: Ledger, now: Millis, *, actor: str, reason: str) -> Modes:
    """Leave HALT. What has ended meanwhile, but not been reconciled, still counts until a full reconcile was clean.

    Raises:
        NotHaltedError: No halt is latched.
        StillHoldsError: A cause that a person must leave still holds.
        LedgerError: It cannot be written; the halt stays.
    """
    with ledger.write() as tx:
        found = read_modes(tx)
        if found.halt is None:
            msg = f"the system is in {found.mode} and not halted by hand or by a cause that a person must leave"
            raise NotHaltedError(msg)
        for told in _holding(tx):
            raise StillHoldsError(told)
        tx.set_fact(HALT_FACT, None)
        body = json.dumps({"reason": reason, "cause": found.halt.cause, "since": found.halt.since})
        tx.add_audit(at=now, actor=actor, what="resumed", trade_id=None, body=body)
        return read_modes(tx)


def _holding(tx: LedgerRead) -> Iterator[ActiveCause]:
    """Yield the causes that latch a halt and that a process says hold now."""
    for role in ROLES:
        for told in read_causes(tx, role):
            if TABLE[told.cause].by_hand and told.ended is None:
                yield told
