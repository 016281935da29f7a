"""The ten and the thirty seconds of the query contract, to the millisecond, over the whole exit manager; flapping links.

A trade that DTMS says is HEDGED is left alone. When DTMS falls silent that holds for thirty seconds from the sending of
the last good question, and then not a millisecond longer: what follows is seen in the intents of the ledger.
"""

from __future__ import annotations

import pytest
from tests.app.rig import Rig

from dtms import bootstrap
from dtms.bootstrap import Exits
from dtms.client import Source
from dtms.client.fake import FakeDtms, FakeTrade, ManualClock, refuse, status_fault
from dtms.client.wire import Reply, Request
from dtms.domain.exits import ExitState
from dtms.domain.intent import Planner
from dtms.domain.policy.exits import ExitProfile
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import Millis


class RigClock(ManualClock):
    """The rig's time as the fake server's."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self._rig = rig

    def now_ns(self) -> int:
        return self._rig.clock.boot_ns()

    def sleep(self, seconds: float) -> None:
        self._rig.wait(seconds)


class Desk:
    """An exit manager over a rig, with a fake DTMS that is told what to say."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.server = FakeDtms(RigClock(self.rig))
        self.asked = 0
        parts = self.rig.parts
        desk = bootstrap.make_desk(parts, self.rig.broker, scored=False)
        self.exits: Exits = bootstrap.make_exit_manager(
            parts,
            self.rig.broker,
            desk,
            server_url="http://127.0.0.1:8001",
            sleep=self.rig.wait,
            transport=self,
        )
        self.trade = self._winning()

    def fetch(self, request: Request) -> Reply:
        self.asked += 1
        return self.server.fetch(request)

    def _winning(self) -> Trade:
        """Return a trade that breakeven wants to protect."""
        rig = self.rig
        trade = rig.managed(target=2_100.0)
        alone = ExitProfile(partial=False, trail=False)
        with rig.ledger.write() as tx:
            tx.put_exit_book(ExitState(trade_id=trade.trade_id, ticket=trade.ticket, profile_name="own", profile=alone))
        rig.wait(0.5)
        rig.price(2_018.0)
        return trade

    def says(self, state: TradeState) -> None:
        self.server.trades[self.trade.ticket] = FakeTrade(state=state, version=2)

    def proposed(self) -> int:
        """How many intents the exit manager has written."""
        return sum(intent.owner is Planner.EXITS for intent in self.rig.intents(self.trade))

    def cycle(self) -> None:
        """Run one cycle on a price that is fresh."""
        at = self.rig.clock.now
        self.rig.price(2_018.0 + at % 3 / 100)
        self.exits.manager.cycle()
        assert self.rig.clock.now - at in (0, 500)


@pytest.mark.parametrize(("age_ms", "asks"), [(9_999, 0), (10_000, 1), (10_001, 1)])
def test_the_manager_asks_again_at_ten_seconds_to_the_millisecond(age_ms: int, asks: int) -> None:
    desk = Desk()
    desk.says(TradeState.HEDGED)
    desk.cycle()
    asked = desk.asked
    desk.rig.clock.now = Millis(desk.rig.clock.now + age_ms)
    desk.cycle()
    assert (desk.asked - asked, desk.proposed()) == (asks, 0)


@pytest.mark.parametrize(
    ("age_ms", "proposed"), [(9_999, 0), (10_000, 0), (29_999, 0), (30_000, 0), (30_001, 1), (31_000, 1)]
)
def test_the_manager_defers_to_the_last_known_state_for_thirty_seconds_to_the_millisecond(
    age_ms: int, proposed: int
) -> None:
    desk = Desk()
    desk.says(TradeState.HEDGED)
    desk.cycle()
    sent_at = desk.rig.clock.now
    desk.server.fault = status_fault(401)  # not tried twice: the question takes no time
    desk.rig.clock.now = Millis(sent_at + age_ms)
    desk.cycle()
    assert (desk.proposed(), desk.exits.manager.stats.fallbacks) == (proposed, proposed)


def test_the_time_that_a_failing_question_takes_counts() -> None:
    """Asked at 29.600 s and refused twice half a second apart, nothing is known at 30.100 s any more."""
    for age_ms, proposed in ((29_500, 0), (29_501, 1)):
        desk = Desk()
        desk.says(TradeState.HEDGED)
        desk.cycle()
        sent_at = desk.rig.clock.now
        desk.server.fault = status_fault(503)
        desk.rig.clock.now = Millis(sent_at + age_ms)
        desk.cycle()
        assert desk.proposed() == proposed


def flapping(desk: Desk, seconds: int, *, defensive: bool) -> list[tuple[Source, bool]]:
    """Let the link be up for a second and down for a second, with a cycle each 5 s and a look in between."""
    seen = []
    for second in range(seconds):
        desk.server.fault = None if second % 2 == 0 else refuse
        desk.rig.price(2_018.0 + second % 3 / 100)
        if second % 5 == 0:
            desk.exits.manager.cycle()
        answer = desk.exits.client.state(desk.trade.ticket)
        seen.append((answer.source, answer.defensive))
        assert answer.defensive is defensive
        desk.rig.clock.now = Millis(desk.rig.clock.now - desk.rig.clock.now % 1_000 + 1_000)
    return seen


def test_a_link_that_flaps_for_ten_minutes_never_changes_what_is_believed_of_a_defended_trade() -> None:
    desk = Desk()
    desk.says(TradeState.HEDGED)
    seen = flapping(desk, 600, defensive=True)
    assert desk.proposed() == 0
    assert Source.DEFAULT not in {source for source, _ in seen}
    assert {Source.LIVE, Source.CACHE, Source.LAST_KNOWN} >= {source for source, _ in seen}


def test_a_link_that_flaps_proposes_nothing_twice_for_a_trade_that_is_free() -> None:
    desk = Desk()
    desk.says(TradeState.HEALTHY)
    flapping(desk, 600, defensive=False)
    desk.rig.carry_out()
    held = desk.rig.position(desk.trade.identifier)
    stops = [intent for intent in desk.rig.intents(desk.trade) if intent.owner is Planner.EXITS]
    assert held is not None
    assert len({intent.decision_id.split("v")[0] for intent in stops}) == len(stops)


def test_a_flapping_server_that_restarts_with_a_lower_version_is_not_believed_within_an_epoch() -> None:
    desk = Desk()
    desk.says(TradeState.HEDGED)
    desk.cycle()
    desk.server.trades[desk.trade.ticket] = FakeTrade(state=TradeState.HEALTHY, version=1)
    desk.rig.wait(11)
    desk.cycle()
    assert desk.proposed() == 0
    assert desk.exits.client.is_defensive(desk.trade.ticket)


def test_in_the_cycle_of_a_jump_of_the_clocks_the_exits_propose_nothing_and_in_the_next_they_do() -> None:
    desk = Desk()
    desk.says(TradeState.HEALTHY)
    desk.exits.manager._watch.frozen = True
    desk.cycle()
    assert desk.proposed() == 0
    desk.rig.wait(1)
    desk.cycle()
    assert desk.proposed() == 1
