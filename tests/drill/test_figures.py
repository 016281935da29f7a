"""Every text for a person, over instruments with odd digits and steps: no number is longer than its instrument's."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from tests.app.rig import Rig

from dtms.app.gateway.preconditions import not_the_trade
from dtms.app.positions.corporate_action import rewriting
from dtms.app.positions.fact_words import over, unproved
from dtms.app.reconcile.position_origin import Classified, Standing, orphan_of
from dtms.domain.figures import plain, rough
from dtms.services.web.in_process import call
from dtms_lab.drill.run import run_plan
from dtms_lab.drill.swarm import SeedPlan, make_plan
from dtms_lab.drill.world import World
from dtms_lab.simulate.services import SERVER_URL

_SEEDS = (3, 11, 17, 29)
_STEPS = 120
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.(\d+))?(?:[eE]([+-]?\d+))?(?![\w])")


def _texts(plan: SeedPlan) -> set[str]:
    """Return what a run has told people: alerts, explanations, causes, and why each order ended as it did."""
    found: set[str] = set()
    worlds: list[World] = []

    def look(world: World) -> None:
        worlds[:] = [world]
        if world.steps % 10 or world.server is None or not world.server.recovered:
            return
        for trade in world.record.open:
            url = f"{SERVER_URL}/dtms/trade/{trade.ticket}/explain"
            status, _headers, body = call(world.server.app, "GET", url, {}, b"")
            if status == 200:
                found.add(json.loads(body)["sentence"])

    def keep(world: World) -> None:
        look(world)
        with world.ground.disk.ledger.read() as tx:
            intents = [intent for trade in tx.trades(limit=500) for intent in tx.intents(trade_id=trade.trade_id)]
        found.update(intent.reason for intent in intents)
        found.update(intent.receipt.comment for intent in intents if intent.receipt is not None)

    run_plan(plan, keep)
    found.update(alert.detail for alert in worlds[0].ground.notifier.alerts)
    return found


def _too_long(text: str, digits: int) -> list[str]:
    return [
        match.group(0)
        for match in _NUMBER.finditer(text)
        if len(match.group(1) or "") > digits or match.group(2) is not None
    ]


@pytest.mark.parametrize("seed", _SEEDS)
def test_no_text_shows_a_number_longer_than_its_instruments(seed: int) -> None:
    plan = make_plan(seed, _STEPS)
    digits = max(2, *(max(each.spec.digits, 3) for each in plan.listings))
    texts = _texts(plan)
    assert len(texts) > 5
    assert {text: long for text in texts if (long := _too_long(text, digits))} == {}


def test_a_number_is_found_where_it_is_too_long() -> None:
    assert _too_long("BUY 0.30000000000000004 lots at 1.1 of 1e-05", 5) == ["0.30000000000000004", "1e-05"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1 + 0.2, "0.3"), (1_234_567.0, "1234567"), (1e-8, "0.00000001"), (1.10005, "1.10005"), (-2.50, "-2.5")],
)
def test_a_plain_number_has_neither_noise_nor_an_exponent(value: float, text: str) -> None:
    assert plain(value) == text


def test_a_rough_number_has_six_figures() -> None:
    assert (rough(0.000264999999), rough(1234.5678), rough(1e-7)) == ("0.000265", "1234.57", "0.0000001")


def test_noise_of_binary_fractions_stands_in_no_sentence() -> None:
    rig = Rig()
    trade = rig.managed()
    position = rig.position(trade.identifier)
    assert position is not None
    noisy = replace(position, volume=0.1 + 0.2, entry=100.1 + 200.2, stop=290.1 + 0.2)
    instrument = rig.broker.instrument(position.symbol)
    refused = not_the_trade(trade, noisy, instrument)
    assert refused is not None
    orphan = orphan_of(Classified(position=noisy, standing=Standing.ORPHAN), rig.clock.now)
    texts = [over(trade, noisy), unproved(trade, noisy), rewriting(trade, noisy), refused[1], orphan.words]
    assert [text for text in texts if _too_long(text, 2) or "0.3" not in text] == []
