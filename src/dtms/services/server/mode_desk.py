"""The mode over HTTP: shown with its causes and their remedies, halted and resumed by a person."""

from __future__ import annotations

import structlog

from dtms.app.modes import halt as orders
from dtms.app.modes.keeper import ModeKeeper
from dtms.app.views.trade_cache import LedgerView
from dtms.core.modes import TABLE, Standing, shown_mode, standing
from dtms.domain.modes import ActiveCause, Cause
from dtms.domain.units import to_iso
from dtms.errors import LedgerError
from dtms.services.server import wire
from dtms.services.server.bodies import ReasonBody
from dtms.services.server.encode import JSON
from dtms.services.server.parts import Site
from dtms.services.web.problem import Problem

_log = structlog.get_logger("dtms.server")


class ModeHandler:
    """Answers for one site. Blocking."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def show(self) -> bytes:
        """Answer GET /dtms/mode."""
        monitor = self._site.parts.monitor
        try:
            page = monitor.book.page()
        except LedgerError as error:
            down = ActiveCause(
                cause=Cause.LEDGER_DOWN, since=self._site.parts.clock.market_now(), detail=str(error), role="server"
            )
            return JSON.encode(_from_memory(monitor.modes, down))
        return JSON.encode(mode_answer(page, monitor.modes.standing(page)))

    def halt(self, asked: ReasonBody, actor: str) -> bytes:
        """Halt; 200 with the mode."""
        parts = self._site.parts
        orders.halt(parts.ledger, parts.clock.market_now(), actor=actor, reason=asked.reason)
        parts.wake()
        return self.show()

    def resume(self, asked: ReasonBody, actor: str) -> bytes:
        """Leave HALT; 200 with the mode.

        Raises:
            Problem: 409, nothing is halted, or the cause still holds.
        """
        parts = self._site.parts
        try:
            orders.resume(parts.ledger, parts.clock.market_now(), actor=actor, reason=asked.reason)
        except orders.NotHaltedError as error:
            detail = "The system is not in a HALT that a person must leave; GET /dtms/mode shows its causes."
            raise Problem(409, "not_halted", detail) from error
        except orders.StillHoldsError as error:
            _log.warning("resume refused", reason=str(error))
            cause = error.told.cause
            detail = f"The cause {cause} still holds, so the halt stays. {TABLE[cause].remedy}"
            raise Problem(409, "cause_holds", detail, extra={"cause": cause.value}) from error
        parts.wake()
        return self.show()


def mode_answer(page: LedgerView, present: Standing) -> wire.ModeAnswer:
    """Return the mode as people are shown it."""
    return wire.ModeAnswer(
        mode=shown_mode(present.mode, page.kill),
        causes=cause_answers(present),
        kill_switch=page.kill,
        halted=page.modes.halt is not None,
    )


def cause_answers(present: Standing) -> tuple[wire.CauseAnswer, ...]:
    """Return what takes the system out of NORMAL, the worst first."""
    return tuple(_cause_answer(told) for told in present.causes)


def _from_memory(modes: ModeKeeper, down: ActiveCause) -> wire.ModeAnswer:
    """Return what this process knows by itself where the ledger cannot be read, which stands beside it at any rate."""
    told = {down.cause: down} | {each.cause: each for each in modes.told()}
    present = standing(told.values(), None, None)
    return wire.ModeAnswer(mode=present.mode, causes=cause_answers(present), kill_switch=None, halted=False)


def _cause_answer(told: ActiveCause) -> wire.CauseAnswer:
    row = TABLE[told.cause]
    return wire.CauseAnswer(
        cause=told.cause,
        mode=row.mode,
        since=to_iso(told.since),
        ended=None if told.ended is None else to_iso(told.ended),
        told_by=told.role,
        detail=told.detail,
        remedy=row.remedy,
    )
