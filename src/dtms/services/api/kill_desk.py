"""The kill switch over HTTP: shown, pressed and let go. Blocking.

A level is absolute: whoever presses with a key that was used before presses again, for nothing is safer than what the
request says. Letting go is not repeated: an old release that comes late must not undo a newer press.
"""

from __future__ import annotations

from dtms.app.modes.kill_switch import KillState, kill_state
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerError, StaleWriteError
from dtms.ports.ledger import LedgerRead, LedgerWrite
from dtms.services.api.idempotency import Kept, Once, Replay, kept
from dtms.services.api.parts import ApiSite
from dtms.services.api.views import JSON, kill_answer
from dtms.services.web.problem import Problem


class KillSwitchHandler:
    """Presses the switch of one site."""

    def __init__(self, site: ApiSite) -> None:
        self._site = site

    def show(self) -> Kept:
        """Return the state, and what is open now."""
        with self._site.parts.ledger.read() as tx:
            return Kept(status=200, body=_body(tx, kill_state(tx)))

    def press(self, level: KillLevel, once: Once) -> Kept:
        """Press it: 200 with the state. At `flatten` the first closing steps are written before the answer.

        Raises:
            Problem: 422 the key was used for another level; 503 the file is written but the ledger cannot be: the level
                holds as soon as it can, and until then nothing is sent at all.
        """
        parts = self._site.parts
        with parts.ledger.read() as tx:
            kept(tx, once)  # refuses a key that was used for another level
        try:
            parts.kill.press(level, once.principal, lambda tx, new: self._keep(tx, new, once))
        except StaleWriteError:
            raise
        except LedgerError as error:
            detail = (
                "The ledger cannot be written now. The kill switch's file is, where there is one: the level holds as soon "
                "as the ledger can be written, and until then nothing is sent."
            )
            raise Problem(503, "kill_switch_pending", detail, headers={"Retry-After": "1"}) from error
        parts.kill.enforce()
        return self.show()

    def release(self, actor: str, once: Once | None) -> Kept:
        """Let it go: 200 with the state. An old request changes nothing: it is answered with what holds now, and says so."""
        parts = self._site.parts
        if once is None:
            parts.kill.release(actor)
            return self.show()
        with parts.ledger.read() as tx:
            before = kept(tx, once)
            if before is not None:
                state = kill_state(tx)
                replay = Replay(at=before.created_at, now="released" if state.level is None else f"at {state.level}")
                return Kept(status=before.status, body=_body(tx, state), replay=replay)
        parts.kill.release(actor, lambda tx, new: self._keep(tx, new, once))
        return self.show()

    def _keep(self, tx: LedgerWrite, state: KillState, once: Once) -> None:
        if kept(tx, once) is None:
            tx.add_reply(once.reply(200, _body(tx, state), self._site.parts.clock.market_now()))


def _body(tx: LedgerRead, state: KillState) -> bytes:
    return JSON.encode(kill_answer(tx, state))
