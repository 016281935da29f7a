"""The journal as a machine: gateways that claim, send, die and come back, over a broker that applies late or not at all.

The ledger is the real one, in memory and in a file; the gateway's protocol is written out here, step by step, so that a
death may fall between any two of them. The broker is a book of which tag was applied how often.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

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
from dtms.domain.action import Action, Close, OpenHedge, Reduce, Resource, RiskDirection, SetStop, risk_of
from dtms.domain.intent import (
    IN_FLIGHT,
    INTENT_TRANSITIONS,
    Intent,
    IntentState,
    Planner,
    Precondition,
    intent_id,
    tag_of,
)
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId
from dtms.errors import IllegalTransitionError, StaleWriteError
from dtms.ports.lease import EpochOverError
from dtms.ports.ledger import LedgerRead

START = Millis(1_750_161_600_000)
_S = IntentState
ZERO = frozenset({_S.REJECTED, _S.NOT_APPLIED, _S.CANCELLED, _S.PLANNED})
ONE = frozenset({_S.APPLIED, _S.PARTIAL})
ACTIONS = st.sampled_from(("stop", "widen", "reduce", "close", "hedge"))
POSITIONS = st.sampled_from((1, 2))
FATES = st.sampled_from(("done", "part", "refused", "never", "answer_lost", "lost", "late"))
"""What becomes of a send; `late` arrives at the broker after everybody has given it up."""


def action_of(kind: str, position: int, number: int) -> Action:
    ticket = Ticket(position)
    match kind:
        case "stop":
            return SetStop(ticket=ticket, stop=Price(1.09 + number / 10_000), target=None)
        case "widen":
            return SetStop(ticket=ticket, stop=Price(1.08), target=None, widens=True)
        case "reduce":
            return Reduce(ticket=ticket, remaining=Lots(0.2))
        case "close":
            return Close(ticket=ticket)
        case _:
            return OpenHedge(ticket=ticket, side=Side.SELL, volume=Lots(0.2), stop=Price(1.2), target=None)


def trade_of(number: int) -> Trade:
    return Trade(
        trade_id=TradeId(str(number)),
        ticket=Ticket(number),
        identifier=number,
        symbol="EURUSD",
        side=Side.BUY,
        entry=1.1,
        initial_volume=Lots(0.5),
        initial_stop=Price(1.09),
        r=0.01,
        volume=Lots(0.5),
        stop=Price(1.09),
        target=None,
        state=TradeState.HEALTHY,
        state_since=START,
        version=1,
        owner=Owner.SHARED,
        registered_at=START,
    )


class Journal(RuleBasedStateMachine):
    """Gateways over one ledger, of which the newest is alive and an older one may not know that it is over."""

    in_file: ClassVar[bool] = False

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=in_memory()) if self.in_file else None
        self.ledger = self._opened()
        with self.ledger.write() as tx:
            for number in (1, 2):
                tx.add_trade(trade_of(number))
        self.epoch = 1
        self.now = START
        self.plans: list[Intent] = []
        self.history: dict[str, list[IntentState]] = {}
        self.applied: Counter[str] = Counter()
        self.late: list[str] = []
        self.in_hand: dict[str, Receipt | None] = {}
        """What the living gateway knows and the ledger does not: claimed, and perhaps answered."""
        self.epochs: list[int] = []

    def _opened(self) -> SqlLedger:
        url = "sqlite://" if self.folder is None else f"sqlite:///{Path(self.folder.name) / 'ledger.sqlite3'}"
        return open_ledger(url, account="Demo:1", clock=lambda: START, epoch="test")

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.close()
        if self.folder is not None:
            self.folder.cleanup()

    # ----- planning

    @rule(kind=ACTIONS, position=POSITIONS)
    def plan(self, kind: str, position: int) -> None:
        number = len(self.plans) + 1
        made = self._intent(kind, position, f"decision-{number}", 1, number)
        with self.ledger.write() as tx:
            assert tx.add_intent(made)
            # The same decision evaluated again in the same breath, or after a restart, is the same intent.
            assert not tx.add_intent(made)
        self.plans.append(made)

    @precondition(lambda self: self.plans)
    @rule(data=st.data())
    def decide_again(self, data: st.DataObject) -> None:
        again = data.draw(st.sampled_from(self.plans))
        with self.ledger.write() as tx:
            assert not tx.add_intent(again)

    @precondition(lambda self: self._of(_S.REJECTED, _S.NOT_APPLIED))
    @rule(data=st.data())
    def try_again(self, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(self._of(_S.REJECTED, _S.NOT_APPLIED)))
        attempt = old.attempt + 1
        key = intent_id(old.trade_id, old.decision_id, old.step, attempt, old.created_at)
        tag = tag_of(old.trade_id, old.decision_id, old.step, attempt)
        made = replace(old, intent_id=key, attempt=attempt, tag=tag, state=_S.PLANNED, receipt=None, epoch=0)
        with self.ledger.write() as tx:
            added = tx.add_intent(made)
        assert added is (key not in {plan.intent_id for plan in self.plans})
        if added:
            self.plans.append(made)

    def _intent(self, kind: str, position: int, decision: str, attempt: int, number: int) -> Intent:
        trade_id, at = TradeId(str(position)), Millis(START + number)
        return Intent(
            intent_id=intent_id(trade_id, decision, 0, attempt, at),
            trade_id=trade_id,
            position=position,
            decision_id=decision,
            step=0,
            attempt=attempt,
            action=action_of(kind, position, number),
            precondition=Precondition(stop=1.09, version=1),
            owner=Planner.DTMS,
            rule=DefenceRule.TIGHTEN,
            state=_S.PLANNED,
            tag=tag_of(trade_id, decision, 0, attempt),
            created_at=at,
            expires_at=None,
        )

    # ----- the gateway's steps

    @precondition(lambda self: self._of(_S.PLANNED))
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        self._claim(data.draw(st.sampled_from(self._of(_S.PLANNED))))

    def _claim(self, planned: Intent) -> None:
        rivals = self._rivals(planned)
        with self.ledger.write() as tx:
            claimed = tx.claim(planned, epoch=self.epoch, now=self.now)
        assert (claimed is None) is bool(rivals)
        if claimed is not None:
            self.epochs.append(claimed.epoch)
            self.in_hand[claimed.intent_id] = None

    @precondition(lambda self: self._of(_S.PLANNED) and self.epochs and self.epochs[-1] > 1)
    @rule(data=st.data())
    def claim_by_one_that_is_over(self, data: st.DataObject) -> None:
        planned = data.draw(st.sampled_from(self._of(_S.PLANNED)))
        with pytest.raises(EpochOverError), self.ledger.write() as tx:
            tx.claim(planned, epoch=self.epochs[-1] - 1, now=self.now)

    @rule(kind=ACTIONS, position=POSITIONS, fates=st.lists(FATES, min_size=1, max_size=4), dies=st.integers(0, 9))
    def work(self, kind: str, position: int, fates: list[str], dies: int) -> None:
        """Plan one more and do what a gateway does with all that is there, dying after so many steps, or not at all."""
        self.plan(kind, position)
        steps = 0
        for intent, fate in zip(self._of(_S.PLANNED), fates, strict=False):
            if self._rivals(intent):
                self._claim(intent)  # in vain
                continue
            for step in (self._claim, lambda one, fate=fate: self._send(one.intent_id, fate), self._conclude):
                if steps == dies:
                    self.die_and_come_back()
                    return
                steps += 1
                step(intent)

    @precondition(lambda self: any(known is None for known in self.in_hand.values()))
    @rule(data=st.data(), fate=FATES)
    def send(self, data: st.DataObject, fate: str) -> None:
        self._send(data.draw(st.sampled_from([key for key, known in self.in_hand.items() if known is None])), fate)

    def _send(self, key: str, fate: str) -> None:
        intent = self._read(key)
        match fate:
            case "done" | "part":
                self._apply(intent.tag)
                outcome = Outcome.APPLIED if fate == "done" else Outcome.PARTIAL
                self.in_hand[key] = Receipt(outcome=outcome, code=10009 if fate == "done" else 10010, filled=0.1)
            case "refused":
                self.in_hand[key] = Receipt(outcome=Outcome.REJECTED, code=10016, rejection=Rejection.INVALID_STOPS)
            case "never":
                self.in_hand[key] = Receipt(outcome=Outcome.REJECTED, code=0, rejection=Rejection.NOT_SENT)
            case _:
                if fate == "answer_lost":
                    self._apply(intent.tag)
                elif fate == "late":
                    self.late.append(intent.tag)
                self._save(replace(intent, state=_S.UNKNOWN, reason="no answer"), _S.SENDING)
                del self.in_hand[key]

    @precondition(lambda self: any(self.in_hand.values()))
    @rule(data=st.data())
    def record_the_answer(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([key for key, known in self.in_hand.items() if known is not None]))
        self._record(key)

    def _conclude(self, intent: Intent) -> None:
        """Write the answer down where there was one, and read back what it says."""
        if self.in_hand.get(intent.intent_id) is not None:
            self._record(intent.intent_id)
        present = self._read(intent.intent_id)
        if present.state is _S.ACKED:
            self._verify(present, read_back=True)

    def _record(self, key: str) -> None:
        receipt = self.in_hand.pop(key)
        assert receipt is not None
        following = _S.REJECTED if receipt.outcome is Outcome.REJECTED else _S.ACKED
        self._save(replace(self._read(key), state=following, receipt=receipt), _S.SENDING)

    @precondition(lambda self: self._of(_S.ACKED))
    @rule(data=st.data(), read_back=st.booleans())
    def verify(self, data: st.DataObject, read_back: bool) -> None:
        self._verify(data.draw(st.sampled_from(self._of(_S.ACKED))), read_back=read_back)

    def _verify(self, acked: Intent, *, read_back: bool) -> None:
        assert acked.receipt is not None
        proved = _S.PARTIAL if acked.receipt.outcome is Outcome.PARTIAL else _S.APPLIED
        self._save(replace(acked, state=proved if read_back else _S.UNKNOWN, settled_at=self.now), _S.ACKED)

    @precondition(lambda self: self._of(_S.UNKNOWN))
    @rule(data=st.data(), patience=st.sampled_from(("wait", "wait", "quarantine")))
    def settle(self, data: st.DataObject, patience: str) -> None:
        unknown = data.draw(st.sampled_from(self._of(_S.UNKNOWN)))
        if self.applied[unknown.tag]:
            part = unknown.receipt is not None and unknown.receipt.outcome is Outcome.PARTIAL
            self._save(replace(unknown, state=_S.PARTIAL if part else _S.APPLIED), _S.UNKNOWN)
        elif patience == "quarantine":
            self._save(replace(unknown, state=_S.QUARANTINED), _S.UNKNOWN)
        elif unknown.tag not in self.late:  # the settle window has passed and nothing is in flight
            self._save(replace(unknown, state=_S.NOT_APPLIED), _S.UNKNOWN)

    @precondition(lambda self: self._of(_S.QUARANTINED))
    @rule(data=st.data())
    def decide_by_hand(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self._of(_S.QUARANTINED)))
        if held.tag not in self.late:
            self._save(replace(held, state=_S.APPLIED if self.applied[held.tag] else _S.NOT_APPLIED), _S.QUARANTINED)

    @precondition(lambda self: self._of(_S.PLANNED))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        planned = data.draw(st.sampled_from(self._of(_S.PLANNED)))
        self._save(replace(planned, state=_S.CANCELLED), _S.PLANNED)

    @precondition(lambda self: self.late)
    @rule()
    def arrive_late(self) -> None:
        self._apply(self.late.pop(0))

    @rule()
    def die_and_come_back(self) -> None:
        """Lose what only the process knew; the next one calls everything that was on its way unknown."""
        self.in_hand.clear()
        if self.in_file:
            self.ledger.close()
            self.ledger = self._opened()
        self.epoch += 1
        for sending in self._of(_S.SENDING):
            self._save(replace(sending, state=_S.UNKNOWN, reason="the gateway died"), _S.SENDING)

    # ----- what may not be

    @precondition(lambda self: self.plans)
    @rule(data=st.data(), expected=st.sampled_from(IntentState), wanted=st.sampled_from(IntentState))
    def go_another_way(self, data: st.DataObject, expected: IntentState, wanted: IntentState) -> None:
        intent = self._read(data.draw(st.sampled_from(self.plans)).intent_id)
        declared = wanted in INTENT_TRANSITIONS[expected] and wanted is not _S.SENDING
        if declared and intent.state is expected:
            return
        with (
            pytest.raises(StaleWriteError if declared else IllegalTransitionError),
            self.ledger.write() as tx,
        ):
            tx.save_intent(replace(intent, state=wanted), expected=expected)
        assert self._read(intent.intent_id) == intent

    # ----- laws

    @invariant()
    def exactly_once(self) -> None:
        for intent in self._all():
            count = self.applied[intent.tag]
            assert count <= 1
            if intent.state in ONE:
                assert count == 1
            if intent.state in ZERO:
                assert (count, intent.tag in self.late) == (0, False)
        stems = Counter(
            tag.split("z")[0] if tag.rsplit("z", 1)[-1].isdigit() else tag for tag in self.applied.elements()
        )
        assert all(count <= 1 for count in stems.values())

    @invariant()
    def one_intent_a_decision_and_attempt(self) -> None:
        everything = self._all()
        assert len({(i.trade_id, i.decision_id, i.step, i.attempt) for i in everything}) == len(everything)
        assert {i.intent_id for i in everything} == {plan.intent_id for plan in getattr(self, "plans", [])}

    @invariant()
    def only_the_tables_ways(self) -> None:
        for intent in self._all():
            seen = self.history.setdefault(intent.intent_id, [_S.PLANNED])
            if seen[-1] is not intent.state:
                assert _reachable(seen[-1], intent.state), (seen, intent.state)
                seen.append(intent.state)

    @invariant()
    def one_at_a_time_a_resource(self) -> None:
        """At most one that may still be sent; beside one in doubt only what reduces risk."""
        by_resource: dict[tuple[int | None, Resource], list[Intent]] = {}
        for intent in self._of(*IN_FLIGHT):
            by_resource.setdefault((intent.position, intent.resource), []).append(intent)
        for flying in by_resource.values():
            assert sum(intent.state is _S.SENDING for intent in flying) <= 1
            assert sum(risk_of(intent.action) is not RiskDirection.REDUCE for intent in flying) <= 1

    @invariant()
    def epochs_never_fall(self) -> None:
        assert getattr(self, "epochs", []) == sorted(getattr(self, "epochs", []))

    # ----- the book-keeping

    def _apply(self, tag: str) -> None:
        """Let the broker act; the write-ahead must be on the disk, seen through a connection of its own."""
        with self._witness() as tx:
            waiting = [i for i in tx.intents(limit=1_000) if i.tag == tag]
        assert [i.state in IN_FLIGHT or i.state is _S.QUARANTINED for i in waiting] == [True]
        self.applied[tag] += 1

    @contextmanager
    def _witness(self) -> Iterator[LedgerRead]:
        """Look through a connection of its own, or the machine's where there is but one."""
        ledger = self._opened() if self.in_file else self.ledger
        try:
            with ledger.read() as tx:
                yield tx
        finally:
            if ledger is not self.ledger:
                ledger.close()

    def _rivals(self, planned: Intent) -> list[Intent]:
        """What the claim must wait for, by the rules of the journal in words of its own."""
        reduces = risk_of(planned.action) is RiskDirection.REDUCE
        whole = isinstance(planned.action, Close)
        found = []
        for other in self._of(_S.SENDING, _S.UNKNOWN, _S.QUARANTINED):
            if other.position != planned.position:
                continue
            same = other.resource is planned.resource
            stop = planned.resource is Resource.STOP
            passes = reduces and (stop or whole)
            blocked = (
                (other.state is _S.SENDING and same)
                or (other.state is _S.UNKNOWN and same and not passes)
                or (other.state is _S.QUARANTINED and not reduces)
            )
            if blocked:
                found.append(other)
        return found

    def _save(self, intent: Intent, expected: IntentState) -> None:
        with self.ledger.write() as tx:
            tx.save_intent(intent, expected=expected)

    def _read(self, key: str) -> Intent:
        with self.ledger.read() as tx:
            found = tx.intent(key)
        assert found is not None
        return found

    def _all(self) -> Sequence[Intent]:
        if not hasattr(self, "plans"):
            return ()
        with self.ledger.read() as tx:
            return tx.intents(limit=1_000)

    def _of(self, *states: IntentState) -> list[Intent]:
        return [intent for intent in self._all() if intent.state in states]


def _reachable(start: IntentState, end: IntentState) -> bool:
    """Say whether the table leads from one state to another; one rule may take two steps."""
    if end in INTENT_TRANSITIONS[start]:
        return True
    return any(_reachable(between, end) for between in INTENT_TRANSITIONS[start])


class JournalInFile(Journal):
    """The same over a file that is closed and opened again with each death."""

    in_file = True


def test_the_journal_in_memory_keeps_its_laws_whatever_gateways_and_broker_do() -> None:
    run_state_machine_as_test(Journal, settings=sized(30, 40))


def test_the_journal_in_a_file_keeps_its_laws_through_every_death() -> None:
    run_state_machine_as_test(JournalInFile, settings=sized(8, 30))
