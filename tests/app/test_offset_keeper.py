"""The server's clock outlives a process in the ledger, and a start in a closed market goes by it and says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from dtms.adapters.clocks import VirtualClock
from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.app.gateway.server_offset import OFFSET_FACT, OffsetKeeper
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import DAY, HOUR, Millis
from dtms.errors import BrokerUnavailableError

T0 = Millis(1_700_000_000_000)


@dataclass
class Adapter:
    """An adapter that has seen what it is told to have seen."""

    seen: SeenOffset | None = None
    recalled: list[SeenOffset] = field(default_factory=list)
    silent: bool = False

    def seen_offset(self) -> SeenOffset | None:
        if self.silent:
            raise BrokerUnavailableError("no answer")
        return self.seen

    def recall_offset(self, last: SeenOffset) -> None:
        self.recalled.append(last)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def ledger(clock: VirtualClock) -> Iterator[SqlLedger]:
    made = open_ledger("sqlite://", account="S:1", clock=clock.market_now)
    yield made
    made.close()


def start(ledger: SqlLedger, clock: VirtualClock, adapter: Adapter) -> OffsetKeeper:
    keeper = OffsetKeeper(ledger=ledger, source=adapter, clock=clock)
    keeper.start()
    return keeper


def fact(ledger: SqlLedger) -> str | None:
    with ledger.read() as tx:
        return tx.fact(OFFSET_FACT)


def test_what_one_process_has_seen_is_handed_to_the_next(ledger: SqlLedger, clock: VirtualClock) -> None:
    seen = SeenOffset(ahead=3 * HOUR, at=T0)
    start(ledger, clock, Adapter(seen)).step()
    later = Adapter()
    keeper = start(ledger, clock, later)

    assert later.recalled == [seen]
    assert keeper.words() == (
        "the trade server's clock is taken for UTC+03:00, the last known offset, of 2023-11-14, until a quote changes"
    )


def test_a_first_start_in_a_closed_market_says_what_waits(ledger: SqlLedger, clock: VirtualClock) -> None:
    adapter = Adapter()
    keeper = start(ledger, clock, adapter)
    keeper.step()

    assert (adapter.recalled, fact(ledger)) == ([], None)
    assert "not known until a quote changes; bars wait for that" in keeper.words()


def test_news_is_written_at_once_and_the_same_again_once_a_day(ledger: SqlLedger, clock: VirtualClock) -> None:
    adapter = Adapter(SeenOffset(ahead=2 * HOUR, at=T0))
    keeper = start(ledger, clock, adapter)
    written = []
    for ahead, at in ((2 * HOUR, 0), (2 * HOUR, HOUR), (3 * HOUR, 2 * HOUR), (3 * HOUR, 2 * HOUR + DAY)):
        adapter.seen = SeenOffset(ahead=ahead, at=Millis(T0 + at))
        clock.sleep(6.0)
        keeper.step()
        written.append(fact(ledger))

    assert written[0] == written[1]
    assert len(set(written)) == 3
    assert keeper.words() == "the trade server's clock is UTC+03:00, as its quotes show"


def test_a_broker_that_does_not_answer_costs_no_step(ledger: SqlLedger, clock: VirtualClock) -> None:
    keeper = start(ledger, clock, Adapter(silent=True))
    keeper.step()

    assert fact(ledger) is None


@pytest.mark.parametrize("saved", ["", "3", "{}", '{"ahead_ms": 1e99, "at": 1}', '{"ahead_ms": 999999999, "at": 1}'])
def test_a_damaged_memory_of_the_offset_is_none(ledger: SqlLedger, clock: VirtualClock, saved: str) -> None:
    with ledger.write() as tx:
        tx.set_fact(OFFSET_FACT, saved)
    adapter = Adapter()
    start(ledger, clock, adapter)

    assert adapter.recalled == []
