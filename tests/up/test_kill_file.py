"""The kill switch's file with real processes: main API and DTMS server stand still, and the gateway flattens by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
import requests
from tests.up.conftest import FALL, install, running, seen, wait_until

from dtms.app.modes.flatten import RULE
from dtms.domain.intent import Intent, IntentState
from dtms.domain.units import MINUTE, Millis
from dtms.platforms.processes import freeze, thaw
from dtms.services.web.access import load_or_make_token
from dtms.services.wiring import sentinel_of
from dtms_lab.laws.invariants import read_books
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

PRESSED = Millis(FALL + 1 * MINUTE)
PATIENCE_S = 30.0
STILL = ("api", "server")


@dataclass(frozen=True)
class Story:
    """What was left at the broker, and what the gateway did for it."""

    left: int
    flattening: tuple[Intent, ...]
    pressed_at: Millis


def _open(up: Up, direction: str) -> None:
    settings = up.plan.settings
    quote = up.trader.broker.quote("XAUUSD")
    side = 1 if direction == "BUY" else -1
    body = {"symbol": "XAUUSD", "direction": direction, "volume": 0.4, "stop_loss": round(quote.bid - side * 24, 2)}
    token = load_or_make_token(settings.data_dir / "token")
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": direction}
    answers: list[str] = []

    def done() -> bool:
        answer = requests.post(f"{settings.api_url}/api/trades", json=body, headers=headers, timeout=20)
        answers.append(answer.text)
        return answer.status_code == 201

    wait_until(done, "the opening, once the symbol's history is loaded")


class _Pressing:
    """Stops both services and writes the file, once."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self.at: Millis | None = None

    def each(self, now: Millis) -> None:
        if self.at is None and now >= PRESSED:
            for role in STILL:
                freeze(self._up.processes.supervisor.pid(role))
            sentinel_of(self._up.plan.settings).write_text("flatten\n")
            self.at = now


def _wait_until_flat(up: Up) -> None:
    """Give a loaded machine its time: the tape may be at its end before two orders were sent."""
    end = time.monotonic() + PATIENCE_S
    while up.trader.broker.positions().positions and time.monotonic() < end:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Story:
    installed = install(tmp_path_factory.mktemp("f"))
    with running(installed, weather, start=Millis(FALL - 5 * MINUTE), bars=40, speed=60.0) as up:
        seen(up)
        for direction in ("SELL", "BUY"):
            _open(up, direction)
        pressing = _Pressing(up)
        try:
            up.play(pressing.each, ended=lambda: pressing.at is not None and not up.trader.broker.positions().positions)
            _wait_until_flat(up)
        finally:
            for role in STILL:
                thaw(up.processes.supervisor.pid(role))
        intents = read_books(up.ledger, magic=1).intents
        assert pressing.at is not None
        return Story(
            left=len(up.trader.broker.positions().positions),
            flattening=tuple(intent for intent in intents if intent.rule == RULE),
            pressed_at=pressing.at,
        )


def test_a_person_with_nothing_but_a_shell_closes_every_trade_once(story: Story) -> None:
    assert story.left == 0
    assert [intent.state for intent in story.flattening] == [IntentState.APPLIED] * 2
    assert all(intent.created_at >= story.pressed_at for intent in story.flattening)
