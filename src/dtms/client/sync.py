"""The blocking client: for programs whose cycle is synchronous, the exit manager's above all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import RLock
from types import TracebackType
from typing import Self

import requests
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from dtms.client.contract import (
    ATTEMPTS,
    DEFAULT_BASE_URL,
    RETRY_WAIT_S,
    Identity,
    Known,
    ServerIdentity,
    StateAnswer,
    StateEvent,
)
from dtms.client.desk import QueryProtocol, Question
from dtms.client.gate import Key
from dtms.client.inputs import as_ticket
from dtms.client.memory import StateCache
from dtms.client.stats import ClientStats
from dtms.client.transport import RequestsTransport, Transport
from dtms.client.wire import NoAnswerError, Reply, Request, TransportError
from dtms.platforms.clock import boot_ns


def worth_a_retry(error: BaseException) -> bool:
    """Say whether a second attempt may go better."""
    return isinstance(error, NoAnswerError) and error.retry


class DtmsClient:
    """Asks the DTMS server whether a trade is under defence.

        from dtms.client import DtmsClient
        dtms = DtmsClient()
        if not dtms.is_defensive(ticket): ...

    No method of it raises because the service is down, slow or wrong. A program with many trades calls `begin_cycle()`
    and then `states(tickets)` once a cycle: one request, and one failed question at most. One that only ever calls
    `is_defensive` is spared too: after a failed question no other trade is asked about for 1 s.

    Args:
        base_url: The DTMS server.
        now_ns: A clock that never steps and counts suspended time, in nanoseconds; ages run on it.
        sleep: Waits between the two attempts, seconds.
        session: Used in place of an own one; with one's own adapters a cut-off request may linger a while in its thread.
        state_cache: Holds the answers of the last 10 s under `dtms_state_{ticket}`.
        last_known_cache: Holds the answers of the last 30 s, likewise.
        token: Sent as bearer token; needed off loopback.
        on_warning: Takes each warning; by default the logger `dtms.client`.
        transport: Carries the requests in place of `requests`; a simulation's has no threads.

    Raises:
        SettingsError: `base_url` is no plain http(s) URL.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        now_ns: Callable[[], int] = boot_ns,
        sleep: Callable[[float], None] = time.sleep,
        session: requests.Session | None = None,
        state_cache: StateCache | None = None,
        last_known_cache: StateCache | None = None,
        token: str | None = None,
        on_warning: Callable[[str], None] | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._desk = QueryProtocol(
            base_url=base_url,
            now_ns=now_ns,
            state_cache=state_cache,
            last_known_cache=last_known_cache,
            token=token,
            on_warning=on_warning,
        )
        self._now_ns = now_ns
        self._sleep = sleep
        self._transport: Transport = RequestsTransport(session) if transport is None else transport
        self._asking = RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: no connection outlives its request; here so that both clients end alike."""

    @property
    def stats(self) -> ClientStats:
        """Return what was counted so far."""
        return self._desk.stats

    @property
    def outage(self) -> str | None:
        """Return why the present outage began, None while the service answers."""
        return self._desk.outage

    def begin_cycle(self) -> None:
        """Start a cycle: within it, one question may fail, and nothing more is asked after that."""
        self._desk.begin_cycle()

    def is_defensive(self, ticket: int) -> bool:
        """Say whether DTMS alone may touch the trade; False also where nothing is known (see `StateAnswer.source`)."""
        return self.state(ticket).defensive

    def state(self, ticket: int) -> StateAnswer:
        """Return the state of one trade: fresh from the cache, else by `GET /dtms/trade/{ticket}`."""
        asked = as_ticket(ticket)
        if asked is None:
            return self._desk.bad_ticket(ticket)
        return self._answers([asked], key=asked)[asked]

    def states(self, tickets: Iterable[int]) -> dict[int, StateAnswer]:
        """Return the state of each trade; those that are not fresh are asked in one `POST /dtms/states`."""
        named = {ticket: as_ticket(ticket) for ticket in tickets}
        found = self._answers([asked for asked in named.values() if asked is not None], key=None)
        return {t: self._desk.bad_ticket(t) if asked is None else found[asked] for t, asked in named.items()}

    def apply_event(self, event: StateEvent) -> bool:
        """Take a pushed change of state; False where it is refused (a lower version, an instant ahead of our clock)."""
        return self._desk.take_event(event)

    def heartbeat(self, epoch: str, sent_ns: int) -> bool:
        """Take the feed's word that nothing has changed until `sent_ns` (boot-time clock) but what it pushed.

        It refreshes the ages of all that was learned since the feed is up. Not to be called between a reconnection and
        the last replayed event.
        """
        return self._desk.heartbeat(epoch, sent_ns)

    def feed_lost(self) -> None:
        """Say that the feed has, or may have, a gap: what is known now ages again and is asked for."""
        self._desk.feed_lost()

    def check_service(self) -> ServerIdentity:
        """Ask the service for its name; a foreign one is not believed until it names itself as the DTMS server."""
        try:
            return self._desk.identify(self._fetch(self._desk.live_request()), "")
        except NoAnswerError as error:
            return self._desk.identify(None, str(error))

    def _answers(self, tickets: list[int], *, key: Key) -> dict[int, StateAnswer]:
        look = self._desk.look(tickets)
        if not look.stale:
            return self._desk.fresh_answers(look)
        live: dict[int, Known] = {}
        # One at a time: whoever waits here finds the answer in the cache, or the failure in the gate.
        with self._asking:
            while (question := self._desk.question(look, live, key)) is not None:
                live.update(self._ask(question))
                if question.left:
                    break
        return self._desk.answers(tickets, live)

    def _ask(self, question: Question) -> dict[int, Known]:
        attempts = ATTEMPTS
        if self._desk.foreign:
            if self.check_service().identity is not Identity.OURS:
                return self._desk.settle(question, self._desk.foreign_error())
            attempts -= 1
        retrying = Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_fixed(RETRY_WAIT_S),
            retry=retry_if_exception(worth_a_retry),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            retrying(self._attempt, question)
        except NoAnswerError as error:
            return self._desk.settle(question, error)
        return self._desk.settle(question, None)

    def _attempt(self, question: Question) -> None:
        request = self._desk.request(question)
        sent_ns = self._now_ns()
        self._desk.take(question, self._fetch(request), sent_ns)

    def _fetch(self, request: Request) -> Reply:
        try:
            return self._transport.fetch(request)
        except NoAnswerError:
            raise
        except Exception as error:
            # The contract is "never an exception", whatever a session or transport that was given does; the failure is
            # counted and warned about like any other.
            msg = f"{type(error).__name__} in the transport: {error}"[:200]
            raise TransportError(msg) from error
