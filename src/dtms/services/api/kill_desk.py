"""The kill switch over HTTP: pressed and let go, each once a key. Blocking."""

from __future__ import annotations

from dtms.app.kill import KillState
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerError, StaleWriteError
from dtms.ports.ledger import LedgerWrite
from dtms.services.api.exits_desk import Kept
from dtms.services.api.idempotency import Once, kept
from dtms.services.api.parts import ApiSite
from dtms.services.api.views import JSON, kill_answer
from dtms.services.web.problem import Problem


class KillDesk:
    """Presses the switch of one site."""

    def __init__(self, site: ApiSite) -> None:
        self._site = site

    def press(self, level: KillLevel, once: Once) -> Kept:
        """Press it: 200 with the state. At `flatten` the first closing steps are written before the answer.

        Raises:
            Problem: 422 the key was used for another level; 503 the file is written but the ledger cannot be: the level
                holds as soon as it can, and until then nothing is sent at all.
        """
        parts = self._site.parts
        before = self._before(once)
        if before is not None:
            return before
        try:
            state = parts.kill.press(level, once.principal, lambda tx, new: self._keep(tx, new, once))
        except StaleWriteError:
            raise
        except LedgerError as error:
            detail = (
                "The ledger cannot be written now. The kill switch's file is, where there is one: the level holds as soon "
                "as the ledger can be written, and until then nothing is sent."
            )
            raise Problem(503, "kill_switch_pending", detail, headers={"Retry-After": "1"}) from error
        parts.kill.enforce()
        return 200, JSON.encode(kill_answer(state)), False

    def release(self, actor: str, once: Once | None) -> Kept:
        """Let it go: 200 with the state."""
        parts = self._site.parts
        if once is None:
            return 200, JSON.encode(kill_answer(parts.kill.release(actor))), False
        before = self._before(once)
        if before is not None:
            return before
        state = parts.kill.release(actor, lambda tx, new: self._keep(tx, new, once))
        return 200, JSON.encode(kill_answer(state)), False

    def _before(self, once: Once) -> Kept | None:
        with self._site.parts.ledger.read() as tx:
            reply = kept(tx, once)
        return None if reply is None else (reply.status, reply.body.encode(), True)

    def _keep(self, tx: LedgerWrite, state: KillState, once: Once) -> None:
        now = self._site.parts.clock.market_now()
        tx.add_reply(once.reply(200, JSON.encode(kill_answer(state)), now))
