"""Ports, locks, settings and the log of a run: what a process needs before it serves."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.up.conftest import FALL, Installed, free_ports

from dtms.adapters.clocks import AnchoredClock, SystemClock, TapeClock, TapeTime, write_tape_time
from dtms.adapters.notify import MemoryNotifier
from dtms.adapters.sql import open_ledger
from dtms.app.exits.manager import ExitStats
from dtms.domain.market import Quote
from dtms.domain.position import AccountKind
from dtms.domain.trade import TradeState
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side, Ticket, TradeId
from dtms.domain.verdict import Verdict
from dtms.errors import InvariantError, SettingsError
from dtms.services.host import RoleLock, bind_port, claimed
from dtms.services.run_log import ExitLog, VerdictLog, read_exit_counts, read_verdicts
from dtms.services.supervise.process_group import environment_of
from dtms.services.wiring import clock_of, is_advisory, parts_of
from dtms.settings import load_settings
from dtms_lab.instruments import open_book
from dtms_lab.simulate.entries import Order
from dtms_lab.simulate.entry import Entry, money_of
from dtms_lab.simulate.shadow import Shadow
from dtms_lab.simulate.tapes import cut, history_length
from dtms_lab.tapes.tape import Tape

ANY = Verdict(
    trade_id=TradeId("1"),
    ticket=Ticket(1),
    at=FALL,
    bar=FALL,
    version=1,
    state=TradeState.HEALTHY,
    score=-1.5,
    rails=(("rail_news", True),),
)


def test_a_role_is_taken_once_and_free_again_afterwards(tmp_path: Path) -> None:
    first = RoleLock(tmp_path, "gateway")
    with pytest.raises(SettingsError, match=rf"another gateway works on {tmp_path} \(process {os.getpid()}\)"):
        RoleLock(tmp_path, "gateway")
    RoleLock(tmp_path, "server").release()

    first.release()

    RoleLock(tmp_path, "gateway").release()


def test_a_taken_port_leaves_no_lock_behind(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with bind_port("127.0.0.1", port, role="server", variable="DTMS_SERVER_PORT") as other:
        other.listen()
        taking = claimed("127.0.0.1", port, tmp_path / "data", role="server", variable="DTMS_SERVER_PORT")
        with pytest.raises(SettingsError, match=f"port {port} of the server is in use"), taking:
            pass

    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(SettingsError, match="set DTMS_DATA_DIR to another one"):
        RoleLock(tmp_path / "file" / "data", "api")


def test_the_market_runs_on_the_tapes_clock_where_there_is_one(installed: Installed) -> None:
    settings = installed.settings
    assert settings.clock_file is not None
    write_tape_time(settings.clock_file, TapeTime(start=FALL, end=FALL, speed=60.0, origin_ns=None))

    clock = clock_of(settings)

    assert (type(clock), clock.market_now()) == (TapeClock, FALL)
    assert isinstance(clock_of(settings.model_copy(update={"clock_file": None})), AnchoredClock)


@pytest.mark.parametrize("text", [None, "", "{}", '{"start": 1}', "nonsense"])
def test_a_clock_file_that_tells_no_time_is_refused(text: str | None, installed: Installed) -> None:
    path = installed.settings.clock_file
    assert path is not None
    if text is not None:
        path.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match="tells no tape's time"):
        clock_of(installed.settings)


def test_a_calendar_that_cannot_be_read_is_refused(installed: Installed) -> None:
    settings = installed.settings.model_copy(update={"news_file": Path("news.csv")})
    ledger = open_ledger("sqlite://", account="S:1", clock=lambda: FALL)

    with pytest.raises(SettingsError, match=r"news file news\.csv cannot be read"):
        parts_of(settings, SystemClock(), ledger, MemoryNotifier(), role="server")


def test_every_account_but_the_simulated_one_is_advisory_until_armed(installed: Installed) -> None:
    real = installed.settings.model_copy(update={"broker": "mt5"})

    for kind in AccountKind:
        assert is_advisory(real, kind) is (kind is not AccountKind.SIMULATED)
        assert is_advisory(real.model_copy(update={"armed": True}), kind) is False


def test_the_environment_makes_the_same_settings(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    given = installed.settings.model_copy(update={"magic": 7, "armed": True, "account": 5})
    for name, value in environment_of(given).items():
        monkeypatch.setenv(name, value)

    assert load_settings().model_dump() == given.model_dump()


def test_verdicts_are_read_back_as_they_fell(installed: Installed) -> None:
    later = replace(ANY, at=Millis(FALL + 1), score=None)
    log = VerdictLog(installed.settings)
    for verdict in (ANY, later):
        log.on_verdict(verdict, None)

    assert read_verdicts(installed.settings.data_dir) == (ANY, later)


def test_a_line_that_a_kill_cut_off_costs_itself_alone(installed: Installed) -> None:
    VerdictLog(installed.settings).on_verdict(ANY, None)
    with (installed.settings.data_dir / "verdicts.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"at": 17')

    VerdictLog(installed.settings).on_verdict(ANY, None)

    assert read_verdicts(installed.settings.data_dir) == (ANY, ANY)


def test_what_exits_counted_is_summed_over_processes(installed: Installed) -> None:
    stats = ExitStats(deferrals=2)
    log = ExitLog(installed.settings, lambda: stats)
    log.sample()
    log.sample()
    stats.deferrals, stats.fallbacks = 5, 1
    log.sample()
    path = installed.settings.data_dir / "exits.jsonl"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"process": -1, "deferrals": 10, "fallbacks": 0, "refusals": 3}) + "\n")

    counts = read_exit_counts(installed.settings.data_dir)

    assert (counts.deferrals, counts.fallbacks, counts.refusals) == (15, 1, 3)


def test_without_a_tape_no_log_is_written(installed: Installed) -> None:
    settings = installed.settings.model_copy(update={"clock_file": None})

    VerdictLog(settings).on_verdict(ANY, None)
    ExitLog(settings, ExitStats).sample()

    assert list(settings.data_dir.iterdir()) == []


def test_a_piece_ends_so_many_bars_behind_its_start(weather: Tape) -> None:
    piece = cut(weather, start=FALL, bars=30)

    assert piece.bars[-1].start < FALL + 30 * MINUTE <= piece.bars[-1].start + 2 * MINUTE
    assert history_length(piece, FALL) == len(piece.bars) - 30
    assert piece.asks is not None
    assert len(piece.asks) == len(piece.bars)


def test_a_piece_of_quotes_ends_so_many_minutes_behind_its_start(weather: Tape) -> None:
    quotes = tuple(Quote(symbol="XAUUSD", at=Millis(FALL + i * 20_000), bid=2_400.0, ask=2_400.2) for i in range(30))
    tape = replace(weather, bars=(), asks=None, quotes=quotes, has_volume=True, has_side=False)

    piece = cut(tape, start=FALL, bars=5)

    assert piece.quotes == quotes[:15]


def _entry(at: Millis) -> Entry:
    return Entry(
        ticket=1,
        identifier=1,
        twin=0,
        side=Side.BUY,
        volume=0.1,
        risk_money=100.0,
        spread_money=2.0,
        opened_at=at,
        registered=True,
    )


def _quotes(*bids: float) -> tuple[Quote, ...]:
    return tuple(
        Quote(symbol="XAUUSD", at=Millis(FALL + i * 15_000), bid=bid, ask=round(bid + 0.2, 2))
        for i, bid in enumerate(bids)
    )


def test_a_twin_is_opened_at_the_quote_that_opened_the_managed_one() -> None:
    shadow = Shadow("XAUUSD", FALL, 10_000.0, open_book())
    entry = _entry(Millis(FALL + 16_000))
    shadow.enter(entry, Order(Side.BUY, Lots(0.1), Price(2_390.0), Price(2_420.0)))

    shadow.feed(_quotes(2_400.0, 2_402.0, 2_405.0))

    position = next(iter(shadow.terminal.positions_get() or ()))
    assert (position.ticket, position.price_open) == (entry.twin, 2_402.2)


def test_a_twin_is_left_to_its_stop() -> None:
    shadow = Shadow("XAUUSD", FALL, 10_000.0, open_book())
    entry = _entry(FALL)
    shadow.enter(entry, Order(Side.BUY, Lots(0.1), Price(2_390.0), Price(2_420.0)))

    shadow.feed(_quotes(2_400.0, 2_395.0, 2_389.0, 2_410.0))
    shadow.finish()
    money = money_of(shadow.terminal, (entry.twin,))

    assert money.is_open is False
    assert round(money.net + money.costs, 2) == round((2_389.0 - 2_400.2) * 0.1 * 100, 2)


def test_a_twin_that_the_broker_refuses_is_never_left_out_in_silence() -> None:
    shadow = Shadow("XAUUSD", FALL, 10_000.0, open_book())
    shadow.enter(_entry(FALL), Order(Side.BUY, Lots(0.1), Price(2_410.0), Price(2_420.0)))

    with pytest.raises(InvariantError, match="the unmanaged twin of 1 was refused"):
        shadow.feed(_quotes(2_400.0, 2_401.0))
