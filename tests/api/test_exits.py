"""The exit rules of a trade: given, shown, taken away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dtms.domain.policy.exits import PROFILES
from dtms.domain.trade import TradeState

if TYPE_CHECKING:
    from tests.api.conftest import World


def test_rules_are_given_by_a_profiles_name(world: World) -> None:
    ticket = world.managed(exits=False)
    told = world.ask("PUT", f"/api/exits/{ticket}", {"profile": "swing"})
    assert (told.status, told.json["profile"], told.json["numbers"]["trail_atr"]) == (201, "swing", 3.0)
    book = world.book(ticket)
    assert book is not None
    assert book.profile == PROFILES["swing"]


def test_rules_are_given_by_own_numbers(world: World) -> None:
    ticket = world.managed(exits=False)
    told = world.ask("PUT", f"/api/exits/{ticket}", {"numbers": {"breakeven_r": 0.8, "partial": False}})
    assert (told.status, told.json["profile"]) == (201, "own")
    book = world.book(ticket)
    assert book is not None
    assert book.profile == replace(PROFILES["intraday"], breakeven_r=0.8, partial=False)


def test_own_numbers_may_begin_from_a_profile(world: World) -> None:
    ticket = world.managed(exits=False)
    world.ask("PUT", f"/api/exits/{ticket}", {"profile": "swing", "numbers": {"breakeven_r": 2}})
    book = world.book(ticket)
    assert book is not None
    assert (book.profile_name, book.profile) == ("own", replace(PROFILES["swing"], breakeven_r=2))


def test_new_rules_keep_what_the_old_ones_remember(world: World) -> None:
    ticket = world.managed()
    book = world.book(ticket)
    assert book is not None
    with world.ledger.write() as tx:
        tx.put_exit_book(replace(book, partial_done=True, breakeven_done=True, best=1.0999))
    told = world.ask("PUT", f"/api/exits/{ticket}", {"profile": "scalp"})
    after = world.book(ticket)
    assert after is not None
    assert (told.status, after.profile_name) == (200, "scalp")
    assert (after.partial_done, after.breakeven_done, after.best) == (True, True, 1.0999)


def test_giving_rules_raises_the_trades_version_and_tells_the_feed(world: World) -> None:
    ticket = world.managed()
    before = world.trade(ticket).version
    with world.ledger.read() as tx:
        seen = tx.last_event()
    told = world.ask("PUT", f"/api/exits/{ticket}", {"profile": "scalp"})
    with world.ledger.read() as tx:
        events = tx.events_since(seen)
    assert (world.trade(ticket).version, told.json["version"]) == (before + 1, before + 1)
    assert [f'"version": {before + 1}' in event.body for event in events] == [True]


def test_the_same_rules_again_change_nothing(world: World) -> None:
    ticket = world.managed()
    revision = world.ledger.revision()
    assert world.ask("PUT", f"/api/exits/{ticket}", {"profile": "intraday"}).status == 200
    assert world.ledger.revision() == revision


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"profile": "missing"}),
        ({"profile": "nobodys"}, {"profile": "profile_unknown"}),
        ({"profile": "own"}, {"profile": "profile_unknown"}),
        ({"numbers": {"breakeven": 1}}, {"numbers.breakeven": "bool_type"}),
        ({"numbers": {"breakeven_rr": 1.0}}, {"numbers.unknown": "extra_forbidden"}),
        ({"numbers": {"breakeven_r": "1"}}, {"numbers.breakeven_r": "float_type"}),
        ({"numbers": {"breakeven_r": 99}}, {"numbers.breakeven_r": "out_of_range"}),
        ({"numbers": {"partial_share": 1.0}}, {"numbers.partial_share": "out_of_range"}),
        ({"numbers": {"stall_bars": 1.5}}, {"numbers.stall_bars": "int_type"}),
        (
            {"numbers": {"breakeven_r": -1, "partial_r": 99}},
            {"numbers.breakeven_r": "out_of_range", "numbers.partial_r": "out_of_range"},
        ),
        ({"profiles": "swing"}, {"unknown": "extra_forbidden"}),
    ],
)
def test_rules_that_cannot_be_are_422_with_the_field(
    world: World, body: dict[str, object], fields: dict[str, str]
) -> None:
    ticket = world.managed()
    before = world.book(ticket)
    told = world.ask("PUT", f"/api/exits/{ticket}", body)
    assert (told.status, told.fields) == (422, fields)
    assert world.book(ticket) == before


def test_a_faulty_number_is_told_with_its_range_and_not_repeated(world: World) -> None:
    ticket = world.managed()
    told = world.ask("PUT", f"/api/exits/{ticket}", {"numbers": {"breakeven_r": 98.765}})
    assert told.json["fields"][0]["message"] == "set it between 0.05 and 20 R"
    assert b"98.765" not in told.body


def test_rules_are_taken_away_and_the_exits_leave_the_trade_alone(world: World) -> None:
    ticket = world.managed()
    version = world.trade(ticket).version
    assert world.ask("DELETE", f"/api/exits/{ticket}").status == 204
    assert (world.book(ticket), world.trade(ticket).version) == (None, version + 1)
    assert world.ask("DELETE", f"/api/exits/{ticket}").code == "exits_unknown"
    assert world.ask("GET", f"/api/exits/{ticket}").code == "exits_unknown"


def test_taking_rules_away_twice_with_one_key_is_once(world: World) -> None:
    ticket = world.managed()
    told = [world.ask("DELETE", f"/api/exits/{ticket}", key="k").status for _ in range(2)]
    assert told == [204, 204]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_ticket_is_404(world: World, method: str) -> None:
    body = {"profile": "swing"} if method == "PUT" else None
    told = world.ask(method, "/api/exits/99", body)
    assert (told.status, told.code) == (404, "trade_unknown")


def test_a_closed_trade_gets_no_rules(world: World) -> None:
    ticket = world.managed()
    world.put(ticket, state=TradeState.CLOSED, closed_at=world.clock.now, close_reason="gone_healthy")
    told = world.ask("PUT", f"/api/exits/{ticket}", {"profile": "swing"})
    assert (told.status, told.code) == (409, "trade_closed")


def test_a_ticket_beyond_64_bits_is_422(world: World) -> None:
    assert world.ask("GET", f"/api/exits/{2**63}").status == 422


def test_rules_are_not_given_without_a_token(world: World) -> None:
    ticket = world.managed()
    assert world.ask("PUT", f"/api/exits/{ticket}", {"profile": "swing"}, token=None).status == 401


def test_all_rules_are_listed_by_ticket(world: World) -> None:
    tickets = [world.managed(), world.managed()]
    world.managed(exits=False)
    told = world.ask("GET", "/api/exits")
    assert ([each["ticket"] for each in told.json["exits"]], told.json["epoch"]) == (tickets, "first")


def test_the_registry_says_who_may_change_a_trade(world: World) -> None:
    ticket = world.managed()
    told = world.ask("GET", f"/api/registry/{ticket}")
    assert told.json == {
        "ticket": ticket,
        "owner": "shared",
        "version": 1,
        "epoch": "first",
        "breakeven_done": False,
        "partial_done": False,
    }


def test_the_registry_names_dtms_while_it_defends(world: World) -> None:
    ticket = world.hedged()
    assert world.ask("GET", f"/api/registry/{ticket}").json["owner"] == "dtms"


def test_without_rules_nobody_knows_whether_breakeven_was_reached(world: World) -> None:
    ticket = world.managed(exits=False)
    told = world.ask("GET", f"/api/registry/{ticket}").json
    assert (told["breakeven_done"], told["partial_done"]) == (None, None)
    assert world.ask("GET", "/api/registry/99").code == "trade_unknown"
