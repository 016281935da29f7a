"""The contract without I/O: what must be asked, what an answer means, what to say when none comes.

`DtmsClient` and `AsyncDtmsClient` only carry requests for it, so the two cannot differ. Its methods may be called from
several threads (a feed pushes while a cycle asks).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from threading import RLock
from typing import Final

from dtms.client.contract import (
    MAX_TICKET,
    MAX_TICKETS_A_REQUEST,
    SECOND_NS,
    SERVICE_NAME,
    TIMEOUT_S,
    Identity,
    Known,
    ServerIdentity,
    Source,
    StateAnswer,
    StateEvent,
    answer_of,
    default_answer,
)
from dtms.client.gate import Key, Outages, ProbeGate
from dtms.client.inputs import checked_base_url
from dtms.client.memory import Memory, StateCache, new_last_known_cache, new_state_cache
from dtms.client.stats import ClientStats, Count, snapshot
from dtms.client.wire import (
    NoAnswerError,
    NotInDtms,
    Reply,
    Request,
    Requests,
    read_service_name,
    read_states,
    read_trade,
)

_LOG: Final = logging.getLogger("dtms.client")
_TIMEOUT_NS: Final = int(TIMEOUT_S * SECOND_NS)


@dataclass(slots=True, kw_only=True)
class Question:
    """One question, over all its attempts: `left` are the tickets that have no good answer yet."""

    key: Key
    left: tuple[int, ...]
    attempts: int = 0
    answered: dict[int, Known] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was freshly known at one instant, and what was not; `settled` counts the questions settled before."""

    now: int
    settled: int
    fresh: dict[int, Known]
    stale: tuple[int, ...]


