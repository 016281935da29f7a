"""Positions in our name that no trade manages: `flatten` closes them too, and touches nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.app.rig import Rig
from tests.app.test_kill_file import gateway
from tests.app.test_orphans import TAG, ours
from tests.app.test_reconcile import reconciler

from dtms.app.modes.flatten import RULE
from dtms.app.reconcile.strays import strays
from dtms.domain.intent import IntentState
from dtms.domain.units import Ticket
from dtms.ports.notifier import AlertKind


def work(rig: Rig, file: Path, seconds: int, *, quoted: bool = False) -> None:
    found = reconciler(rig)
    found.start()
    for _ in range(seconds):
        rig.wait(1)
        if quoted:
            rig.price(2_000.0)
        found.step()
        rig.settle()


def open_tickets(rig: Rig) -> list[int]:
    return sorted(position.ticket for position in rig.broker.positions().positions)


@pytest.mark.parametrize("stop", [1_985.0, None])
def test_flatten_closes_what_is_in_our_name_without_a_trade_and_says_what_is_left(
    rig: Rig, tmp_path: Path, stop: float | None
) -> None:
    file = gateway(rig, tmp_path / "kill-switch")
    rig.managed()
    stray, foreign = ours(rig, stop=stop), rig.open(volume=0.3)
    work(rig, file, 15)
    with rig.ledger.read() as tx:
        assert [each.ticket for each in strays(tx)] == [stray.ticket]
    file.write_text("flatten\n")
    work(rig, file, 30)
    assert open_tickets(rig) == [foreign.ticket]
    told = [alert.detail for alert in rig.notifier.alerts if alert.kind is AlertKind.KILL_SWITCH]
    assert told[1:] == ["nothing in our name is open any more; positions of others, which are never touched: 1"]


def test_what_a_person_has_let_go_of_is_foreign_to_flatten(rig: Rig, tmp_path: Path) -> None:
    file = gateway(rig, tmp_path / "kill-switch")
    stray = ours(rig)
    work(rig, file, 15)
    from tests.app.test_orphans import person

    person(rig).let_go(Ticket(stray.ticket), actor="anna")
    file.write_text("flatten\n")
    work(rig, file, 30)
    assert open_tickets(rig) == [stray.ticket]


def test_a_stray_that_the_market_refuses_to_close_is_tried_again_with_back_off(rig: Rig, tmp_path: Path) -> None:
    file = gateway(rig, tmp_path / "kill-switch")
    stray = ours(rig, tag=TAG)
    work(rig, file, 15)
    sent = len(rig.writes.sent)
    rig.sim.state.market_open = lambda _symbol, _at: False
    file.write_text("flatten\n")
    work(rig, file, 200, quoted=True)
    assert len(rig.writes.sent) - sent == 4
    assert ("parked", str(stray.ticket)) in {(alert.kind, alert.subject) for alert in rig.notifier.alerts}
    rig.sim.state.market_open = lambda _symbol, _at: True
    work(rig, file, 400, quoted=True)
    assert open_tickets(rig) == []


def test_closings_that_wait_for_the_market_are_cancelled_when_flatten_is_let_go_of(rig: Rig, tmp_path: Path) -> None:
    file = gateway(rig, tmp_path / "kill-switch")
    trade, stray = rig.managed(), ours(rig, tag=TAG)
    work(rig, file, 15)
    rig.sim.state.market_open = lambda _symbol, _at: False
    file.write_text("flatten\n")
    work(rig, file, 30)
    with rig.ledger.read() as tx:
        assert {each.rule for each in tx.unfinished()} == {RULE}
    file.unlink()
    work(rig, file, 60)
    with rig.ledger.read() as tx:
        assert tx.unfinished() == ()
        ended = [each for each in tx.intents() if each.state is IntentState.CANCELLED]
    assert {each.reason for each in ended} == {"flatten was let go of before it was sent"}
    rig.sim.state.market_open = lambda _symbol, _at: True
    work(rig, file, 600, quoted=True)
    assert open_tickets(rig) == sorted([trade.ticket, stray.ticket])
