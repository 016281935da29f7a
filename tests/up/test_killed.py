"""SIGKILL of each process in turn, in mid-tape: what the broker saw, and what the ledger knows afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from tests.up.conftest import FALL, Installed, install, running, seen

from dtms.adapters.sql import SqlLedger, verify_chain
from dtms.domain.trade import Trade
from dtms.domain.units import MINUTE, Millis
from dtms.platforms.processes import kill
from dtms.ports.notifier import AlertKind
from dtms.services.web.access import load_or_make_token
from dtms_lab.laws.invariants import Books, check, read_books
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind

BEGIN = Millis(FALL - 10 * MINUTE)
"""So long before the fall as it takes to open trades."""

BARS = 240
SPEED = 60.0
AFTERWARDS = 20 * MINUTE
ROLES = ("gateway", "server", "api")
KILLS = {"gateway": FALL + 10 * MINUTE, "server": FALL + 23 * MINUTE, "api": FALL + 36 * MINUTE}


@dataclass
class Killed:
    """One process that was killed: the trades at that moment, and when it was ready again."""

    pid: int
    at: Millis
    before: dict[str, Trade]
    transitions: int
    ready_at: Millis | None = None
    after: dict[str, Trade] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """What was seen of the whole run."""

    killed: dict[str, Killed]
    opened: list[dict[str, Any]]
    oracle: tuple[OracleEntry, ...]
    books: Books
    until: Millis
    restarts: dict[str, int]
    epochs: list[int]
    alarms: Counter[str]
    audited: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Story:
    installed = install(tmp_path_factory.mktemp("k"))
    with running(installed, weather, start=BEGIN, bars=BARS, speed=SPEED) as up:
        seen(up)
        opened = [_open(up, direction) for direction in ("SELL", "BUY", "SELL")]
        killing = _Killing(up)
        up.play(killing.each, ended=killing.is_over)
        assert isinstance(up.ledger, SqlLedger)
        return Story(
            killed=killing.killed,
            opened=opened,
            oracle=up.oracle(),
            books=read_books(up.ledger, magic=installed.settings.magic),
            until=up.trader.clock.market_now(),
            restarts={role: up.processes.supervisor.restarts(role) for role in ROLES},
            epochs=sorted({intent.epoch for intent in read_books(up.ledger, magic=1).intents if intent.epoch}),
            alarms=_alarms(installed),
            audited=verify_chain(up.ledger),
        )


def _open(up: Up, direction: str) -> dict[str, Any]:
    """Open a trade as a person does: by the main API, again where the price had moved on before the order could leave."""
    for attempt in range(10):
        answer = _asked(up, direction, attempt)
        if answer.status_code != 503:
            break
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def _asked(up: Up, direction: str, attempt: int) -> requests.Response:
    settings = up.plan.settings
    quote = up.trader.broker.quote("XAUUSD")
    side = 1 if direction == "BUY" else -1
    body = {
        "symbol": "XAUUSD",
        "direction": direction,
        "volume": 0.4,
        "stop_loss": round(quote.bid - side * 24, 2),
        "take_profit": round(quote.bid + side * 60, 2),
    }
    headers = {
        "Authorization": f"Bearer {load_or_make_token(settings.data_dir / 'token')}",
        "Idempotency-Key": f"{direction}-{quote.bid}-{len(up.oracle())}-{attempt}",
    }
    return requests.post(f"{settings.api_url}/api/trades", json=body, headers=headers, timeout=20)


class _Killing:
    """Kills each process at its time, and looks at the trades when it is back."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self.killed: dict[str, Killed] = {}

    def each(self, now: Millis) -> None:
        for role, at in KILLS.items():
            whole = all(killed.ready_at is not None for killed in self.killed.values())
            if role not in self.killed and now >= at and whole:
                self.killed[role] = self._kill(role, now)
            killed = self.killed.get(role)
            if killed is not None and killed.ready_at is None and self._is_back(role, killed):
                killed.ready_at = now
                killed.after = self._trades()
                killed.answers = {trade_id: self._answer(trade) for trade_id, trade in killed.after.items()}

    def is_over(self) -> bool:
        """Say whether all are back, and have had a while to act."""
        back = [killed.ready_at for killed in self.killed.values() if killed.ready_at is not None]
        return len(back) == len(KILLS) and self._up.trader.clock.market_now() > max(back) + AFTERWARDS

    def _kill(self, role: str, now: Millis) -> Killed:
        supervisor = self._up.processes.supervisor
        pid = supervisor.pid(role)
        kill(pid)
        while supervisor.is_running(role) and supervisor.pid(role) == pid:
            pass
        with self._up.ledger.read() as tx:
            count = len(tx.transitions(limit=10_000))
        return Killed(pid=pid, at=now, before=self._trades(), transitions=count)

    def _is_back(self, role: str, killed: Killed) -> bool:
        if self._up.processes.supervisor.pid(role) == killed.pid:
            return False
        url = getattr(self._up.plan.settings, f"{role}_url")
        try:
            return requests.get(f"{url}/health/ready", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def _trades(self) -> dict[str, Trade]:
        return {trade.trade_id: trade for trade in read_books(self._up.ledger, magic=1).trades}

    def _answer(self, trade: Trade) -> dict[str, Any]:
        url = f"{self._up.plan.settings.server_url}/dtms/trade/{trade.ticket}"
        told: dict[str, Any] = requests.get(url, timeout=5).json()
        return told


def _alarms(installed: Installed) -> Counter[str]:
    alerts = installed.notifier.alerts
    return Counter(alert.subject for alert in alerts if alert.kind is AlertKind.PROCESS_DOWN)


def test_each_process_was_killed_and_started_again_once(story: Story) -> None:
    assert story.restarts == dict.fromkeys(ROLES, 1)
    assert {role: killed.ready_at is not None for role, killed in story.killed.items()} == dict.fromkeys(ROLES, True)
    assert story.alarms == Counter(dict.fromkeys(ROLES, 1))


def test_a_restarted_gateway_sends_under_a_newer_epoch(story: Story) -> None:
    assert story.epochs == [1, 2]


def test_trades_that_were_opened_by_the_api_are_managed_from_the_start(story: Story) -> None:
    tickets = {answer["ticket"] for answer in story.opened}

    assert [answer["protection"] for answer in story.opened] == ["active"] * 3
    assert {trade.ticket for trade in story.books.trades} == tickets


def test_every_managed_position_has_its_stop_at_every_instant(story: Story) -> None:
    states = [entry for entry in story.oracle if entry.kind is AppliedKind.POSITION and entry.volume_after > 0]

    assert {entry.identifier for entry in states} >= {trade.identifier for trade in story.books.trades}
    assert [entry for entry in states if entry.stop_after is None] == []


def test_at_most_one_operation_is_applied_an_intent(story: Story) -> None:
    orders: dict[str, set[int]] = {}
    for entry in story.oracle:
        if entry.magic == story.books.magic and entry.tag and entry.kind is not AppliedKind.POSITION:
            orders.setdefault(entry.tag, set()).add(entry.order)

    assert {tag: len(found) for tag, found in orders.items() if len(found) > 1} == {}
    assert set(orders) <= {intent.tag for intent in story.books.intents}


def test_no_law_is_broken_but_for_what_a_dead_process_delays(story: Story) -> None:
    broken = check(story.oracle, story.books, until=story.until)

    assert [violation for violation in broken if violation.law != "orphaned_hedge"] == []


def test_the_defence_went_on_over_the_kills(story: Story) -> None:
    """Else the comparisons below would compare trades to which nothing happens."""
    states = {trade.last_row for killed in story.killed.values() for trade in killed.before.values()}

    assert {"healthy_to_l1", "l1_to_l2"} & states


def test_what_the_ledger_knew_before_is_what_is_known_after(story: Story) -> None:
    untouched = 0
    for role, before, after in _pairs(story):
        frozen = ("trade_id", "identifier", "side", "entry", "r", "initial_stop", "initial_volume", "registered_at")
        assert [getattr(after, name) for name in frozen] == [getattr(before, name) for name in frozen], role
        assert after.version >= before.version
        if after.version == before.version:
            untouched += 1
            live = (
                "state",
                "state_since",
                "pending",
                "deadline",
                "legs",
                "children",
                "owner",
                "stop",
                "volume",
                "marks",
            )
            assert [getattr(after, name) for name in live] == [getattr(before, name) for name in live], role
    assert untouched > 0


def test_the_restarted_system_answers_what_the_ledger_says(story: Story) -> None:
    compared = 0
    for killed in story.killed.values():
        for trade_id, answer in killed.answers.items():
            trade = killed.after[trade_id]
            if answer["version"] == trade.version:
                compared += 1
                assert (answer["state"], answer["r"], len(answer["legs"])) == (trade.state, trade.r, len(trade.legs))
                assert (answer["stop_loss"], answer["volume"]) == (trade.stop, trade.volume)

    assert compared > 0


def test_the_audit_chain_holds_over_the_kills(story: Story) -> None:
    assert story.audited > 0


def _pairs(story: Story) -> Iterator[tuple[str, Trade, Trade]]:
    for role, killed in story.killed.items():
        for trade_id, before in killed.before.items():
            yield role, before, killed.after[trade_id]
