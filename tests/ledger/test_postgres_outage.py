"""A PostgreSQL server that goes away in the middle of the gateway's work and comes back: nothing is sent blind or twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.app.rig import Rig
from tests.ledger.choice import CHOSEN
from tests.ledger.servers import Server, run_sql, running_server

from dtms.adapters.sql import SqlLedger, verify_chain
from dtms.adapters.sql.backup import renew
from dtms.app.gateway.cycle import GatewayPass
from dtms.app.gateway.lease import LeasedWrites, LeaseHolder, LeaseTerms
from dtms.app.journal import journal
from dtms.domain.action import SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.rules import DefenceRule
from dtms.domain.units import Price
from dtms.errors import LedgerUnavailableError
from dtms.ports.lease import FencedError
from dtms_lab.terminal.recorder import AppliedKind

TERMS = LeaseTerms(ttl_s=600.0, longest_send_s=10.0, margin_s=1.0, beat_s=1.0, settle_s=10.0)
"""Long on the server's clock, which no test moves; the local right to send still ends by the rig's clock."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own: the others' is not stopped."""
    with running_server() as made:
        yield made


@dataclass
class Gateway:
    """The gateway over a rig: its loop, its lease, both driven by hand."""

    rig: Rig
    holder: LeaseHolder
    loop: GatewayPass
    fenced: list[FencedError]

    def passes(self, times: int = 1) -> None:
        for _ in range(times):
            self.rig.wait(0.5)
            self.loop.run()

    def plan(self, stop: float, decision: str) -> Intent:
        trade = self.rig.trade(next(iter(self._open())))
        intent = journal.new_intent(
            trade,
            SetStop(ticket=trade.ticket, stop=Price(stop), target=None),
            decision_id=decision,
            owner=Planner.COMMAND,
            rule=DefenceRule.TIGHTEN,
            now=self.rig.clock.now,
            priced_expiry_s=60.0,
            price_based=False,
        )
        with self.rig.ledger.write() as tx:
            assert tx.add_intent(intent)
        return intent

    def _open(self) -> list[int]:
        with self.rig.ledger.read() as tx:
            return [trade.ticket for trade in tx.open_trades()]

    def stop(self) -> float | None:
        return self.rig.broker.positions().positions[0].stop

    def applied(self) -> int:
        return self.rig.applied(AppliedKind.SLTP)

    def state(self, intent: Intent) -> IntentState:
        with self.rig.ledger.read() as tx:
            found = tx.intent(intent.intent_id)
        assert found is not None
        return found.state

    def alerts(self) -> list[str]:
        return [alert.detail for alert in self.rig.notifier.alerts if alert.subject.startswith("dtms-gateway")]


def gateway_over(rig: Rig, owner: str) -> Gateway:
    ledger = rig.ledger
    assert isinstance(ledger, SqlLedger)
    place = ledger.leases.place("gateway", owner)
    holder = LeaseHolder(ledger.leases, owner=owner, terms=TERMS, now_ns=rig.clock.boot_ns, place=place)
    rig.executor.lease = holder.name
    rig.executor.writes = LeasedWrites(rig.writes, holder)
    fenced: list[FencedError] = []
    loop = rig.work(lease=holder, on_fenced=fenced.append)
    return Gateway(rig, holder, loop, fenced)


@pytest.fixture
def gateway(server: Server) -> Iterator[Gateway]:
    run_sql(server.url("postgres"), "DROP DATABASE IF EXISTS outage WITH (FORCE)")
    run_sql(server.url("postgres"), "CREATE DATABASE outage")
    CHOSEN.url = lambda _account: server.url("outage")
    rig = Rig()
    rig.managed()
    made = gateway_over(rig, "host-a/1")
    made.passes()
    yield made
    made.holder._place.release()
    CHOSEN.reset()


def test_a_server_that_is_away_stops_sending_and_what_was_planned_is_sent_once_when_it_is_back(
    gateway: Gateway, server: Server
) -> None:
    intent = gateway.plan(1_995.0, "before")
    server.stop()
    gateway.passes(3)
    assert (gateway.applied(), gateway.stop()) == (0, 1_990.0)
    assert "check that the server runs and can be reached" in gateway.alerts()[-1]
    assert "outage" in gateway.alerts()[-1]
    with pytest.raises(LedgerUnavailableError):
        gateway.holder.beat()
    server.start()
    gateway.holder.beat()
    gateway.passes(3)
    assert (gateway.state(intent), gateway.applied(), gateway.stop()) == (IntentState.APPLIED, 1, 1_995.0)
    assert isinstance(gateway.rig.ledger, SqlLedger)
    assert verify_chain(gateway.rig.ledger) >= 0


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "lost on the way"])
def test_a_server_that_goes_while_an_order_is_on_its_way_leaves_it_unknown_and_evidence_decides(
    gateway: Gateway, server: Server, *, applied: bool
) -> None:
    intent = gateway.plan(1_995.0, "middle")
    rig = gateway.rig
    # The first byte has left when the server goes: the answer can be written nowhere.
    rig.writes.before = _once(server.stop)
    rig.writes.fate = _once_then("answered" if applied else "lost_on_the_way", "answered")
    gateway.passes(3)
    assert len(rig.writes.sent) == 1
    server.start()
    gateway.passes(2)
    gateway.passes(60)
    stops = [other.state for other in rig.intents(rig.trade(rig.broker.positions().positions[0].ticket))]
    assert IntentState.SENDING not in stops
    assert IntentState.UNKNOWN not in stops
    assert gateway.state(intent) is (IntentState.APPLIED if applied else IntentState.NOT_APPLIED)
    assert gateway.applied() <= 1
    if applied:
        assert (gateway.applied(), gateway.stop()) == (1, 1_995.0)


