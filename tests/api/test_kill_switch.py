"""The kill switch: three levels that no restart and no failure forgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dtms.app.journal import journal
from dtms.app.modes.kill_switch import KillSwitch
from dtms.domain.action import Action, Close, OpenHedge, Reduce
from dtms.domain.intent import IntentState, Planner
from dtms.domain.position import Position
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.rules import DefenceRule
from dtms.domain.units import Millis, Ticket
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms.ports.broker import BrokerWrites
from dtms.ports.ledger import LedgerWrite

if TYPE_CHECKING:
    from tests.api.conftest import World, WorldMaker


def test_it_is_pressed_shown_and_let_go(world: World) -> None:
    told = world.ask("POST", "/api/kill-switch", {"level": "protect_only"}, key="k")
    assert told.json == {
        "level": "protect_only",
        "since": "2024-01-10T12:00:00.000+00:00",
        "by": "operator",
        "source": "request",
        "left": {"managed": [], "unmanaged": [], "foreign": None},
    }
    assert world.ask("GET", "/api/kill-switch").json == told.json
    assert world.ask("GET", "/api/trades").json["kill_switch"]["level"] == "protect_only"
    assert world.ask("GET", "/api/dtms/status").json["kill_switch"] == "protect_only"
    let_go = world.ask("DELETE", "/api/kill-switch").json
    assert (let_go["level"], let_go["since"], let_go["by"], let_go["source"]) == (None, None, "", None)
    assert world.ask("GET", "/api/trades").json["kill_switch"]["level"] is None


def test_it_survives_a_restart(make_world: WorldMaker, restart: Callable[..., World], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    world = make_world(ledger_url=url)
    world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="k")
    assert restart(world, url).ask("GET", "/api/trades").json["kill_switch"]["level"] == "pause"


def test_it_survives_the_loss_of_the_ledgers_fact_by_its_file(make_world: WorldMaker, tmp_path: Path) -> None:
    world = make_world(sentinel=tmp_path / "kill_switch")
    world.ask("POST", "/api/kill-switch", {"level": "protect_only"}, key="k")
    with world.ledger.write() as tx:
        tx.set_fact("kill_switch", None)
    world.api.kill.enforce()
    assert world.api.kill.state().level is KillLevel.PROTECT_ONLY


def test_a_file_written_by_hand_presses_it(make_world: WorldMaker, tmp_path: Path) -> None:
    world = make_world(sentinel=tmp_path / "kill_switch")
    (tmp_path / "kill_switch").write_text("flatten\n")
    world.api.kill.enforce()
    state = world.api.kill.state()
    assert (state.level, state.by) == (KillLevel.FLATTEN, "file")


@pytest.mark.parametrize("content", [b"", b"stop!", b"\xff\xfe"])
def test_a_file_that_says_nothing_we_know_lets_only_through_what_reduces_risk(
    make_world: WorldMaker, tmp_path: Path, content: bytes
) -> None:
    world = make_world(sentinel=tmp_path / "kill_switch")
    (tmp_path / "kill_switch").write_bytes(content)
    world.api.kill.enforce()
    assert world.api.kill.state().level is KillLevel.PROTECT_ONLY


def test_letting_go_removes_the_file(make_world: WorldMaker, tmp_path: Path) -> None:
    world = make_world(sentinel=tmp_path / "kill_switch")
    world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="k")
    assert (tmp_path / "kill_switch").read_text() == "pause\noperator\n"
    world.ask("DELETE", "/api/kill-switch")
    world.api.kill.enforce()
    assert ((tmp_path / "kill_switch").exists(), world.api.kill.state().level) == (False, None)


class _Locked:
    """A ledger that can be read and not written."""

    def __init__(self, world: World) -> None:
        self._ledger = world.ledger
        self.locked = True

    @property
    def epoch(self) -> str:
        return self._ledger.epoch

    def read(self) -> object:
        return self._ledger.read()

    @contextmanager
    def write(self) -> Iterator[LedgerWrite]:
        if self.locked:
            raise LedgerUnavailableError("locked")
        with self._ledger.write() as tx:
            yield tx


def test_pressed_while_the_ledger_is_locked_it_holds_as_soon_as_it_can(make_world: WorldMaker, tmp_path: Path) -> None:
    world = make_world()
    ledger = _Locked(world)
    kill = KillSwitch(
        ledger=ledger,  # type: ignore[arg-type]  # the half of the port that the switch uses
        clock=world.clock,
        notifier=world.notifier,
        sentinel=tmp_path / "kill_switch",
    )
    world.swap(kill=kill)
    told = world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    assert (told.status, told.code, kill.state().level) == (503, "kill_switch_pending", None)
    ledger.locked = False
    kill.enforce()
    assert kill.state().level is KillLevel.FLATTEN


def test_a_file_that_cannot_be_written_leaves_the_ledger_to_hold_the_level(
    make_world: WorldMaker, tmp_path: Path
) -> None:
    (tmp_path / "kill_switch").mkdir()
    world = make_world(sentinel=tmp_path / "kill_switch")
    told = world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="k")
    assert (told.status, world.api.kill.state().level) == (200, KillLevel.PAUSE)
    assert [alert.subject for alert in world.notifier.alerts][1:] == ["kill switch file"]


def test_where_neither_file_nor_ledger_can_be_written_nothing_is_pressed_and_it_is_said(
    make_world: WorldMaker, tmp_path: Path
) -> None:
    (tmp_path / "kill_switch").mkdir()
    world = make_world()
    ledger: Any = _Locked(world)
    kill = KillSwitch(ledger=ledger, clock=world.clock, notifier=world.notifier, sentinel=tmp_path / "kill_switch")
    with pytest.raises(SettingsError, match="make its folder writable"):
        kill.press(KillLevel.PAUSE, "me")
    assert kill.state().level is None


@pytest.mark.parametrize("body", [{}, {"level": "stop"}, {"level": 1}, {"level": "pause", "x": 1}])
def test_a_level_that_is_none_is_422(world: World, body: dict[str, object]) -> None:
    assert world.ask("POST", "/api/kill-switch", body, key="k").status == 422
    assert world.api.kill.state().level is None


def test_it_needs_a_token_and_a_key(world: World) -> None:
    assert world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="k", token=None).status == 401
    assert world.ask("POST", "/api/kill-switch", {"level": "pause"}).code == "idempotency_key_missing"
    assert world.ask("DELETE", "/api/kill-switch", token=None).status == 401
    assert world.api.kill.state().level is None


@pytest.mark.parametrize("level", list(KillLevel))
def test_an_old_press_that_is_repeated_presses_again_and_answers_what_holds(world: World, level: KillLevel) -> None:
    world.ask("POST", "/api/kill-switch", {"level": level}, key="k")
    world.ask("DELETE", "/api/kill-switch")
    world.clock.sleep(60)
    again = world.ask("POST", "/api/kill-switch", {"level": level}, key="k")
    assert (again.status, again.json["level"], world.api.kill.state().level) == (200, level, level)
    assert again.json["since"] == "2024-01-10T12:01:00.000+00:00"


def test_an_old_key_with_another_level_is_refused_and_presses_nothing(world: World) -> None:
    world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="k")
    world.ask("DELETE", "/api/kill-switch")
    assert world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k").code == "idempotency_key_reused"
    assert world.api.kill.state().level is None


def test_an_old_release_that_is_repeated_undoes_no_newer_press_and_says_what_holds(world: World) -> None:
    world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="a")
    world.ask("DELETE", "/api/kill-switch", key="r")
    world.clock.sleep(60)
    world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="b")
    again = world.ask("DELETE", "/api/kill-switch", key="r")
    assert (again.json["level"], world.api.kill.state().level) == ("flatten", KillLevel.FLATTEN)
    assert (again.headers["idempotency-replayed-at"], again.headers["idempotency-now"]) == (
        "2024-01-10T12:00:00.000+00:00",
        "at flatten",
    )


def test_pressing_twice_keeps_when_it_was_pressed_first(world: World) -> None:
    world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="a")
    world.clock.sleep(60)
    world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="b")
    assert world.api.kill.state().since == Millis(world.clock.now - 60_000)


def test_flatten_closes_every_managed_trade_and_no_other(world: World) -> None:
    world.managed()
    world.managed(volume=0.5)
    by_hand = world.terminal.order_send(
        {"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.3, "type_filling": 1, "sl": 1.0}
    )
    world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    world.act()
    assert by_hand is not None
    assert [p[0] for p in world.positions()] == [by_hand.order]
    assert {(i.owner, i.rule, i.state) for i in world.intents()} == {
        (Planner.COMMAND, "command.flatten", IntentState.APPLIED)
    }


def test_flatten_of_a_hedged_trade_only_lets_the_exposure_fall(world: World) -> None:
    ticket = world.hedged(volume=0.5)
    hedge = world.trade(ticket).hedge
    assert hedge is not None
    nets = [_net(world)]
    world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    for _ in range(10):
        world.executor.tick()
        nets.append(_net(world))
        world.later(1)
        world.api.kill.enforce()
    actions = [intent.action for intent in world.intents() if intent.rule == "command.flatten"]
    assert actions == [
        Reduce(ticket=Ticket(ticket), remaining=hedge.volume),
        Close(ticket=Ticket(ticket), by=hedge.ticket),
    ]
    assert (world.positions(), nets == sorted(nets, reverse=True)) == ([], True)


def test_where_closing_against_is_refused_the_main_leg_goes_first(make_world: WorldMaker) -> None:
    world = make_world(wrap=NoCloseBy)
    ticket = world.hedged(volume=0.2)
    hedge = world.trade(ticket).hedge
    assert hedge is not None
    world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    for _ in range(20):
        world.act()
        world.later(5)
        world.api.kill.enforce()
    steps = [intent for intent in world.intents() if intent.rule == "command.flatten"]
    steps.sort(key=lambda intent: (intent.precondition.version, intent.attempt))  # ids of one instant have no order
    assert [intent.action for intent in steps] == [
        Reduce(ticket=Ticket(ticket), remaining=hedge.volume),
        Close(ticket=Ticket(ticket), by=hedge.ticket),
        Close(ticket=Ticket(ticket)),
        Close(ticket=hedge.ticket),
    ]
    assert world.positions() == []


def test_flatten_goes_on_after_a_restart(make_world: WorldMaker, restart: Callable[..., World], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    world = make_world(ledger_url=url)
    world.hedged(volume=0.5)
    world.gateway_works = False
    world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    after = restart(world, url)
    for _ in range(5):
        after.act()
        after.later(1)
        after.api.kill.enforce()
    flattening = [intent for intent in after.intents() if intent.rule == "command.flatten"]
    assert (after.positions(), len(flattening)) == ([], 2)


def test_flatten_that_is_enforced_a_hundred_times_writes_each_step_once(world: World) -> None:
    world.managed()
    world.gateway_works = False
    world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    for _ in range(100):
        world.api.kill.enforce()
    assert len(world.intents()) == 1


def test_a_close_that_the_market_refuses_is_tried_again_with_back_off_and_told(world: World) -> None:
    ticket = world.managed()
    world.sim.state.market_open = lambda _symbol, _at: False
    world.ask("POST", "/api/kill-switch", {"level": "flatten"}, key="k")
    for _ in range(120):
        world.act()
        world.later(1)
        world.api.kill.enforce()
    tries = len(world.intents())
    assert 4 <= tries <= 8
    assert {alert.subject for alert in world.notifier.alerts if alert.kind == "parked"} == {str(ticket)}
    world.sim.state.market_open = lambda _symbol, _at: True
    for _ in range(
        16
    ):  # at most a quarter of an hour until the next try of a market that was closed though quotes moved
        world.later(60)
        world.api.kill.enforce()
        world.act()
    assert world.positions() == []


def test_after_the_answer_nothing_that_adds_risk_is_sent(world: World) -> None:
    ticket = world.managed(volume=0.4)
    trade = world.put(ticket)
    hedge = OpenHedge(
        ticket=trade.ticket, side=trade.side.opposite, volume=trade.volume, stop=trade.initial_stop, target=None
    )
    with world.ledger.write() as tx:
        tx.add_intent(
            journal.new_intent(
                trade,
                hedge,
                decision_id="d",
                owner=Planner.DTMS,
                rule=DefenceRule.TIGHTEN,
                now=world.clock.now,
                priced_expiry_s=60,
            )
        )
    world.ask("POST", "/api/kill-switch", {"level": "protect_only"}, key="k")
    world.act()
    assert [intent.state for intent in world.intents()] == [IntentState.REJECTED]
    assert len(world.positions()) == 1


def _net(world: World) -> float:
    found = world.terminal.positions_get() or ()
    net = sum(float(p.volume) if p.type == 0 else -float(p.volume) for p in found)
    return round(abs(net), 8)


class NoCloseBy:
    """Writes of a broker that closes nothing against anything."""

    def __init__(self, writes: BrokerWrites) -> None:
        self._writes = writes

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        if isinstance(action, Close) and action.by is not None:
            return Receipt(outcome=Outcome.REJECTED, code=10013, rejection=Rejection.INVALID_REQUEST)
        return self._writes.send(action, position=position, tag=tag)
