"""The terminal's lagging view against the server's truth, and what the oracle writes down."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtms.domain.market import Quote
from dtms.domain.units import DAY, Millis
from dtms.errors import SettingsError
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.oracle import OracleEntry, OracleLog, read_oracle
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.server import SimServer


@pytest.fixture
def desk() -> SimDesk:
    made = SimDesk()
    made.quote("EURUSD", 1.1)
    return made


def shape(entry: OracleEntry) -> tuple[str, float, float, float | None, float | None]:
    return entry.kind.value, entry.volume_before, entry.volume_after, entry.stop_before, entry.stop_after


def test_a_lagging_view_shows_the_past_while_the_server_has_moved_on(desk: SimDesk) -> None:
    opened = desk.buy("EURUSD", 0.2)
    desk.terminal.backend.view.set_lag(500)
    desk.now = Millis(desk.now + 1)
    desk.sell("EURUSD", 0.1, position=opened.order)
    desk.send(action=6, symbol="EURUSD", position=opened.order, sl=1.09)
    seen = desk.position(opened.order)
    assert seen is not None
    assert (seen.volume, seen.sl, len(desk.deals(opened.order))) == (0.2, 0.0, 1)
    assert desk.server.state.positions[opened.order].volume == 0.1
    desk.now = Millis(desk.now + 499)
    seen = desk.position(opened.order)
    assert seen is not None
    assert seen.volume == 0.2
    desk.now = Millis(desk.now + 1)
    seen = desk.position(opened.order)
    assert seen is not None
    assert (seen.volume, seen.sl, len(desk.deals(opened.order))) == (0.1, 1.09, 2)


def test_an_end_of_the_lag_shows_the_truth_at_once(desk: SimDesk) -> None:
    desk.terminal.backend.view.set_lag(10_000)
    desk.buy("EURUSD", 0.2)
    assert desk.terminal.positions_total() == 0
    desk.terminal.backend.view.set_lag(0)
    assert desk.terminal.positions_total() == 1


def test_the_server_judges_by_the_truth_not_by_the_view(desk: SimDesk) -> None:
    opened = desk.buy("EURUSD", 0.2)
    desk.terminal.backend.view.set_lag(10_000)
    desk.sell("EURUSD", 0.2, position=opened.order)
    assert desk.position(opened.order) is not None
    assert desk.sell("EURUSD", 0.2, position=opened.order).retcode == 10036


def test_the_oracle_records_each_operation_with_its_tag_and_the_state_after_it(desk: SimDesk) -> None:
    opened = desk.buy("EURUSD", 0.3, sl=1.09, comment="open-1", magic=7)
    desk.send(action=6, symbol="EURUSD", position=opened.order, sl=1.095, comment="stop-1", magic=7)
    desk.sell("EURUSD", 0.1, position=opened.order, comment="part-1")
    desk.quote("EURUSD", 1.0949)
    assert [shape(e) for e in desk.oracle.entries] == [
        ("open", 0.0, 0.3, None, 1.09),
        ("position", 0.0, 0.3, None, 1.09),
        ("sltp", 0.3, 0.3, 1.09, 1.095),
        ("position", 0.3, 0.3, 1.09, 1.095),
        ("partial", 0.3, 0.2, 1.095, 1.095),
        ("position", 0.3, 0.2, 1.095, 1.095),
        ("stop", 0.2, 0.0, 1.095, None),
        ("position", 0.2, 0.0, 1.095, None),
    ]
    assert [e.tag for e in desk.oracle.entries][::2] == ["open-1", "stop-1", "part-1", ""]
    assert [e.seq for e in desk.oracle.entries] == list(range(8))
    (stop,) = desk.oracle.of(AppliedKind.STOP)
    assert (stop.price, stop.bid, stop.ask, stop.reason, stop.at) == (1.0949, 1.0949, 1.095, 4, desk.now)
    assert [e.kind for e in desk.oracle.tagged("stop-1")] == [AppliedKind.SLTP]
    assert len(list(desk.oracle.states(opened.order))) == 4
    assert desk.oracle.since(6)[0].kind is AppliedKind.STOP


def test_a_refused_request_is_not_in_the_oracle(desk: SimDesk) -> None:
    desk.buy("EURUSD", 0.001, comment="no")
    assert len(desk.oracle) == 0


def test_swap_close_by_and_pending_orders_are_in_the_oracle(desk: SimDesk) -> None:
    long, short = desk.buy("EURUSD", 0.1).order, desk.sell("EURUSD", 0.1).order
    desk.quote("EURUSD", 1.1, after=DAY)
    placed = desk.send(action=5, symbol="EURUSD", volume=0.1, type=2, price=1.09, type_filling=2, comment="p")
    desk.send(action=7, order=placed.order, price=1.08)
    desk.send(action=8, order=placed.order)
    desk.send(action=10, position=long, position_by=short, comment="by")
    kinds = [e.kind.value for e in desk.oracle.entries if e.kind is not AppliedKind.POSITION]
    assert kinds == [
        "open",
        "open",
        "swap",
        "swap",
        "order_placed",
        "order_modified",
        "order_removed",
        "close_by",
        "close_by",
    ]
    assert [e.identifier for e in desk.oracle.tagged("by")] == [long, short]


def test_the_oracle_file_reads_back_what_was_recorded_and_bears_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "oracle.jsonl"
    log = OracleLog(path)
    now = Millis(1_704_715_200_000)
    server = SimServer(now=lambda: now, recorder=log)
    server.on_quote(Quote(symbol="EURUSD", at=now, bid=1.1, ask=1.1001))
    server.state.note(AppliedKind.OPEN, at=now, before=None, after=None)
    assert len(log) == 0
    desk = SimDesk()
    desk.server.state.recorder = log
    desk.quote("EURUSD", 1.1)
    desk.buy("EURUSD", 0.1, comment="tag")
    log.close()
    assert read_oracle(path) == log.entries
    path.write_bytes(path.read_bytes() + b'{"seq": 2, "at"')
    assert read_oracle(path) == log.entries


def test_a_file_that_is_no_oracle_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text("{}\n")
    with pytest.raises(SettingsError, match=r"other\.jsonl, line 1: .*it is no oracle log"):
        read_oracle(path)