class QueryProtocol:
    """Everything between "is this trade defensive?" and the wire."""

    def __init__(
        self,
        *,
        base_url: str,
        now_ns: Callable[[], int],
        state_cache: StateCache | None,
        last_known_cache: StateCache | None,
        token: str | None,
        on_warning: Callable[[str], None] | None,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        self._now_ns = now_ns
        self._requests = Requests(self.base_url, token)
        self._memory = Memory(
            new_state_cache(now_ns) if state_cache is None else state_cache,
            new_last_known_cache(now_ns) if last_known_cache is None else last_known_cache,
        )
        self._gate = ProbeGate()
        self._outages = Outages()
        self._counts: Counter[Count] = Counter()
        self._settled = 0
        self._on_warning = _LOG.warning if on_warning is None else on_warning
        self._foreign: str | None = None
        self._foreign_404_warned = False
        self._lock = RLock()

    @property
    def stats(self) -> ClientStats:
        """Return the counters."""
        with self._lock:
            return snapshot(self._counts)

    @property
    def outage(self) -> str | None:
        """Return why the present outage began, None while the service answers."""
        with self._lock:
            return self._outages.reason

    @property
    def foreign(self) -> bool:
        """Say whether another service was last seen behind the address."""
        return self._foreign is not None

    def begin_cycle(self) -> None:
        """Allow one failed question again."""
        with self._lock:
            self._gate.begin_cycle()

    def look(self, tickets: Iterable[int]) -> Look:
        """Return what is freshly known of the tickets, and which of them must be asked about."""
        with self._lock:
            now = self._now_ns()
            found = {ticket: self._memory.fresh(ticket, now) for ticket in tickets}
            return Look(
                now=now,
                settled=self._settled,
                fresh={ticket: known for ticket, known in found.items() if known is not None},
                stale=tuple(ticket for ticket, known in found.items() if known is None),
            )

    def question(self, look: Look, answered: Container[int], key: Key) -> Question | None:
        """Return the next question about what was stale, None where nothing is left or may be asked now."""
        with self._lock:
            left = tuple(ticket for ticket in look.stale if ticket not in answered)
            if self._settled != look.settled:
                # Somebody else asked while this caller waited for its turn.
                left = self.look(left).stale
            allowed = self._gate.allowed(left, key, look.now, self._now_ns())
            self._counts[Count.WITHHELD] += len(left) - len(allowed)
            if not allowed:
                return None
            self._counts[Count.PROBES] += 1
            return Question(key=key, left=allowed[:MAX_TICKETS_A_REQUEST])

    def request(self, question: Question) -> Request:
        """Return the request of the question's next attempt."""
        with self._lock:
            question.attempts += 1
            self._counts[Count.REQUESTS] += 1
            self._counts[Count.RETRIES] += question.attempts > 1
            return self._requests.states(question.left) if question.key is None else self._requests.trade(question.key)

    def take(self, question: Question, reply: Reply, sent_ns: int) -> None:
        """Remember what the reply says.

        Raises:
            NoAnswerError: It is not as agreed for at least one ticket, or came later than the time-out.
        """
        with self._lock:
            if self._now_ns() - sent_ns > _TIMEOUT_NS:
                # The transport's own time-out stands still while the machine sleeps.
                msg = f"the answer came after more than {TIMEOUT_S} s"
                raise NoAnswerError(msg, retry=True, wide=True)
            if question.key is None:
                found = read_states(reply, question.left, sent_ns)
            else:
                found = {question.key: read_trade(reply, question.key, sent_ns)}
            for ticket, said in found.items():
                known = self._remember(ticket, said, sent_ns)
                if known is not None:
                    question.answered[ticket] = known
            question.left = tuple(ticket for ticket in question.left if ticket not in question.answered)
            if question.left:
                msg = (
                    f"nothing usable about trade {question.left[0]} (of {len(question.left)}): left out, contradictory, not"
                    " as agreed, or of a lower version than one seen"
                )
                raise NoAnswerError(msg, retry=True, wide=False)

    def settle(self, question: Question, error: NoAnswerError | None) -> dict[int, Known]:
        """Note how the question ended; return what was answered."""
        with self._lock:
            self._settled += 1
            if question.answered or error is None:
                self._gate.succeeded(question.answered)
                self._outages.ended(question.answered)
            if error is not None:
                # Nobody answered at all is an outage of the service, however polite the refusal was.
                wide = not question.answered and (error.wide or question.key is None)
                self._counts[Count.FAILED_PROBES] += 1
                self._gate.failed(question.left, question.key, wide=wide, now=self._now_ns())
                self._outages.began(question.left, str(error), wide=wide)
            return question.answered

    def fresh_answers(self, look: Look) -> dict[int, StateAnswer]:
        """Return the answers of a look that found everything."""
        with self._lock:
            return self._counted({t: answer_of(known, Source.CACHE, look.now) for t, known in look.fresh.items()})

    def answers(self, tickets: Iterable[int], live: dict[int, Known]) -> dict[int, StateAnswer]:
        """Return the answer for each ticket, with the age that it has now."""
        with self._lock:
            now = self._now_ns()
            return self._counted(
                {
                    ticket: self._remembered(ticket, now)
                    if ticket not in live
                    else answer_of(live[ticket], Source.LIVE, now)
                    for ticket in tickets
                }
            )

    def bad_ticket(self, ticket: object) -> StateAnswer:
        """Return the default for what cannot be a ticket; it is never asked about."""
        with self._lock:
            self._counts[Count.BAD_TICKETS] += 1
            self._warn(f"{ticket!r:.40} is not a ticket (an integer from 1 to {MAX_TICKET}): treated as not defensive")
            self._counts[Count.DEFAULT] += 1
            return default_answer(ticket if isinstance(ticket, int) else 0)

    def take_event(self, event: StateEvent) -> bool:
        """Take a pushed change; False where it is refused."""
        with self._lock:
            taken = event.sent_ns <= self._now_ns() and self._memory.take_event(event)
            self._counts[Count.EVENTS if taken else Count.REFUSED_EVENTS] += 1
            return taken

    def heartbeat(self, epoch: str, sent_ns: int) -> bool:
        """Take the feed's word that nothing else has changed; False where its instant lies ahead of our clock."""
        with self._lock:
            taken = sent_ns <= self._now_ns()
            if taken:
                self._memory.heartbeat(epoch, sent_ns)
            self._counts[Count.HEARTBEATS if taken else Count.REFUSED_EVENTS] += 1
            return taken

    def feed_lost(self) -> None:
        """Stop believing heartbeats about what is known now."""
        with self._lock:
            self._memory.feed_lost()

    def live_request(self) -> Request:
        """Return the request for the service's name."""
        return self._requests.live()

    def identify(self, reply: Reply | None, failure: str) -> ServerIdentity:
        """Return whose service it is; a foreign one is not believed until it names itself as ours."""
        with self._lock:
            if reply is None:
                return ServerIdentity(identity=Identity.UNKNOWN, name=None, detail=failure)
            try:
                name = read_service_name(reply)
            except NoAnswerError as error:
                return ServerIdentity(identity=Identity.UNKNOWN, name=None, detail=str(error))
            if name == SERVICE_NAME:
                self._foreign = None
                return ServerIdentity(identity=Identity.OURS, name=name, detail=f"{self.base_url} is {name}")
            self._foreign = f"{self.base_url} is {name!r:.60}, not {SERVICE_NAME!r}; set the DTMS server's URL"
            return ServerIdentity(identity=Identity.FOREIGN, name=name, detail=self._foreign)

    def foreign_error(self) -> NoAnswerError:
        """Return why a foreign service is not asked."""
        return NoAnswerError(str(self._foreign), retry=False, wide=True)

    def _remember(self, ticket: int, said: Known | NotInDtms, sent_ns: int) -> Known | None:
        if isinstance(said, Known):
            if self._memory.take(said):
                self._foreign_404_warned = False
                return said
            self._counts[Count.REFUSED_VERSIONS] += 1
            return None
        self._counts[Count.NOT_IN_DTMS] += 1
        if not said.ours:
            self._counts[Count.FOREIGN_404] += 1
            if not self._foreign_404_warned:
                self._foreign_404_warned = True
                self._warn(
                    f"{self.base_url} answered 404 for trade {ticket} without the code of DTMS: taken as not in DTMS, not"
                    " defensive. Check that the URL is the DTMS server's"
                )
        return self._memory.take_absence(ticket, sent_ns)

    def _remembered(self, ticket: int, now: int) -> StateAnswer:
        fresh = self._memory.fresh(ticket, now)
        if fresh is not None:
            return answer_of(fresh, Source.CACHE, now)
        last = self._memory.last_known(ticket, now)
        if last is not None:
            return answer_of(last, Source.LAST_KNOWN, now)
        reason = self._outages.warning_for(ticket)
        if reason is not None:
            self._warn(
                f"DTMS at {self.base_url} gives no usable answer ({reason}) and nothing is known of trade {ticket}: treated"
                " as not defensive, and so is every trade that nothing is known of until DTMS answers. Check that the DTMS"
                " server runs"
            )
        return default_answer(ticket)

    def _counted(self, answers: dict[int, StateAnswer]) -> dict[int, StateAnswer]:
        for source, number in Counter(answer.source for answer in answers.values()).items():
            self._counts[Count(source.value)] += number
        self._counts[Count.DEFERRALS] += sum(answer.defensive for answer in answers.values())
        return answers

    def _warn(self, message: str) -> None:
        self._counts[Count.WARNINGS] += 1
        try:
            self._on_warning(message)
        except Exception:  # noqa: BLE001 - a caller's callback must not turn an answer into an exception; it is counted
            self._counts[Count.LOST_WARNINGS] += 1
