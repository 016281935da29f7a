"""A terminal's host that was killed: the account is as it was, and the market has gone on meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import HOUR, MINUTE, Millis
from dtms.errors import SettingsError
from dtms_lab.terminal.books import read_books_file
from dtms_lab.terminal.desk import MONDAY_NOON
from dtms_lab.terminal.host import TerminalHost, build_host
from dtms_lab.terminal.oracle import OracleEntry, OracleLog
from dtms_lab.terminal.records import Request
from dtms_lab.terminal.terminal import SimTerminal

_NS = 1_000_000_000
_FALLS = 0.0005
"""How far the price falls in a minute."""


@dataclass
class Tape:
    symbol: str = "EURUSD"
    asks: tuple[Bar, ...] | None = None
    quotes: tuple[Quote, ...] | None = None
    timeframe: Timeframe = Timeframe.M1

    @property
    def bars(self) -> tuple[Bar, ...]:
        found = []
        for n in range(180):
            opened, closed = round(1.2 - n * _FALLS, 5), round(1.2 - (n + 1) * _FALLS, 5)
            bar = Bar(
                start=Millis(MONDAY_NOON + n * MINUTE), open=opened, high=opened, low=closed, close=closed, volume=4
            )
            found.append(bar)
        return tuple(found)


class Broker:
    """A host that is killed and started again on one machine clock."""

    def __init__(self, folder: Path, *, keeps: bool = True) -> None:
        self.folder = folder
        self.keeps = keeps
        self.age = 0.0
        self.host = self.start()

    def start(self) -> TerminalHost:
        books = self.folder / "books.json"
        found = read_books_file(books) if self.keeps else None
        self.oracle = OracleLog(self.folder / "oracle.jsonl", kept=None if found is None else found.recorded)
        return build_host(
            [Tape()],
            self.folder / "t.address",
            speed=1.0,
            start=Millis(MONDAY_NOON + 5 * MINUTE),
            recorder=self.oracle,
            books_path=books if self.keeps else None,
            origin_ns=0,
            boottime=lambda: round(self.age * _NS),
        )

    def die(self) -> None:
        """Lose the host, and with it whatever it had not written."""
        self.oracle.close()
        self.host = self.start()

    def wait(self, minutes: float) -> None:
        self.age += minutes * 60
        self.ask("symbols_total")

    def ask(self, op: str, *args: Any) -> Any:
        return self.host._answer(self.host.backend, op, args).data

    def buy(self, volume: float, stop: float) -> None:
        request = Request(action=1, symbol="EURUSD", volume=volume, type=0, type_filling=1, sl=stop)
        self.ask("order_send", tuple(request))

    def told(self) -> Any:
        """All that a trader can see of the account, and what was done to it."""
        terminal = SimTerminal(self.host.backend.server)
        terminal.initialize()
        seen = (terminal.positions_get(), terminal.history_deals_get(0, 2**33), terminal.history_orders_get(0, 2**33))
        account = terminal.account_info()
        plain = [[tuple(row) for row in rows or ()] for rows in seen]
        return plain, None if account is None else tuple(account), [_facts(entry) for entry in self.oracle.entries]


def _facts(entry: OracleEntry) -> tuple[Any, ...]:
    return (entry.seq, entry.at, entry.kind, entry.ticket, entry.volume_after, entry.stop_after, entry.price)


_ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from((0.1, 1.0, 7.5, 30.0))),
        st.tuples(st.just("buy"), st.sampled_from((0.1, 0.3))),
        st.tuples(st.just("die"), st.just(0.0)),
    ),
    max_size=9,
)


@settings(max_examples=25)
@given(_ACTS)
def test_a_broker_that_was_killed_is_in_nothing_different_from_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, float]]
) -> None:
    killed = Broker(tmp_path_factory.mktemp("k"))
    whole = Broker(tmp_path_factory.mktemp("w"), keeps=False)
    for act, value in acts:
        for broker in (killed, whole):
            if act == "wait":
                broker.wait(value)
            elif act == "buy":
                broker.buy(value, stop=1.19)
            elif broker is killed:
                broker.die()
    for broker in (killed, whole):
        broker.wait(1.0)
    assert killed.told() == whole.told()


def test_a_stop_that_the_price_reached_while_the_terminal_was_down_was_hit(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.wait(1.0)
    broker.buy(0.1, stop=1.19)
    broker.age += 3_600
    broker.die()
    assert broker.ask("positions_get", None, None, None) == []
    assert [entry.kind.value for entry in broker.oracle.entries][::2] == ["open", "stop"]
    hit = broker.oracle.entries[-1].at
    assert hit < MONDAY_NOON + HOUR


def test_books_that_cannot_be_read_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "books.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"books.json holds no books .* delete it to begin with a fresh account"):
        Broker(tmp_path)
