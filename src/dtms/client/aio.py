"""The client for coroutines: the same contract, over httpx."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_fixed

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
from dtms.client.sync import worth_a_retry
from dtms.client.transport import AsyncTransport
from dtms.client.transport_httpx import HttpxTransport
from dtms.client.wire import NoAnswerError, Reply, Request, TransportError
from dtms.platforms.clock import boot_ns


class AsyncDtmsClient:
    """Asks the DTMS server whether a trade is under defence; alike to `DtmsClient`, method by method.

    Args:
        base_url: The DTMS server.
        now_ns: A clock that never steps and counts suspended time, in nanoseconds; ages run on it.
        sleep: Waits between the two attempts, seconds.
        http: Used in place of an own client.
        state_cache: Holds the answers of the last 10 s under `dtms_state_{ticket}`.
        last_known_cache: Holds the answers of the last 30 s, likewise.
        token: Sent as bearer token; needed off loopback.
        on_warning: Takes each warning; by default the logger `dtms.client`.
        transport: Carries the requests in place of httpx; a simulation's needs no event loop.

    Raises:
        SettingsError: `base_url` is no plain http(s) URL.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        now_ns: Callable[[], int] = boot_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        http: httpx.AsyncClient | None = None,
        state_cache: StateCache | None = None,
        last_known_cache: StateCache | None = None,
        token: str | None = None,
        on_warning: Callable[[str], None] | None = None,
        transport: AsyncTransport | None = None,
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
        self._transport: AsyncTransport = HttpxTransport(http) if transport is None else transport
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; an httpx client that was given is its giver's to close."""
        if isinstance(self._transport, HttpxTransport):
            await self._transport.aclose()

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

    async def is_defensive(self, ticket: int) -> bool:
        """Say whether DTMS alone may touch the trade; False also where nothing is known (see `StateAnswer.source`)."""
        return (await self.state(ticket)).defensive

    async def state(self, ticket: int) -> StateAnswer:
        """Return the state of one trade: fresh from the cache, else by `GET /dtms/trade/{ticket}`."""
        asked = as_ticket(ticket)
        if asked is None:
            return self._desk.bad_ticket(ticket)
        return (await self._answers([asked], key=asked))[asked]

    async def states(self, tickets: Iterable[int]) -> dict[int, StateAnswer]:
        """Return the state of each trade; those that are not fresh are asked in one `POST /dtms/states`."""
        named = {ticket: as_ticket(ticket) for ticket in tickets}
        found = await self._answers([asked for asked in named.values() if asked is not None], key=None)
        return {t: self._desk.bad_ticket(t) if asked is None else found[asked] for t, asked in named.items()}

    def apply_event(self, event: StateEvent) -> bool:
        """Take a pushed change of state; see `DtmsClient.apply_event`."""
        return self._desk.take_event(event)

    def heartbeat(self, epoch: str, sent_ns: int) -> bool:
        """Take the feed's word that nothing else has changed; see `DtmsClient.heartbeat`."""
        return self._desk.heartbeat(epoch, sent_ns)

    def feed_lost(self) -> None:
        """Say that the feed has, or may have, a gap; see `DtmsClient.feed_lost`."""
        self._desk.feed_lost()

    async def check_service(self) -> ServerIdentity:
        """Ask the service for its name; a foreign one is not believed until it names itself as the DTMS server."""
        try:
            return self._desk.identify(await self._fetch(self._desk.live_request()), "")
        except NoAnswerError as error:
            return self._desk.identify(None, str(error))

    async def _answers(self, tickets: list[int], *, key: Key) -> dict[int, StateAnswer]:
        look = self._desk.look(tickets)
        if not look.stale:
            return self._desk.fresh_answers(look)
        live: dict[int, Known] = {}
        # One at a time: whoever waits here finds the answer in the cache, or the failure in the gate.
        async with self._asking:
            while (question := self._desk.question(look, live, key)) is not None:
                live.update(await self._ask(question))
                if question.left:
                    break
        return self._desk.answers(tickets, live)

    async def _ask(self, question: Question) -> dict[int, Known]:
        attempts = ATTEMPTS
        if self._desk.foreign:
            if (await self.check_service()).identity is not Identity.OURS:
                return self._desk.settle(question, self._desk.foreign_error())
            attempts -= 1
        retrying = AsyncRetrying(
            stop=stop_after_attempt(attempts),
            wait=wait_fixed(RETRY_WAIT_S),
            retry=retry_if_exception(worth_a_retry),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            await retrying(self._attempt, question)
        except NoAnswerError as error:
            return self._desk.settle(question, error)
        return self._desk.settle(question, None)

    async def _attempt(self, question: Question) -> None:
        request = self._desk.request(question)
        sent_ns = self._now_ns()
        self._desk.take(question, await self._fetch(request), sent_ns)

    async def _fetch(self, request: Request) -> Reply:
        try:
            return await self._transport.fetch(request)
        except NoAnswerError:
            raise
        except Exception as error:
            # The contract is "never an exception", whatever a client or transport that was given does.
            msg = f"{type(error).__name__} in the transport: {error}"[:200]
            raise TransportError(msg) from error
