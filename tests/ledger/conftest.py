"""Ledgers of every kind for the contract suite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.domain.action import Action, SetStop
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, intent_id, tag_of
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.ledger.servers import START, emptied_postgres, empty_postgres, postgres_server

__all__ = ["emptied_postgres", "empty_postgres", "postgres_server"]

ACCOUNT = "Demo:1001"

Opener = Callable[..., SqlLedger]


@pytest.fixture
def postgres_url(emptied_postgres: Callable[[str], str]) -> str:
    """The URL of an empty ledger."""
    return emptied_postgres(ACCOUNT)


@pytest.fixture
def account() -> str:
    return ACCOUNT


@pytest.fixture
def clock() -> list[Millis]:
    """The ledger's instant, in a box: put another one in to let time pass."""
    return [START]


@pytest.fixture
def opened(clock: list[Millis]) -> Iterator[Opener]:
    """Opens ledgers and closes them after the test."""
    ledgers: list[SqlLedger] = []

    def open_one(url: str, *, account: str = ACCOUNT, create: bool = True) -> SqlLedger:
        ledgers.append(open_ledger(url, account=account, clock=lambda: clock[0], create=create))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


@pytest.fixture(params=["file", "postgres"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that several processes can open."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/ledger.sqlite3"


@pytest.fixture(params=["memory", "file", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, opened: Opener) -> SqlLedger:
    """An empty ledger of every kind."""
    if request.param == "postgres":
        return opened(request.getfixturevalue("postgres_url"))
    return opened("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.sqlite3")


@pytest.fixture
def make_trade() -> Callable[..., Trade]:
    """Makes trades; the number is ticket, identifier and key."""

    def make(number: int = 1, **changes: object) -> Trade:
        values: dict[str, object] = {
            "trade_id": TradeId(str(number)),
            "ticket": Ticket(number),
            "identifier": number,
            "symbol": "EURUSD",
            "side": Side.BUY,
            "entry": 1.1,
            "initial_volume": Lots(0.5),
            "initial_stop": Price(1.09),
            "r": 0.01,
            "volume": Lots(0.5),
            "stop": Price(1.09),
            "target": None,
            "state": TradeState.HEALTHY,
            "state_since": START,
            "version": 1,
            "owner": Owner.SHARED,
            "registered_at": START,
        }
        return Trade(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_intent() -> Callable[..., Intent]:
    """Makes planned intents of trade 1, each decision a second after the one before."""

    def make(decision: int = 1, action: Action | None = None, *, attempt: int = 1, position: int | None = 1) -> Intent:
        trade_id, name = TradeId("1"), f"decision-{decision}"
        at = Millis(START + 1_000 * decision)
        return Intent(
            intent_id=intent_id(trade_id, name, 0, attempt, at),
            trade_id=trade_id,
            position=position,
            decision_id=name,
            step=0,
            attempt=attempt,
            action=SetStop(ticket=Ticket(1), stop=Price(1.095), target=None) if action is None else action,
            precondition=Precondition(stop=1.09, version=1),
            owner=Planner.DTMS,
            rule=DefenceRule.TIGHTEN,
            state=IntentState.PLANNED,
            tag=tag_of(trade_id, name, 0, attempt),
            created_at=at,
            expires_at=None,
        )

    return make
