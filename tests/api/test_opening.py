"""POST /api/trades: a position that never stands without its stop, managed or on its way to be."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from dtms import bootstrap
from dtms.app.commands.outbox import RegisterAnswer, RegisterWord
from dtms.app.commands.registration import Registration
from dtms.domain.action import Action, OpenTrade
from dtms.domain.intent import IntentState, Planner
from dtms.domain.market import Quote
from dtms.domain.position import Position
from dtms.domain.receipt import Receipt
from dtms.domain.units import SECOND, Millis, Side, Ticket
from dtms.errors import BrokerUnavailableError, OutcomeUnknownError
from dtms.ports.broker import BrokerWrites
from dtms.services.api.bodies import OpenBody
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.terminal import SimTerminal

if TYPE_CHECKING:
    from tests.api.conftest import World, WorldMaker


def test_an_order_becomes_a_protected_managed_trade(world: World) -> None:
    told = world.open(take_profit=1.105, profile="swing")
    assert told.status == 201, told.body
    ticket = told.json["ticket"]
    assert world.positions() == [(ticket, 0.1, 1.09, 1.105)]
    (intent,) = world.intents()
    assert (intent.state, intent.owner, intent.rule) == (IntentState.APPLIED, Planner.COMMAND, "command.open")
    trade = world.trade(ticket)
    assert (trade.stop, trade.initial_stop, trade.target, trade.profile) == (1.09, 1.09, 1.105, "swing")
    book = world.book(ticket)
    assert book is not None
    assert (book.profile_name, book.trade_id) == ("swing", trade.trade_id)
    assert world.waiting() == 0
    assert told.json["protection"] == "active"
    assert (told.json["version"], told.json["epoch"]) == (trade.version, "first")
    assert told.json["exits"]["profile"] == "swing"


def test_the_stop_is_in_the_same_request_as_the_order(world: World) -> None:
    world.open()
    opened = world.terminal.history_orders_get(0, 2_000_000_000) or ()
    assert [(order.sl, order.tp) for order in opened] == [(1.09, 0.0)]


def test_a_sell_lies_the_other_way_round(world: World) -> None:
    told = world.open(direction="SELL", stop_loss=1.1, take_profit=1.085)
    assert told.status == 201, told.body
    assert told.json["direction"] == "SELL"
    assert [(p[1], p[2], p[3]) for p in world.positions()] == [(0.1, 1.1, 1.085)]


def test_risk_money_is_turned_into_a_volume_rounded_down(world: World) -> None:
    # R is 1.0951 - 1.09 = 0.0051: 510 USD a lot, so 100 USD buy 0.196 lots.
    told = world.open(volume=None, risk_money=100.0)
    assert told.status == 201, told.body
    assert [p[1] for p in world.positions()] == [0.19]


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"stop_loss": 1.1}, "stop_loss", "stop_on_wrong_side"),
        ({"stop_loss": 1.095}, "stop_loss", "stop_on_wrong_side"),
        ({"stop_loss": 1.090001234567}, "stop_loss", "price_off_grid"),
        ({"take_profit": 1.09}, "take_profit", "target_on_wrong_side"),
        ({"take_profit": 1.100001}, "take_profit", "price_off_grid"),
        ({"stop_loss": 1e-12}, "stop_loss", "price_off_grid"),
        ({"direction": "SELL", "stop_loss": 1.1, "take_profit": 1e-12}, "take_profit", "price_off_grid"),
        ({"stop_loss": 1e-5}, "stop_loss", "stop_too_far"),
        ({"stop_loss": 0.7}, "stop_loss", "stop_too_far"),
        ({"stop_loss": 0.95}, "stop_loss", "stop_too_far"),
        ({"volume": 2.5, "stop_loss": 1.085}, "volume", "risk_too_large"),
        ({"volume": None, "risk_money": 1_100.0}, "risk_money", "risk_too_large"),
        ({"volume": 0.105}, "volume", "volume_off_grid"),
        ({"volume": 0.001}, "volume", "volume_off_grid"),
        ({"volume": 1e-9}, "volume", "volume_off_grid"),
        ({"volume": 999_999.0}, "volume", "volume_off_grid"),
        ({"volume": None, "risk_money": 1.0}, "risk_money", "risk_too_small"),
        ({"volume": None, "risk_money": 1e11}, "risk_money", "volume_off_grid"),
        ({"volume": None}, "volume", "size_ambiguous"),
        ({"risk_money": 10.0}, "volume", "size_ambiguous"),
        ({"profile": "nobodys"}, "profile", "profile_unknown"),
        ({"symbol": "NOSUCH"}, "symbol", "symbol_unknown"),
        ({"stop_loss": None}, "stop_loss", "missing"),
        ({"volume": -1.0}, "volume", "greater_than"),
        ({"volume": "0.1"}, "volume", "float_type"),
        ({"volume": True}, "volume", "float_type"),
        ({"direction": "buy"}, "direction", "literal_error"),
        ({"stop_losss": 1.0}, "unknown", "extra_forbidden"),
    ],
)
def test_what_cannot_be_opened_is_422_with_its_field_and_leaves_no_intent(
    world: World, changes: dict[str, object], field: str, code: str
) -> None:
    told = world.open(changes)
    assert (told.status, told.fields) == (422, {field: code})
    assert (world.intents(), world.positions(), world.waiting()) == ((), [], 0)


def test_a_stop_nearer_than_twice_the_spread_has_no_known_risk(world: World) -> None:
    world.sim.on_quote(Quote(symbol="EURUSD", at=world.clock.now, bid=1.095, ask=1.09512, volume=1.0))
    told = world.open(stop_loss=1.0949)  # R is 0.00022, the spread 0.00012
    assert (told.status, told.fields, world.intents()) == (422, {"stop_loss": "risk_unknown"}, ())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"symbol":"EURUSD","direction":"BUY","volume":NaN,"stop_loss":1.09}', 422),
        (b'{"symbol":"EURUSD","direction":"BUY","volume":1e400,"stop_loss":1.09}', 422),
        (b'{"symbol":"EURUSD","symbol":"XAUUSD","direction":"BUY","volume":0.1,"stop_loss":1.09}', 422),
        (b'{"symbol":"\\ud800","direction":"BUY","volume":0.1,"stop_loss":1.09}', 422),
        (b"[" * 5_000, 422),
        (b'{"symbol":', 400),
    ],
)
def test_a_body_that_is_not_strict_json_is_4xx_and_leaves_no_intent(world: World, body: bytes, status: int) -> None:
    told = world.ask("POST", "/api/trades", body, key="k")
    assert (told.status, world.intents()) == (status, ())
    assert told.headers["content-type"] == "application/problem+json"


def test_nothing_is_opened_without_a_token(world: World) -> None:
    told = world.ask("POST", "/api/trades", world.order(), token=None, key="k")
    assert (told.status, told.code, world.intents()) == (401, "token_missing", ())


def test_an_account_that_is_not_armed_answers_403(make_world: WorldMaker) -> None:
    world = make_world(advisory=True)
    told = world.open()
    assert (told.status, told.code, world.intents()) == (403, "not_armed", ())


def test_the_rails_apply_because_an_opening_adds_risk(world: World) -> None:
    world.open()
    world.later(1)
    world.clock.sleep(120)  # no quote for two minutes
    told = world.open()
    assert (told.status, told.code) == (409, "rail_stale_quote")
    assert len(world.intents()) == 1


def test_a_wide_spread_denies_an_opening(world: World) -> None:
    world.sim.on_quote(Quote(symbol="EURUSD", at=world.clock.now, bid=1.095, ask=1.0954, volume=1.0))
    told = world.open()
    assert (told.status, told.code, world.intents()) == (409, "rail_spread", ())


def test_a_margin_that_would_leave_too_little_denies_an_opening(world: World) -> None:
    told = world.open(volume=5.0, stop_loss=1.0935)
    assert (told.status, told.code, world.intents()) == (409, "rail_margin", ())


def test_the_margin_of_what_is_held_tells_what_more_of_it_will_take(world: World) -> None:
    # 2.5 lots at 1:100 take some 2,700 USD; by the least usual leverage alone it would be 13,700.
    world.managed(volume=0.2)
    assert world.open(volume=2.5, stop_loss=1.0935).status == 201


def test_the_kill_switch_at_any_level_denies_an_opening(world: World) -> None:
    for number, level in enumerate(("pause", "protect_only", "flatten")):
        world.ask("POST", "/api/kill-switch", {"level": level}, key=f"kill-{number}")
        told = world.open()
        assert (told.status, told.code, world.intents()) == (409, "kill_switch", ())


def test_before_the_first_quote_the_answer_is_503(make_world: WorldMaker) -> None:
    world = make_world(quoted=False)
    told = world.open()
    assert (told.status, told.code in {"data_stale", "price_missing"}) == (503, True)
    assert world.intents() == ()


def test_a_netting_account_takes_no_second_position_of_a_symbol(make_world: WorldMaker) -> None:
    world = make_world(account=AccountSpec(margin_mode=0))
    assert world.open().status == 201
    told = world.open()
    assert (told.status, told.code) == (409, "symbol_taken")
    assert len(world.positions()) == 1


def test_a_netting_account_opens_nothing_that_could_not_be_registered(make_world: WorldMaker) -> None:
    world = make_world(account=AccountSpec(margin_mode=0))
    ticket = world.open().json["ticket"]
    (held,) = world.broker.positions().positions
    closed = world.terminal.order_send(
        {
            "action": Mt5.TRADE_ACTION_DEAL,
            "symbol": "EURUSD",
            "type": Mt5.ORDER_TYPE_SELL if held.side is Side.BUY else Mt5.ORDER_TYPE_BUY,
            "volume": held.volume,
            "position": held.ticket,
            "type_filling": Mt5.ORDER_FILLING_IOC,
        }
    )
    assert closed is not None
    assert closed.retcode == Mt5.TRADE_RETCODE_DONE
    told = world.open()  # DTMS has not seen the proof yet: its trade is still open
    assert (told.status, told.code) == (409, "symbol_taken")
    assert f"trade {ticket} of EURUSD is managed" in told.json["detail"]
    assert world.positions() == []


def test_a_refusal_of_the_broker_is_told_in_our_words(world: World) -> None:
    def closed(_symbol: str, _at: Millis) -> bool:
        return False

    world.sim.state.market_open = closed
    told = world.open(key="again")
    assert (told.status, told.code, told.json["broker_code"]) == (409, "market_closed", 10018)
    assert (world.positions(), world.waiting()) == ([], 0)
    assert world.open(key="again").body == told.body


def test_with_no_gateway_the_order_is_cancelled_and_never_sent_later(world: World) -> None:
    world.gateway_works = False
    told = world.open()
    assert (told.status, told.code) == (503, "gateway_silent")
    world.gateway_works = True
    world.act()
    assert ([intent.state for intent in world.intents()], world.positions()) == ([IntentState.CANCELLED], [])
    assert world.waiting() == 0


class Faulty:
    """Writes that apply or not, and say nothing."""

    def __init__(self, writes: BrokerWrites, *, applies: bool, left: bool = True) -> None:
        self._writes = writes
        self._applies = applies
        self._left = left

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        if not self._left:
            raise BrokerUnavailableError("the line is dead")
        if self._applies:
            self._writes.send(action, position=position, tag=tag)
        raise OutcomeUnknownError("no answer")


def test_what_provably_never_left_is_503_and_nothing_is_open(make_world: WorldMaker) -> None:
    world = make_world(wrap=lambda writes: Faulty(writes, applies=False, left=False))
    told = world.open()
    assert (told.status, told.code, world.positions(), world.waiting()) == (503, "not_sent", [], 0)


def test_an_unknown_outcome_that_was_applied_is_found_by_its_tag_and_managed(make_world: WorldMaker) -> None:
    world = make_world(wrap=lambda writes: Faulty(writes, applies=True))
    told = world.open()
    assert told.status == 201, told.body
    assert world.trade(told.json["ticket"]).stop == 1.09


def test_an_unknown_outcome_that_cannot_be_told_is_202_with_the_intent(make_world: WorldMaker) -> None:
    world = make_world(wrap=lambda writes: Faulty(writes, applies=False))
    told = world.open()
    assert (told.status, told.json["protection"], told.json["intent_state"]) == (202, "pending", "UNKNOWN")
    assert told.json["intent_id"] == world.intents()[0].intent_id
    assert (told.json["ticket"], world.waiting()) == (None, 1)


def test_with_the_dtms_server_down_the_trade_is_opened_and_its_registration_waits(world: World) -> None:
    world.dtms.down()
    told = world.open(profile="scalp")
    assert (told.status, told.json["protection"]) == (202, "pending")
    ticket = told.json["ticket"]
    assert world.positions() == [(ticket, 0.1, 1.09, 0.0)]
    assert world.waiting() == 1
    world.dtms.up()
    world.later(2)
    assert world.api.outbox.deliver_due() == 1
    book = world.book(ticket)
    assert book is not None
    assert (world.trade(ticket).initial_stop, book.profile_name, world.waiting()) == (1.09, "scalp", 0)


class Refusing:
    """A DTMS server that answers each registration with no."""

    def __init__(self) -> None:
        self.asked = 0

    def register(self, _wanted: Registration) -> RegisterAnswer:
        self.asked += 1
        return RegisterAnswer(word=RegisterWord.REFUSED, reason="409 symbol_taken")


def gaps(world: World, asked: Callable[[], int]) -> list[int]:
    """Return the seconds between the first six tries of the outbox."""
    tries: list[Millis] = []
    while len(tries) < 6:
        world.later(0.5)
        before = asked()
        world.api.outbox.deliver_due()
        if asked() > before:
            tries.append(world.clock.now)
    return [(later - earlier) // SECOND for earlier, later in pairwise(tries)]


def test_what_was_opened_is_registered_within_five_seconds_of_the_servers_return(world: World) -> None:
    world.dtms.down()
    world.open()
    assert gaps(world, lambda: len(world.dtms.requests)) == [2, 4, 5, 5, 5]
    world.dtms.up()
    world.later(5)
    assert world.api.outbox.deliver_due() == 1
    assert world.waiting() == 0


def test_a_registration_that_is_refused_is_tried_again_less_and_less_often(world: World) -> None:
    world.dtms.down()
    world.open()
    refusing = Refusing()
    world.api.outbox.registrar = refusing
    assert gaps(world, lambda: refusing.asked) == [2, 4, 8, 16, 32]
    assert world.waiting() == 1


def test_a_silent_server_costs_a_pass_of_the_outbox_one_attempt(world: World) -> None:
    world.dtms.down()
    for _ in range(3):
        world.open()
    world.later(5)
    before = len(world.dtms.requests)
    assert (world.api.outbox.deliver_due(), len(world.dtms.requests) - before) == (0, 1)
    world.dtms.up()
    world.later(60)
    assert (world.api.outbox.deliver_due(), world.waiting()) == (3, 0)


def test_a_registration_that_was_told_already_is_not_told_twice(world: World) -> None:
    world.dtms.down()
    ticket = world.open().json["ticket"]
    world.dtms.up()
    known = len(world.dtms.requests)
    world.server.registry.register(
        Registration(ticket=Ticket(ticket), symbol="EURUSD", side=Side.BUY, entry=1.0951, volume=0.1, stop=1.09)
    )
    world.later(5)
    assert world.api.outbox.deliver_due() == 1
    assert (len(world.dtms.requests), world.book(ticket) is not None, world.waiting()) == (known, True, 0)


def test_a_position_that_ended_before_it_was_registered_ends_its_message(world: World) -> None:
    world.dtms.down()
    told = world.open()
    world.later(5, bid=1.0890)  # the stop at the broker fires
    assert world.positions() == []
    assert world.api.outbox.deliver_due() == 1
    assert (world.waiting(), told.status) == (0, 202)


def test_a_server_that_refuses_to_manage_calls_a_person(world: World) -> None:
    world.dtms.answer = (422, {"content-type": "application/problem+json"}, b'{"status":422,"code":"risk_unknown"}')
    told = world.open()
    assert (told.status, told.json["reason"]) == (202, "the DTMS server answered 422 risk_unknown")
    assert [alert.kind for alert in world.notifier.alerts] == ["unprotected"]


def test_an_api_that_died_after_the_fill_registers_after_its_restart(world: World) -> None:
    body = OpenBody.model_validate(world.order())
    world.api.opening.plan(body.order(), request="r", actor="a")
    world.act()  # the gateway has opened; the API that planned it is gone
    assert (len(world.positions()), world.waiting()) == (1, 1)
    world.later(20)
    assert world.api.outbox.deliver_due() == 1
    assert world.trade(world.positions()[0][0]).stop == 1.09


class StopsDropped:
    """Writes of a broker that opens without the levels that were asked for, as market execution may."""

    def __init__(self) -> None:
        self.terminal: SimTerminal | None = None

    def wrap(self, writes: BrokerWrites) -> StopsDropped:
        self.writes = writes
        return self

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        receipt = self.writes.send(action, position=position, tag=tag)
        if isinstance(action, OpenTrade) and self.terminal is not None:
            self.terminal.order_send(
                {"action": 6, "symbol": "EURUSD", "position": receipt.ticket, "sl": 0.0, "tp": 0.0}
            )
        return receipt


@pytest.fixture
def bare(make_world: WorldMaker) -> World:
    """A world whose broker drops the stop of each opening."""
    broker = StopsDropped()
    world = make_world(wrap=broker.wrap)
    broker.terminal = world.terminal
    return world


def test_a_stop_that_the_broker_dropped_is_put_there_by_the_registration(bare: World) -> None:
    told = bare.open()
    assert (told.status, [p[2] for p in bare.positions()]) == (201, [1.09])


@pytest.mark.parametrize("how", ["down", "refuses"])
def test_an_opening_without_its_stop_that_nobody_will_manage_is_closed_at_once(bare: World, how: str) -> None:
    if how == "down":
        bare.dtms.down()
    else:
        bare.dtms.answer = (422, {"content-type": "application/problem+json"}, b'{"status":422,"code":"risk_unknown"}')
    told = bare.open()
    assert (told.status, "stands without its stop and is being closed" in told.json["reason"]) == (202, True)
    bare.act()
    assert bare.positions() == []
    assert [alert.kind for alert in bare.notifier.alerts] == ["unprotected"]
    bare.later(60)
    bare.api.outbox.deliver_due()
    assert bare.waiting() == 0


def test_an_opening_whose_closing_is_refused_is_tried_again_until_it_is_closed(bare: World) -> None:
    bare.dtms.down()
    bare.gateway_works = True
    bare.open()
    bare.sim.state.market_open = lambda _symbol, _at: False
    for _ in range(30):
        bare.act()
        bare.later(1)
        bare.api.outbox.deliver_due()
    bare.sim.state.market_open = lambda _symbol, _at: True
    for _ in range(60):
        bare.later(1)
        bare.api.outbox.deliver_due()
        bare.act()
    assert (bare.positions(), bare.waiting()) == ([], 0)


def test_flatten_closes_an_opening_that_waits_for_its_registration(world: World) -> None:
    world.dtms.down()
    ticket = world.open().json["ticket"]
    assert [each["ticket"] for each in world.ask("GET", "/api/trades").json["unmanaged"]] == [ticket]
    pressed = world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    assert pressed.json["left"] == {"managed": [], "unmanaged": [ticket], "foreign": None}
    world.act()
    assert world.positions() == []


def test_an_opening_without_its_stop_is_closed_by_the_gateway_where_the_api_is_dead(bare: World) -> None:
    body = OpenBody.model_validate(bare.order())
    bare.api.opening.plan(body.order(), request="r", actor="a")
    bare.act()  # the gateway has opened; the API that planned it is gone
    reconciler = bootstrap.make_reconciler(
        bare.parts, bare.broker, account=bare.broker.account().key, magic=20_010_800, causes=bare.executor.modes
    )
    reconciler.start()
    seen = []
    for _ in range(30):
        bare.later(1)
        reconciler.step()
        bare.act()
        seen.append(len(bare.positions()))
    assert (seen[10], seen[-1]) == (1, 0)
    assert "unprotected" in {alert.kind for alert in bare.notifier.alerts}
