"""Deduplication as a machine: requests with a key, deals and outbox messages that come twice, late, and across a death.

One effect a key and body, however often it is asked for; one row a deal; one message a key until it is delivered.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.machines.sizes import in_memory, sized

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.domain.position import Deal, DealEntry, DealReason
from dtms.domain.records import OutboxKind
from dtms.domain.units import DAY, HOUR, SECOND, Millis, Side
from dtms.errors import StaleWriteError
from dtms.services.api.idempotency import Once, UnderWay, kept
from dtms.services.web.problem import Problem

START = Millis(1_750_161_600_000)
ONCES = st.builds(
    lambda key, principal, route, body: Once(
        key=key, principal=principal, route=route, body_hash=hashlib.sha256(body.encode()).hexdigest()
    ),
    key=st.sampled_from(("k1", "k2")),
    principal=st.sampled_from(("ann", "bob")),
    route=st.sampled_from(("POST /a", "POST /b")),
    body=st.sampled_from(("x", "y")),
)
END = st.sampled_from(("answered", "answered", "answer_lost", "died_before", "lost_race"))


class DiedError(Exception):
    """The process ended inside its transaction."""


@dataclass
class Kept:
    """What was answered to a name, and when."""

    body_hash: str
    body: str
    at: int


def _die() -> None:
    raise DiedError


def deal_of(number: int) -> Deal:
    return Deal(
        deal_id=number,
        order_id=number + 1,
        position=number % 3,
        symbol="EURUSD",
        side=Side.SELL,
        entry=DealEntry.OUT,
        reason=DealReason.STOP,
        volume=0.2,
        price=1.09,
        profit=-12.5,
        commission=-0.7,
        swap=0.0,
        fee=0.0,
        magic=77,
        comment="sl",
        at=START,
    )


class Dedupe(RuleBasedStateMachine):
    """One service that is asked again and again, and dies in between."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=in_memory())
        self.now = START
        self.ledger = self._opened()
        self.under_way = UnderWay()
        self.open: list[tuple[Once, ExitStack]] = []
        self.answers: dict[str, Kept] = {}
        self.effects: Counter[str] = Counter()
        self.deals: set[int] = set()
        self.messages: dict[str, str] = {}
        self.delivered: Counter[str] = Counter()

    def _opened(self) -> SqlLedger:
        path = Path(self.folder.name) / "ledger.sqlite3"
        return open_ledger(f"sqlite:///{path}", account="Demo:1", clock=lambda: self.now, epoch="test")

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()

    # ----- requests

    @rule(once=ONCES, end=END)
    def request(self, once: Once, end: str) -> None:
        """Answer one request as a route does: look, hold the key, do it and keep the answer in one transaction."""
        held = next((other for other, _ in self.open if other.name == once.name), None)
        if held is not None:
            with pytest.raises(Problem) as refused, self.under_way.enter(once):
                pytest.fail("the key was held")
            assert refused.value.status == (409 if held.body_hash == once.body_hash else 422)
            return
        with self.under_way.enter(once):
            self._answer(once, end)

    def _answer(self, once: Once, end: str) -> None:
        before = self.answers.get(once.name)
        alive = before is not None and self.now - before.at < DAY
        with self.ledger.read() as tx:
            if before is not None and before.body_hash != once.body_hash:
                if tx.reply(once.key, once.principal, once.route) is not None:
                    with pytest.raises(Problem, match="422"):
                        kept(tx, once)
                    return
                assert not alive
            found = kept(tx, once)
        if found is not None:
            assert before is not None
            assert (found.body_hash, found.body) == (once.body_hash, before.body)
            return
        assert not alive, "an answer that is not a day old was forgotten"
        self._effect(once, end)

    def _effect(self, once: Once, end: str) -> None:
        name = f"effect {sum(self.effects.values())} of {once.name}"
        try:
            with self.ledger.write() as tx:
                tx.set_fact(name, "done")
                tx.add_reply(once.reply(200, name.encode(), self.now))
                if end == "died_before":
                    _die()
        except DiedError:
            with self.ledger.read() as tx:
                assert tx.fact(name) is None
            return
        self.effects[once.name] += 1
        self.answers[once.name] = Kept(once.body_hash, name, self.now)
        if end == "lost_race":
            with pytest.raises(StaleWriteError):
                self._second_effect(once)
        # An answer that was lost on the way is asked for again by a later request of the same name.

    def _second_effect(self, once: Once) -> None:
        with self.ledger.write() as tx:
            tx.set_fact("a second effect", "done")
            tx.add_reply(once.reply(200, b"another answer", self.now))

    @rule(once=ONCES)
    def begin_slowly(self, once: Once) -> None:
        """Hold a key: the answer takes its time."""
        if any(other.name == once.name for other, _ in self.open):
            return
        holding = ExitStack()
        holding.enter_context(self.under_way.enter(once))
        self.open.append((once, holding))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), end=END)
    def finish(self, data: st.DataObject, end: str) -> None:
        place = data.draw(st.integers(0, len(self.open) - 1))
        once, holding = self.open.pop(place)
        self._answer(once, end)
        holding.close()

    # ----- deals and messages

    @rule(numbers=st.lists(st.integers(1, 12), max_size=8))
    def read_deals(self, numbers: list[int]) -> None:
        with self.ledger.write() as tx:
            added = tx.add_deals([deal_of(number) for number in numbers])
        assert added == len(set(numbers) - self.deals)
        self.deals |= set(numbers)

    @rule(key=st.sampled_from(("m1", "m2", "m3")), body=st.sampled_from(("a", "b")))
    def post(self, key: str, body: str) -> None:
        with self.ledger.write() as tx:
            tx.add_outbox(OutboxKind.REGISTER, key, body, self.now)
        self.messages.setdefault(key, body)

    @rule(reached=st.booleans())
    def deliver(self, reached: bool) -> None:
        with self.ledger.read() as tx:
            due = tx.due(self.now)
        for item in due:
            assert self.delivered[item.key] == 0
            assert item.body == self.messages[item.key]
            with self.ledger.write() as tx:
                if reached:
                    tx.done_outbox(item)
                else:
                    tx.retry_outbox(item, next_at=Millis(self.now + 5 * SECOND), error="refused")
            self.delivered[item.key] += reached
            if not reached:
                with pytest.raises(StaleWriteError), self.ledger.write() as tx:
                    tx.retry_outbox(item, next_at=self.now, error="by another that read it before")

    # ----- time and death

    @rule(by=st.sampled_from((SECOND, 6 * SECOND, HOUR, DAY - HOUR, DAY + 1)))
    def wait(self, by: int) -> None:
        self.now = Millis(self.now + by)

    @rule()
    def die_and_come_back(self) -> None:
        """Lose what only the process knew: which requests were under way."""
        self.open.clear()
        self.under_way = UnderWay()
        self.ledger.close()
        self.ledger = self._opened()

    # ----- laws

    @invariant()
    def nothing_was_done_twice_on_the_side(self) -> None:
        if hasattr(self, "ledger"):
            with self.ledger.read() as tx:
                assert tx.fact("a second effect") is None
                assert {deal.deal_id for place in range(3) for deal in tx.deals(place)} == self.deals
                waiting = {item.key for item in tx.waiting()}
            assert waiting == {key for key in self.messages if not self.delivered[key]}

    @invariant()
    def delivered_once(self) -> None:
        assert all(count <= 1 for count in getattr(self, "delivered", Counter()).values())


def test_whatever_comes_twice_is_done_once() -> None:
    run_state_machine_as_test(Dedupe, settings=sized(15, 30))
