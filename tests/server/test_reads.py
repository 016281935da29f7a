"""What is said of trades: one, a page, many at once, and nothing before it is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.trade import TradeState
from dtms.domain.units import SECOND, TradeId

SOON_NS = 250


def test_a_trade_says_what_the_broker_and_the_ledger_say(world: Any) -> None:
    ticket = world.hedged()
    world.later(30, bid=1.0940)
    told = world.ask("GET", f"/dtms/trade/{ticket}").json

    hedge = world.trade(ticket).hedge
    positions = {position.identifier: position for position in world.broker.positions().positions}
    floating = sum(position.profit + position.swap for position in positions.values())
    assert (told["state"], told["defensive"], told["owner"]) == ("HEDGED", True, "dtms")
    assert told["current_price"] == 1.0940
    assert told["profit"] == floating
    with world.ledger.read() as tx:
        assert told["realised"] == sum(deal.net for identifier in positions for deal in tx.deals(identifier))
    # R is 50 points of 0.2 lots at 100,000 a unit.
    assert told["total_r"] == pytest.approx((told["realised"] + floating) / (0.005 * 0.2 * 100_000))
    assert told["r_multiple"] == pytest.approx((1.0940 - 1.0951) / 0.005)
    assert [(leg["kind"], leg["ticket"], leg["direction"], leg["volume"]) for leg in told["legs"]] == [
        ("hedge", hedge.ticket, "SELL", 0.1)
    ]
    assert told["legs"][0]["profit"] == positions[hedge.identifier].profit
    assert [(entry["name"], entry["to"], entry["at"]) for entry in told["deadlines"]] == [
        ("hedged_timeout", "CLOSED", "2024-01-10T13:15:00.000+00:00"),
        ("hedged_before_close_recovering", "RECOVERING", "2024-01-12T21:30:00.000+00:00"),
        ("hedged_before_close", "CLOSED", "2024-01-12T21:30:00.000+00:00"),
    ]
    assert told["last_actions"][0]["rule"] == "defence.hedge"
    assert told["as_of"] == "2024-01-10T12:00:30.000+00:00"


def test_what_the_broker_has_not_shown_is_null_and_the_state_is_said_all_the_same(world: Any) -> None:
    ticket = world.hedged()

    class Blind:
        def positions(self) -> None:
            return None

        def instrument(self, symbol: str) -> None:
            return None

    world.swap(sight=Blind())
    told = world.ask("GET", f"/dtms/trade/{ticket}").json

    assert (told["state"], told["profit"], told["total_r"]) == ("HEDGED", None, None)
    assert told["legs"][0]["profit"] is None


def test_a_leg_that_is_missing_at_the_broker_makes_the_profit_unknown(world: Any) -> None:
    ticket = world.hedged()
    trade = world.trade(ticket)
    world.put(ticket, legs=(replace(trade.hedge, identifier=99, ticket=99),))

    assert world.ask("GET", f"/dtms/trade/{ticket}").json["profit"] is None


def test_a_trade_without_a_stop_counts_its_naked_time(world: Any) -> None:
    ticket = world.managed()
    world.put(ticket, stop=None, naked_since=world.clock.now, naked_ms=400)
    world.later(1.5)

    told = world.ask("GET", f"/dtms/trade/{ticket}").json

    assert told["naked_ms"] == 1_900


def test_a_closed_trade_answers_with_its_end(world: Any) -> None:
    ticket = world.managed()
    world.put(ticket, state=TradeState.CLOSED, closed_at=world.clock.now, close_reason="gone_healthy")

    told = world.ask("GET", f"/dtms/trade/{ticket}").json
    states = world.ask("POST", "/dtms/states", {"tickets": [ticket]}).json

    assert (told["state"], told["close_reason"], told["profit"], told["defensive"]) == (
        "CLOSED",
        "gone_healthy",
        0.0,
        False,
    )
    assert states["states"][str(ticket)]["state"] == "CLOSED"


def test_an_old_ticket_answers_for_its_trade_under_its_own_number(world: Any) -> None:
    ticket = world.managed()
    world.put(ticket, ticket=77)

    told = world.ask("GET", f"/dtms/trade/{ticket}").json
    states = world.ask("POST", "/dtms/states", {"tickets": [ticket, 77]}).json

    assert (told["ticket"], told["present_ticket"]) == (ticket, 77)
    assert sorted(states["states"]) == sorted([str(ticket), "77"])


def test_bytes_are_kept_for_a_quarter_of_a_second_and_their_tag_with_them(world: Any) -> None:
    ticket = world.managed()
    path = f"/dtms/trade/{ticket}"
    first = world.ask("GET", path)
    world.clock.now += SOON_NS - 1
    same = world.ask("GET", path)
    world.clock.now += 1
    anew = world.ask("GET", path)

    version, seq = first.headers["etag"].strip('"').split("-")
    later = anew.headers["etag"].strip('"').split("-")
    assert (same.body, same.headers["etag"]) == (first.body, first.headers["etag"])
    assert (int(version), later[0]) == (world.trade(ticket).version, version)
    assert int(later[1]) > int(seq)


def test_a_trade_is_encoded_at_most_four_times_a_second(world: Any) -> None:
    ticket = world.managed()
    tags = set()
    for _ in range(1_000):
        tags.add(world.ask("GET", f"/dtms/trade/{ticket}").headers["etag"])
        world.clock.now += 1

    assert len(tags) == 4


def test_the_tag_follows_the_version(world: Any) -> None:
    ticket = world.managed()
    first = world.ask("GET", f"/dtms/trade/{ticket}").headers["etag"]
    trade = world.put(ticket, profile="swing")
    world.later(1)

    second = world.ask("GET", f"/dtms/trade/{ticket}").headers["etag"]

    assert first.startswith(f'"{trade.version - 1}-')
    assert second.startswith(f'"{trade.version}-')


def test_who_holds_the_bytes_gets_304(world: Any) -> None:
    ticket = world.managed()
    path = f"/dtms/trade/{ticket}"
    tag = world.ask("GET", path).headers["etag"]

    hot = world.ask("GET", path, headers={"If-None-Match": tag})
    world.later(1)
    stale = world.ask("GET", path, headers={"If-None-Match": tag})
    asked_anew = world.ask("GET", path, headers={"If-None-Match": stale.headers["etag"]})

    assert (hot.status, hot.body, hot.headers["etag"]) == (304, b"", tag)
    assert stale.status == 200
    assert asked_anew.status == 304


def test_the_tag_is_the_same_whether_the_hot_path_or_the_framework_answers(world: Any) -> None:
    ticket = world.managed()

    cold = world.ask("GET", f"/dtms/trade/{ticket}")
    hot = world.ask("GET", f"/dtms/trade/{ticket}")

    assert cold.body == hot.body
    keep = ("etag", "content-type", "cache-control", "x-content-type-options")
    assert [cold.headers[name] for name in keep] == [hot.headers[name] for name in keep]


@pytest.mark.parametrize("path", ["/dtms/trade/4711", "/dtms/trade/4711/explain", "/dtms/actions?ticket=4711"])
def test_an_unknown_trade_is_404_with_our_code(world: Any, path: str) -> None:
    told = world.ask("GET", path)

    assert (told.status, told.code, told.headers["content-type"]) == (
        404,
        "trade_unknown",
        "application/problem+json",
    )


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "/dtms/trade/{ticket}", None),
        ("GET", "/dtms/trade/4711", None),
        ("GET", "/dtms/trade/{ticket}/explain", None),
        ("GET", "/dtms/trades", None),
        ("GET", "/dtms/actions", None),
        ("GET", "/dtms/events", None),
        ("POST", "/dtms/states", {"tickets": [4711]}),
        ("DELETE", "/dtms/trade/{ticket}", None),
    ],
)
def test_before_recovery_has_ended_everything_is_503_and_never_404(
    world: Any, method: str, path: str, content: object
) -> None:
    ticket = world.managed()
    world.swap(recovered=lambda: False)

    told = world.ask(method, path.format(ticket=ticket), content)

    assert (told.status, told.code, told.headers["retry-after"]) == (503, "not_ready", "1")


def test_a_registration_before_recovery_is_503_and_writes_nothing(world: Any) -> None:
    order = world.order(world.opened(stop=1.0901))
    world.swap(recovered=lambda: False)
    before = world.written()

    told = world.ask("POST", "/dtms/trade/enable", order)

    assert (told.status, told.code) == (503, "not_ready")
    assert world.written() == before


def _many(world: Any, count: int) -> list[int]:
    """Put many open trades into the ledger; return their tickets."""
    model = world.trade(world.managed())
    tickets = list(range(1_000_001, 1_000_001 + count))
    with world.ledger.write() as tx:
        for number in tickets:
            symbol = "EURUSD" if number % 2 else "GBPUSD"
            tx.add_trade(
                replace(model, trade_id=TradeId(f"t{number}"), ticket=number, identifier=number, symbol=symbol)
            )
    return tickets


def test_ten_thousand_tickets_are_answered_in_one_go(world: Any) -> None:
    known = _many(world, 1_500)
    unknown = list(range(9_000_000, 9_000_000 + 10_000 - len(known)))

    told = world.ask("POST", "/dtms/states", {"tickets": [*unknown, *known]}, token=None)

    assert told.status == 200
    assert (told.json["epoch"], told.json["unknown"]) == ("first", unknown)
    assert set(told.json["states"]) == {str(ticket) for ticket in known}
    assert told.json["states"][str(known[0])] == {
        "state": "HEALTHY",
        "pending_to": None,
        "defensive": False,
        "version": 1,
    }


def test_more_than_ten_thousand_tickets_are_422(world: Any) -> None:
    told = world.ask("POST", "/dtms/states", {"tickets": list(range(1, 10_002))})

    assert (told.status, told.fields) == (422, ["tickets"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"tickets":[1,"2"]}', "tickets.1"),
        (b'{"tickets":[true]}', "tickets.0"),
        (b'{"tickets":[9223372036854775808]}', "tickets.0"),
        (b'{"tickets":[1e400]}', "tickets.0"),
        (b'{"tickets":[1],"tickets":[2]}', "tickets"),
        (b'{"tickets":1}', "tickets"),
        (b"{}", "tickets"),
    ],
)
def test_a_question_about_no_tickets_at_all_is_422(world: Any, body: bytes, field: str) -> None:
    told = world.ask("POST", "/dtms/states", body)

    assert (told.status, told.fields) == (422, [field])


def test_states_show_a_write_at_once(world: Any) -> None:
    ticket = world.managed()
    before = world.ask("POST", "/dtms/states", {"tickets": [ticket]}).json["states"][str(ticket)]
    world.put(ticket, state=TradeState.WARNING_L2)

    after = world.ask("POST", "/dtms/states", {"tickets": [ticket]}).json["states"][str(ticket)]

    assert (before["state"], before["defensive"]) == ("HEALTHY", False)
    assert (after["state"], after["defensive"], after["version"]) == ("WARNING_L2", True, before["version"] + 1)


@given(tickets=st.lists(st.integers(1, 12), max_size=30))
def test_each_asked_ticket_stands_in_exactly_one_list(world: Any, tickets: list[int]) -> None:
    with world.ledger.read() as tx:
        there = {trade.ticket for trade in tx.open_trades()}
    if not there:
        known = world.managed()
        for number in (3, 5, 8):
            with world.ledger.write() as tx:
                model = tx.trade(known)
                tx.add_trade(replace(model, trade_id=TradeId(str(number)), ticket=number, identifier=number))

    told = world.ask("POST", "/dtms/states", {"tickets": tickets}).json

    assert {int(ticket) for ticket in told["states"]} == set(tickets) & {3, 5, 8}
    assert told["unknown"] == list(dict.fromkeys(t for t in tickets if t not in {3, 5, 8}))


def test_pages_of_trades_hold_every_trade_once_in_order(world: Any) -> None:
    tickets = [world.managed(), *_many_more(world, 24)]
    seen: list[int] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = world.ask("GET", f"/dtms/trades?limit=7&cursor={cursor}").json
        seen += [trade["ticket"] for trade in page["trades"]]
        cursor = page["next_cursor"]

    assert seen == sorted(tickets)


def _many_more(world: Any, count: int) -> list[int]:
    with world.ledger.read() as tx:
        model = tx.open_trades()[0]
    numbers = list(range(100, 100 + count))
    with world.ledger.write() as tx:
        for number in numbers:
            tx.add_trade(replace(model, trade_id=TradeId(f"m{number}"), ticket=number, identifier=number))
    return numbers


def test_pages_are_filtered_by_state_and_symbol(world: Any) -> None:
    hedged, healthy = world.hedged(), world.managed()

    def found(query: str) -> list[int]:
        return [trade["ticket"] for trade in world.ask("GET", f"/dtms/trades?{query}").json["trades"]]

    assert found("state=HEDGED") == [hedged]
    assert found("state=HEALTHY&symbol=EURUSD") == [healthy]
    assert found("symbol=GBPUSD") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=hedged", "query.state"),
        ("limit=0", "query.limit"),
        ("limit=501", "query.limit"),
        ("limit=1_0", "query.limit"),
        ("cursor=-1", "query.cursor"),
        ("cursor=abc", "query.cursor"),
        ("symbol=%00", "query.symbol"),
        ("page=2", "query"),
    ],
)
def test_a_parameter_that_cannot_be_is_422(world: Any, query: str, field: str) -> None:
    told = world.ask("GET", f"/dtms/trades?{query}")

    assert (told.status, told.fields) == (422, [field])


def test_the_newest_ten_actions_are_shown_whatever_was_read_before(world: Any) -> None:
    ticket = world.managed()
    shown: list[list[str]] = []
    for number in range(14):
        world.amended(ticket, number)
        world.later(90)
        shown.append([a["id"] for a in world.ask("GET", f"/dtms/trade/{ticket}").json["last_actions"]])

    trade = world.trade(ticket)
    with world.ledger.read() as tx:
        every = [intent.intent_id for intent in tx.intents(trade_id=trade.trade_id)]
    assert len(every) == 14
    assert shown[-1] == every[::-1][:10]
    assert shown[3] == every[3::-1]


def test_an_intent_that_is_not_decided_is_shown_as_pending(world: Any) -> None:
    ticket = world.managed()
    world.gateway_works = False
    world.amended(ticket, 1)
    world.clock.now += 120 * SECOND

    told = world.ask("GET", f"/dtms/trade/{ticket}").json

    assert [(i["rule"], i["state"]) for i in told["pending_intents"]] == [("trailing", "PLANNED")]