def _once(act: Callable[[], None]) -> Callable[[str], None]:
    done: list[str] = []

    def before(tag: str) -> None:
        if not done:
            done.append(tag)
            act()

    return before


def _once_then(first: str, later: str) -> Callable[[object], str]:
    given: list[str] = []

    def fate(_action: object) -> str:
        given.append(later)
        return first if len(given) == 1 else later

    return fate


def test_the_right_to_send_runs_out_while_the_server_is_away_though_the_ledger_was_read_before(
    gateway: Gateway, server: Server
) -> None:
    assert gateway.holder.may_send()
    server.stop()
    gateway.rig.wait(TERMS.window_ns / 1e9)
    with pytest.raises(LedgerUnavailableError):
        gateway.holder.beat()
    assert not gateway.holder.may_send()
    server.start()
    gateway.holder.beat()
    assert gateway.holder.may_send()
    assert gateway.holder.epoch == 1


def test_a_lease_that_ended_in_the_outage_is_taken_anew_and_everything_on_its_way_is_in_doubt(
    gateway: Gateway, server: Server
) -> None:
    intent = gateway.plan(1_995.0, "doubt")
    with gateway.rig.ledger.write() as tx:
        assert tx.claim(intent, epoch=1, now=gateway.rig.clock.now, lease="gateway") is not None
    server.stop()
    server.start()
    run_sql(server.url("outage"), "UPDATE leases SET expires_at = 0")
    gateway.holder.beat()
    assert not gateway.holder.may_send()
    gateway.passes(1)
    assert (gateway.holder.epoch, gateway.rig.executor.epoch, gateway.holder.may_send()) == (2, 2, True)
    gateway.passes(60)
    assert gateway.state(intent) is IntentState.NOT_APPLIED
    assert gateway.applied() <= 1


def test_of_two_gateways_with_two_data_folders_the_second_takes_over_and_the_first_sends_nothing_more(
    gateway: Gateway, server: Server
) -> None:
    first, rig = gateway, gateway.rig
    intent = first.plan(1_995.0, "fenced")
    # The first is stopped for longer than its lease; somebody starts a second.
    run_sql(server.url("outage"), "UPDATE leases SET expires_at = 0, heartbeat = 0")
    assert isinstance(rig.ledger, SqlLedger)
    place = rig.ledger.leases.place("gateway", "host-b/2")
    other = CHOSEN.open(rig.broker.account().key, rig.clock.market_now)
    assert other.leases.take("gateway", "host-b/2", ttl_ms=600_000) is not None
    # It comes back in the middle of a pass, with a lease that is over and a right to send that it still believes in.
    assert first.holder.may_send()
    first.passes(1)
    assert (first.applied(), first.stop()) == (0, 1_990.0)
    assert "epoch 1 is over, epoch 2 has taken its place" in first.alerts()[-1]
    with pytest.raises(FencedError, match="another gateway works on"):
        first.holder.beat()
    first.passes(1)
    assert len(first.fenced) == 1
    assert first.state(intent) is IntentState.PLANNED
    place.release()


def test_a_failover_that_lost_the_last_commits_sends_nothing_a_second_time(gateway: Gateway, server: Server) -> None:
    rig = gateway.rig
    trade = rig.trade(rig.broker.positions().positions[0].ticket)
    intent = gateway.plan(1_995.0, "lost with the failover")
    assert isinstance(rig.ledger, SqlLedger)
    gateway.holder._place.release()
    rig.ledger._backend.engine.dispose()
    run_sql(server.url("postgres"), "DROP DATABASE IF EXISTS replica WITH (FORCE)")
    run_sql(server.url("postgres"), "CREATE DATABASE replica TEMPLATE outage")
    gateway.holder.beat()
    gateway.passes(3)
    assert (gateway.state(intent), gateway.applied()) == (IntentState.APPLIED, 1)

    # The primary dies; what is promoted has the intent as it was planned, before it was claimed and sent.
    gateway.holder._place.release()
    rig.ledger.close()
    CHOSEN.url = lambda _account: server.url("replica")
    rig.ledger = CHOSEN.open(rig.broker.account().key, rig.clock.market_now)
    assert renew(rig.ledger, now=rig.clock.now) == 1
    rig.start(epoch=9)
    promoted = gateway_over(rig, "host-a/1")
    promoted.passes(60)

    assert (promoted.state(intent), promoted.applied(), promoted.stop()) == (IntentState.APPLIED, 1, 1_995.0)
    assert verify_chain(rig.ledger) > 0
    assert rig.trade(trade.ticket).stop == 1_995.0
    promoted.holder._place.release()
