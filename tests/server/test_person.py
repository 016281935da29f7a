"""POST .../confirm, POST .../settle and the release of an orphan: a person's decisions over HTTP, with the token, audited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dtms import bootstrap
from dtms.app.journal import journal
from dtms.app.reconcile.reconciler import Reconciler
from dtms.bootstrap import Parts
from dtms.domain.action import SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.rules import ExitRule
from dtms.domain.trade import Hold
from dtms.domain.units import Price
from dtms.ports.causes import NoCauses
from dtms_lab.mt5_constants import Mt5

MAGIC = 20_010_800


def quarantined(world: Any, ticket: int) -> Intent:
    """Put an order into the journal that nobody could tell the end of."""
    trade = world.trade(ticket)
    planned = journal.new_intent(
        trade,
        SetStop(ticket=trade.ticket, stop=Price(1.0915), target=None),
        decision_id="lost",
        owner=Planner.EXITS,
        rule=ExitRule.TRAILING,
        now=world.clock.now,
        priced_expiry_s=60,
    )
    with world.ledger.write() as tx:
        tx.add_intent(planned)
        claimed = tx.claim(planned, epoch=1, now=world.clock.now)
        assert claimed is not None
        unknown = replace(claimed, state=IntentState.UNKNOWN)
        tx.save_intent(unknown, expected=IntentState.SENDING)
        lost: Intent = replace(unknown, state=IntentState.QUARANTINED)
        tx.save_intent(lost, expected=IntentState.UNKNOWN)
    return lost


def orphan(world: Any) -> tuple[int, Reconciler]:
    """Open a position in our name behind the ledger's back, and let the gateway find it."""
    result = world.terminal.order_send(
        {
            "action": Mt5.TRADE_ACTION_DEAL,
            "symbol": "EURUSD",
            "type": Mt5.ORDER_TYPE_BUY,
            "volume": 0.1,
            "sl": 1.09,
            "type_filling": Mt5.ORDER_FILLING_IOC,
            "magic": MAGIC,
        }
    )
    parts = Parts(ledger=world.ledger, clock=world.clock, policies=world.server.desk.policies, notifier=world.notifier)
    found = bootstrap.make_reconciler(
        parts, world.broker, account=world.broker.account().key, magic=MAGIC, causes=NoCauses()
    )
    found.start()
    for _ in range(12):
        world.later(1)
        found.step()
    return int(result.order), found


def last_audit(world: Any) -> tuple[str, str]:
    with world.ledger.read() as tx:
        entry = tx.audit()[-1]
    return entry.actor, entry.what


def test_confirming_lifts_the_hold_and_answers_the_trade(world: Any) -> None:
    ticket = world.managed()
    held = world.put(ticket, hold=Hold.INVARIANT)

    told = world.ask("POST", f"/dtms/trade/{ticket}/confirm")

    assert (told.status, told.json["hold"], told.json["version"]) == (200, "none", held.version + 1)
    assert (world.trade(ticket).hold, last_audit(world)[1]) == (Hold.NONE, "confirmed")


def test_confirming_needs_the_token_and_a_known_ticket(world: Any) -> None:
    ticket = world.managed()
    world.put(ticket, hold=Hold.INVARIANT)

    assert world.ask("POST", f"/dtms/trade/{ticket}/confirm", token=None).status == 401
    assert world.trade(ticket).hold is Hold.INVARIANT
    unknown = world.ask("POST", "/dtms/trade/4711/confirm")
    assert (unknown.status, unknown.code) == (404, "trade_unknown")


def test_settling_a_quarantined_order_ends_it_once(world: Any) -> None:
    ticket = world.managed()
    lost = quarantined(world, ticket)
    path = f"/dtms/intents/{lost.intent_id}/settle"

    told = world.ask("POST", path, {"applied": False})
    again = world.ask("POST", path, {"applied": True})

    assert (told.status, told.json["id"], told.json["state"]) == (200, lost.intent_id, "NOT_APPLIED")
    assert (again.status, again.code) == (409, "not_quarantined")
    with world.ledger.read() as tx:
        settled = tx.intent(lost.intent_id)
    assert settled is not None
    assert (settled.state, settled.settled_at) == (IntentState.NOT_APPLIED, world.clock.now)
    assert world.trade(ticket).stop == 1.0901


def test_a_stop_said_to_be_applied_is_taken_from_the_broker_and_from_nowhere_else(world: Any) -> None:
    ticket = world.managed()
    lost = quarantined(world, ticket)

    told = world.ask("POST", f"/dtms/intents/{lost.intent_id}/settle", {"applied": True})

    assert (told.status, told.json["state"]) == (200, "APPLIED")
    assert world.trade(ticket).stop == 1.0901  # what the broker shows


def test_an_unknown_order_and_a_bad_body_are_refused(world: Any) -> None:
    unknown = world.ask("POST", "/dtms/intents/01ARZ3NDEKTSV4RRFFQ69G5FAV/settle", {"applied": True})

    assert (unknown.status, unknown.code) == (404, "intent_unknown")
    for body in ({}, {"applied": "yes"}, {"applied": True, "ticket": 0}, {"applied": True, "more": 1}):
        assert world.ask("POST", "/dtms/intents/01ARZ3NDEKTSV4RRFFQ69G5FAV/settle", body).status == 422
    assert world.ask("POST", "/dtms/intents/x/settle", {"applied": True}).status == 422


def test_the_status_shows_an_orphan_and_its_release_lets_it_go(world: Any) -> None:
    ticket, found = orphan(world)

    told = world.ask("GET", "/dtms/status").json["reconciled"]
    assert (told["clean"], [each["ticket"] for each in told["orphans"]]) == (False, [ticket])
    assert (told["orphans"][0]["direction"], told["orphans"][0]["stop_loss"]) == ("BUY", 1.09)
    assert world.ask("DELETE", f"/dtms/trade/{ticket}").status == 204
    assert last_audit(world)[1] == "let_go"
    world.later(6)
    found.step()
    assert world.ask("GET", "/dtms/status").json["reconciled"]["orphans"] == []
    assert world.broker.positions().find(ticket) is not None


def test_an_orphan_is_adopted_like_any_position(world: Any) -> None:
    ticket, found = orphan(world)

    told = world.ask("POST", "/dtms/trade/enable", world.order(ticket, stop_loss=1.09))

    assert told.status == 201
    world.later(6)
    found.step()
    assert world.ask("GET", "/dtms/status").json["reconciled"]["orphans"] == []
