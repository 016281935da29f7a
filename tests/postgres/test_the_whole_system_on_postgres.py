"""The whole system over a tape: on PostgreSQL it does what it does in memory, trade by trade and step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dtms.adapters.sql import SqlLedger, verify_chain
from dtms.domain.intent import Intent
from dtms.domain.records import TransitionRecord
from dtms.domain.trade import Trade
from dtms.domain.units import Millis
from dtms.settings import load_policy
from dtms_lab.simulate.entries import Every
from dtms_lab.simulate.run import findings, make_run
from dtms_lab.simulate.tapes import cut
from dtms_lab.tapes.weather import make_tape

FALL = Millis(1_715_622_600_000)
"""An instant in the weather after which SELLs are warned, reduced and hedged within the hour."""
BARS = 180


@dataclass(frozen=True)
class Done:
    """What a run left behind."""

    trades: tuple[Trade, ...]
    transitions: tuple[TransitionRecord, ...]
    intents: tuple[Intent, ...]
    violations: int
    naked_ms: dict[int, int]
    audit_links: int


def run(url: str) -> Done:
    tape = cut(make_tape(1, 6), start=FALL, bars=BARS)
    run = make_run(tape, policies=load_policy(), signals=Every(15, 8.0), start=FALL, ledger_url=url)
    run.run()
    found = findings(run)
    ledger = run.world.ledger
    assert isinstance(ledger, SqlLedger)
    links = verify_chain(ledger)
    ledger.close()
    return Done(
        trades=tuple(found.trades),
        transitions=tuple(found.transitions),
        intents=tuple(found.intents),
        violations=len(found.violations),
        naked_ms=dict(found.naked_ms),
        audit_links=links,
    )


@pytest.fixture
def account_url(emptied_postgres: Callable[[str], str]) -> str:
    return emptied_postgres("DTMS-Simulated:10000042")


def test_a_tape_over_the_whole_system_ends_the_same_on_postgres_as_in_memory(account_url: str) -> None:
    memory, server = run("sqlite://"), run(account_url)
    assert server == memory
    assert (server.violations, set(server.naked_ms.values())) == (0, {0})
    kinds = Counter(intent.kind.value for intent in server.intents)
    assert len(server.trades) >= 5
    assert len(server.transitions) >= 10
    assert {"set_stop", "reduce", "hedge"} <= set(kinds)
