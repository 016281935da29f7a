"""POST /api/trades: from the request to a protected trade, or to the word that it will be one.

Whatever happens after the intent is written, the answer can be given again: the marker that stands beside the intent leads
a repeated request to it, also after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from dtms.app.commands.opening_checks import OpeningRefusedError
from dtms.app.commands.outbox import Delivery
from dtms.domain.intent import Intent, IntentState
from dtms.domain.records import Reply
from dtms.errors import LedgerError, StaleWriteError
from dtms.services.api import rejections, wire
from dtms.services.api.bodies import OpenBody
from dtms.services.api.idempotency import Once, Replay, UnderWay, answer_of, begun, kept, once_of, trade_now
from dtms.services.api.parts import ApiSite
from dtms.services.api.views import JSON, Views
from dtms.services.web.offload import Offload
from dtms.services.web.problem import Problem, request_id_of

ROUTE = "POST /api/trades"

_WITHOUT_POSITION = frozenset({IntentState.REJECTED, IntentState.CANCELLED, IntentState.NOT_APPLIED})


@dataclass(frozen=True, slots=True)
class _Told:
    """A repeated answer, or the intent to wait for."""

    reply: Reply | None = None
    replay: Replay | None = None
    intent_id: str = ""


class OpenTradeHandler:
    """Answers the requests that open trades."""

    def __init__(self, site: ApiSite, views: Views, offload: Offload) -> None:
        self._site = site
        self._views = views
        self._offload = offload
        self._under_way = UnderWay()

    async def open(self, request: Request, body: OpenBody) -> Response:
        """Open and protect.

        Raises:
            Problem: It was not opened, or the key is not usable.
        """
        once = once_of(request, ROUTE, body)
        with self._under_way.enter(once):
            told = await self._offload(partial(self._known, once))
            if told is None:
                told = await self._offload(partial(self._plan, once, body))
            if told.reply is not None:
                return answer_of(told.reply, told.replay)
            parts = self._site.parts
            await parts.wait_until(partial(parts.opening.ended, told.intent_id), parts.open_timeout_s)
            status, answer = await self._offload(partial(self._conclude, told.intent_id, request_id_of(request.scope)))
            reply = await self._offload(partial(self._keep, once, status, answer))
            return answer_of(reply)

    def _known(self, once: Once) -> _Told | None:
        with self._site.parts.ledger.read() as tx:
            reply = kept(tx, once)
            if reply is not None:
                return _Told(reply=reply, replay=Replay(at=reply.created_at, now=trade_now(tx, reply)))
            marker = begun(tx, once)
        return None if marker is None else _Told(intent_id=marker.body)

    def _plan(self, once: Once, body: OpenBody) -> _Told:
        parts = self._site.parts
        now = parts.clock.market_now()
        try:
            intent = parts.opening.plan(
                body.order(),
                request=once.name,
                actor=once.principal,
                also=lambda tx, planned: tx.add_reply(once.begun(planned.intent_id, now)),
            )
        except OpeningRefusedError as error:
            raise rejections.of_refusal(error) from error
        return _Told(intent_id=intent.intent_id)

    def _conclude(self, intent_id: str, request_id: str) -> tuple[int, bytes]:
        """Return the answer for the intent as it stands: opened, refused, or pending."""
        parts = self._site.parts
        intent = parts.opening.withdraw(intent_id)
        if intent.state in _WITHOUT_POSITION:
            # The outbox has nothing to register; it need not find that out by itself.
            parts.outbox.deliver(intent_id)
            problem = rejections.of_intent(intent)
            return problem.status, problem.body(request_id)
        delivery = parts.outbox.deliver(intent_id)
        if delivery.trade is not None:
            try:
                return 201, JSON.encode(self._views.opened(delivery.trade.ticket, intent_id))
            except Problem:
                delivery = Delivery(done=True, ticket=delivery.ticket, reason="it was released in this moment")
        if delivery.done:
            problem = _over(intent, delivery)
            return problem.status, problem.body(request_id)
        return 202, JSON.encode(self._pending(intent, delivery))

    def _pending(self, intent: Intent, delivery: Delivery) -> wire.PendingAnswer:
        return wire.PendingAnswer(
            epoch=self._views.epoch,
            intent_id=intent.intent_id,
            intent_state=intent.state.value,
            protection="pending",
            ticket=delivery.ticket,
            reason=delivery.reason,
        )

    def _keep(self, once: Once, status: int, answer: bytes) -> Reply:
        """Keep the answer for repetitions; where that fails now, the marker leads a repetition to the same intent."""
        parts = self._site.parts
        reply = once.reply(status, answer, parts.clock.market_now())
        try:
            with parts.ledger.write() as tx:
                tx.add_reply(reply)
        except StaleWriteError:
            with parts.ledger.read() as tx:
                first = kept(tx, once)
            return reply if first is None else first
        except LedgerError:
            return reply
        return reply


def _over(intent: Intent, delivery: Delivery) -> Problem:
    detail = f"It was opened and is not managed any more: {delivery.reason or 'it was closed already'}."
    return Problem(409, "over_already", detail, extra={"intent_id": intent.intent_id, "ticket": delivery.ticket})
