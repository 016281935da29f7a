"""One effect for one Idempotency-Key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dtms.domain.units import DAY
from dtms.services.api.idempotency import Once, UnderWay
from dtms.services.web.in_process import drive, exchange
from dtms.services.web.problem import Problem

if TYPE_CHECKING:
    from tests.api.conftest import World, WorldMaker


def test_the_same_request_again_gives_the_same_answer_and_opens_nothing(world: World) -> None:
    first = world.open(key="once")
    again = world.open(key="once")
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["idempotency-replayed-at"] == "2024-01-10T12:00:00.000+00:00"
    assert (
        again.headers["idempotency-now"] == f"ticket {first.json['ticket']} is HEALTHY, version {first.json['version']}"
    )
    assert "idempotency-replayed" not in first.headers
    assert len(world.positions()) == 1


def test_members_in_another_order_are_the_same_request(world: World) -> None:
    first = world.ask(
        "POST", "/api/trades", b'{"symbol":"EURUSD","direction":"BUY","volume":0.1,"stop_loss":1.09}', key="k"
    )
    again = world.ask(
        "POST", "/api/trades", b'{"stop_loss":1.090, "volume":0.1,"direction":"BUY","symbol":"EURUSD"}', key="k"
    )
    assert (first.status, again.body) == (201, first.body)


def test_the_same_key_with_another_body_is_422(world: World) -> None:
    world.open(key="once")
    told = world.open(key="once", volume=0.2)
    assert (told.status, told.code, len(world.positions())) == (422, "idempotency_key_reused", 1)


def test_a_key_is_required_to_open(world: World) -> None:
    told = world.ask("POST", "/api/trades", world.order())
    assert (told.status, told.code, world.intents()) == (400, "idempotency_key_missing", ())


@pytest.mark.parametrize("key", ["", " ", "with space", "é", "x" * 129])
def test_a_key_that_is_none_is_400(world: World, key: str) -> None:
    told = world.ask("POST", "/api/trades", world.order(), key=key)
    assert (told.status, told.code, world.intents()) == (400, "idempotency_key_invalid", ())


def test_a_request_that_was_refused_before_its_effect_may_be_sent_again(world: World) -> None:
    world.clock.sleep(120)
    assert world.open(key="once").code == "rail_stale_quote"
    world.quote()
    assert world.open(key="once").status == 201


def test_the_key_is_free_again_after_a_day(world: World) -> None:
    first = world.open(key="once")
    world.clock.sleep(DAY / 1_000 + 1)
    world.quote()
    second = world.open(key="once", stop_loss=1.091)
    assert second.json["ticket"] != first.json["ticket"]


def test_a_repetition_after_a_restart_finds_the_trade_that_was_opened(
    make_world: WorldMaker, restart: Callable[..., World], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    world = make_world(ledger_url=url)
    killed = _killed_after_the_fill(world)
    told = restart(world, url).open(key="once")
    assert (killed, told.status, len(world.positions())) == (True, 201, 1)
    assert told.json["ticket"] == world.positions()[0][0]


class _Killed(BaseException):
    """The process ends here."""


def _killed_after_the_fill(world: World) -> bool:
    async def act_and_die(_question: object, _timeout_s: float) -> bool:
        world.act()
        raise _Killed

    world.swap(wait_until=act_and_die)
    try:
        world.open(key="once")
    except _Killed:
        return True
    return False


def test_a_request_that_is_still_under_way_is_409(world: World) -> None:
    told: list[tuple[int, str]] = []

    async def ask_again(_question: object, _timeout_s: float) -> bool:
        same = world.open(key="once")
        other = world.open(key="once", volume=0.2)
        told.extend([(same.status, same.code), (other.status, other.code)])
        world.act()
        return True

    world.swap(wait_until=ask_again)
    assert world.open(key="once").status == 201
    assert told == [(409, "idempotency_in_flight"), (422, "idempotency_key_reused")]
    assert len(world.positions()) == 1


def test_a_key_is_let_go_when_its_request_fails() -> None:
    under_way = UnderWay()
    once = Once(key="k", principal="p", route="r", body_hash="h")
    with pytest.raises(ZeroDivisionError), under_way.enter(once):
        raise ZeroDivisionError
    with under_way.enter(once), pytest.raises(Problem), under_way.enter(once):
        pass


def test_the_same_key_on_another_route_is_another_request(world: World) -> None:
    world.open(key="k")
    told = world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="k")
    assert (told.status, told.json["level"]) == (200, "pause")


def test_a_kept_answer_never_holds_another_trades_rules(world: World) -> None:
    first, second = world.managed(), world.managed()
    world.ask("PUT", f"/api/exits/{first}", {"profile": "swing"}, key="k")
    told = world.ask("PUT", f"/api/exits/{second}", {"profile": "swing"}, key="k")
    assert (told.status, told.json["ticket"]) == (200, second)


def test_two_keys_in_one_request_are_refused(world: World) -> None:
    # A mapping cannot hold a header twice, so the raw pairs are sent.
    body = b'{"level":"pause"}'
    pairs = [
        ("Host", "127.0.0.1:8000"),
        ("Authorization", f"Bearer {'t' * 43}"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "b"),
    ]
    status, _, _ = drive(exchange(world.app, "POST", "http://127.0.0.1:8000/api/kill-switch", pairs, body))
    assert (status, world.api.kill.state().level) == (400, None)
