"""DELETE /dtms/trade/{ticket}: the end of the management, never of the protection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dtms.adapters.mt5 import Mt5Sender
from dtms.app.commands.registration import RegistrationRefusedError
from dtms.app.journal import journal
from dtms.domain.action import OpenHedge, Reduce
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.rules import DefenceRule, ExitRule
from dtms.domain.trade import TradeState
from dtms.domain.units import Lots, Price, Side


def _planned(world: Any, ticket: int) -> Intent:
    """Plan a reduction of a trade."""
    trade = world.trade(ticket)
    intent = journal.new_intent(
        trade,
        Reduce(ticket=trade.ticket, remaining=Lots(0.05)),
        decision_id="test",
        owner=Planner.EXITS,
        rule=ExitRule.PARTIAL,
        now=world.clock.now,
        priced_expiry_s=60,
    )
    with world.ledger.write() as tx:
        tx.add_intent(intent)
    return intent


def test_a_released_trade_is_unknown_and_keeps_its_stop(world: Any) -> None:
    ticket = world.managed()
    shown = world.ask("GET", f"/dtms/trade/{ticket}")

    told = world.ask("DELETE", f"/dtms/trade/{ticket}")

    after = world.ask("GET", f"/dtms/trade/{ticket}")
    assert (shown.status, told.status, told.body) == (200, 204, b"")
    assert (after.status, after.code, after.json["epoch"]) == (404, "trade_unknown", "first")
    assert world.broker.positions().find(ticket).stop == 1.0901
    assert world.ask("POST", "/dtms/states", {"tickets": [ticket]}).json["unknown"] == [ticket]
    assert world.ask("GET", f"/dtms/trade/{ticket}/explain").code == "trade_unknown"
    assert world.ask("GET", "/dtms/trades").json["trades"] == []


@pytest.mark.parametrize("path", ["/dtms/trade/4711", "/dtms/trade/4711?force=true"])
def test_an_unknown_ticket_is_404(world: Any, path: str) -> None:
    told = world.ask("DELETE", path)

    assert (told.status, told.code) == (404, "trade_unknown")


def test_releasing_twice_is_404_the_second_time(world: Any) -> None:
    ticket = world.managed()

    statuses = [world.ask("DELETE", f"/dtms/trade/{ticket}").status for _ in range(2)]

    assert statuses == [204, 404]


def test_an_open_hedge_is_409_without_force_and_stays(world: Any) -> None:
    ticket = world.hedged()
    hedge = world.trade(ticket).hedge
    before = world.written()

    told = world.ask("DELETE", f"/dtms/trade/{ticket}")

    assert (told.status, told.code) == (409, "hedge_open")
    assert world.broker.positions().find(hedge.identifier) is not None
    assert world.written() == before


def test_force_closes_the_hedge_first_and_keeps_the_main_legs_stop(world: Any) -> None:
    ticket = world.hedged()
    hedge = world.trade(ticket).hedge

    told = world.ask("DELETE", f"/dtms/trade/{ticket}?force=true")

    read = world.broker.positions()
    assert told.status == 204
    assert read.find(hedge.identifier) is None
    assert (read.find(ticket).volume, read.find(ticket).stop) == (0.2, 1.0901)
    assert world.trade(ticket).close_reason == "released"


def test_force_with_a_dead_gateway_is_409_until_the_hedge_is_gone(world: Any) -> None:
    ticket = world.hedged()
    world.gateway_works = False

    pending = world.ask("DELETE", f"/dtms/trade/{ticket}?force=true")
    managed = world.trade(ticket).state
    world.gateway_works = True
    done = world.ask("DELETE", f"/dtms/trade/{ticket}?force=true")

    assert (pending.status, pending.code, pending.headers["retry-after"]) == (409, "hedge_open", "1")
    assert (managed, done.status) == (TradeState.HEDGED, 204)


def test_a_hedge_whose_closing_was_refused_is_closed_by_the_next_request(world: Any) -> None:
    ticket = world.hedged()
    world.executor.writes = None
    refused = world.ask("DELETE", f"/dtms/trade/{ticket}?force=true")
    world.executor.writes = Mt5Sender(world.broker)

    done = world.ask("DELETE", f"/dtms/trade/{ticket}?force=true")

    assert (refused.status, done.status) == (409, 204)
    assert [position.ticket for position in world.broker.positions().positions] == [ticket]


def test_what_was_planned_is_cancelled(world: Any) -> None:
    ticket = world.managed()
    planned = _planned(world, ticket)
    world.gateway_works = False

    told = world.ask("DELETE", f"/dtms/trade/{ticket}")

    with world.ledger.read() as tx:
        intent = tx.intent(planned.intent_id)
    assert (told.status, intent.state, intent.reason) == (204, IntentState.CANCELLED, "released")


def test_what_is_on_its_way_to_the_broker_is_waited_for(world: Any) -> None:
    ticket = world.managed()
    planned = _planned(world, ticket)
    with world.ledger.write() as tx:
        claimed = tx.claim(planned, epoch=1, now=world.clock.now)
        tx.save_intent(replace(claimed, state=IntentState.UNKNOWN), expected=IntentState.SENDING)

    told = world.ask("DELETE", f"/dtms/trade/{ticket}")

    assert (told.status, told.code) == (409, "intent_on_its_way")
    assert world.trade(ticket).is_open


@pytest.mark.parametrize("path", ["", "?force=true"])
@pytest.mark.parametrize("state", [IntentState.SENDING, IntentState.ACKED, IntentState.UNKNOWN])
def test_a_trade_whose_hedge_may_be_open_is_not_let_go(world: Any, state: IntentState, path: str) -> None:
    ticket = world.managed(volume=0.2)
    trade = world.trade(ticket)
    intent = journal.new_intent(
        trade,
        OpenHedge(ticket=trade.ticket, side=Side.SELL, volume=Lots(0.1), stop=Price(1.098), target=None),
        decision_id="test",
        owner=Planner.DTMS,
        rule=DefenceRule.HEDGE,
        now=world.clock.now,
        priced_expiry_s=60,
    )
    with world.ledger.write() as tx:
        tx.add_intent(intent)
        claimed = tx.claim(intent, epoch=1, now=world.clock.now)
        if state is not IntentState.SENDING:
            tx.save_intent(replace(claimed, state=state), expected=IntentState.SENDING)
    world.gateway_works = False

    told = world.ask("DELETE", f"/dtms/trade/{ticket}{path}")

    assert (told.status, told.code, told.headers["retry-after"]) == (409, "intent_on_its_way", "5")
    assert world.trade(ticket).is_open
    with pytest.raises(RegistrationRefusedError):
        world.server.registry.release(ticket, force=bool(path))


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/dtms/trade/abc", "path.ticket"),
        ("/dtms/trade/0", "path.ticket"),
        ("/dtms/trade/9223372036854775808", "path.ticket"),
        ("/dtms/trade/1?force=yes", "query.force"),
        ("/dtms/trade/1?force=true&force=true", "query.force"),
        ("/dtms/trade/1?other=1", "query"),
    ],
)
def test_what_is_no_ticket_or_parameter_is_422(world: Any, path: str, field: str) -> None:
    told = world.ask("DELETE", path)

    assert (told.status, told.fields) == (422, [field])


def test_letting_go_needs_the_token(world: Any) -> None:
    ticket = world.managed()

    told = world.ask("DELETE", f"/dtms/trade/{ticket}", token=None)

    assert (told.status, told.code) == (401, "token_missing")
    assert world.trade(ticket).is_open
