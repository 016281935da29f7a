"""The kill switch at the gateway: its file works with the API dead, and nothing that adds risk is sent once it is pressed."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.app.rig import Crash, Killed, Rig
from tests.app.test_gateway import end_of, hedge, plan, tighter
from tests.only_posix import os_, resource, socket_

from dtms import bootstrap
from dtms.app.modes.flatten import RULE
from dtms.app.modes.kill_file import Unreadable, read_word
from dtms.app.modes.kill_switch import KillSwitch
from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.action import Close, CloseHedge, Reduce
from dtms.domain.intent import Intent, IntentState
from dtms.domain.modes import Cause
from dtms.domain.receipt import Rejection
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import Lots
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerUnavailableError
from dtms.ports.notifier import AlertKind
from dtms_lab.terminal.recorder import AppliedKind


def gateway(rig: Rig, file: Path, *, epoch: int = 2) -> Path:
    """Start the gateway with a kill switch's file; nobody but it looks at the file."""
    reads: Any = rig.reads
    rig.executor = bootstrap.make_executor(rig.parts, reads, rig.writes, epoch=epoch, sentinel=file)
    rig.executor.recover()
    return file


@pytest.fixture
def file(rig: Rig, tmp_path: Path) -> Path:
    return gateway(rig, tmp_path / "kill-switch")


def level(rig: Rig) -> str | None:
    with rig.ledger.read() as tx:
        return tx.fact(KILL_FACT)


def flattening(rig: Rig, trade: Trade) -> list[Intent]:
    return [intent for intent in rig.intents(trade) if intent.rule == RULE]


def work(rig: Rig, seconds: float) -> None:
    for _ in range(round(seconds)):
        rig.wait(1)
        rig.settle()


@pytest.mark.parametrize("word", ["protect_only", "flatten", "FLATTEN \nignored", "stop!", ""])
def test_a_word_in_the_file_refuses_what_adds_risk_with_nobody_else_alive(rig: Rig, file: Path, word: str) -> None:
    trade = rig.managed()
    file.write_text(word)
    adds = plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.REJECTED, Rejection.KILL_SWITCH)
    assert rig.others(trade) == ()
    assert level(rig) == ("flatten" if word.lower().startswith("flatten") else "protect_only")


def a_folder(file: Path) -> None:
    file.mkdir()


def a_pipe(file: Path) -> None:
    os_.mkfifo(file)


def a_socket(file: Path) -> None:
    with socket.socket(socket_.AF_UNIX) as made:
        made.bind(str(file))


def a_link_to_nothing(file: Path) -> None:
    file.symlink_to(file.parent / "nowhere")


def a_link_to_a_file(file: Path) -> None:
    (file.parent / "foreign").write_text("flatten\n")
    file.symlink_to(file.parent / "foreign")


def a_folder_that_is_gone(file: Path) -> None:
    file.parent.rmdir()


UNREADABLE = (a_folder, a_pipe, a_socket, a_link_to_nothing, a_link_to_a_file, a_folder_that_is_gone)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and sockets of the file system")
@pytest.mark.parametrize("put", UNREADABLE)
def test_a_file_that_cannot_be_read_lets_only_through_what_reduces_risk_and_presses_nothing(
    rig: Rig, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    (tmp_path / "data").mkdir()
    file = gateway(rig, tmp_path / "data" / "kill-switch")
    trade = rig.managed()
    put(file)
    adds, takes = plan(rig, trade, hedge(trade)), plan(rig, trade, tighter(trade), decision="stop")
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.REJECTED, Rejection.MODE)
    assert end_of(rig, takes) == (IntentState.APPLIED, None)
    assert (level(rig), Cause.KILL_FILE in rig.executor.modes.active()) == (None, True)


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on open files")
def test_too_many_open_files_press_nothing_and_are_over_when_they_are_closed(rig: Rig, file: Path) -> None:
    trade = rig.managed()
    adds = plan(rig, trade, hedge(trade))
    with every_descriptor_taken():
        word = read_word(file)
        rig.executor.gate.begin(rig.executor.book.page())
        refused = rig.executor.gate.denies(adds, None)
    assert (word, refused) == (
        Unreadable(why="Too many open files"),
        (
            Rejection.KILL_SWITCH,
            "the kill switch's file cannot be read (Too many open files); only what reduces risk is sent",
        ),
    )
    rig.carry_out()
    assert (level(rig), rig.executor.modes.active()) == (None, frozenset())
    assert end_of(rig, adds) == (IntentState.APPLIED, None)


@contextmanager
def every_descriptor_taken() -> Iterator[None]:
    """Leave this process no file that it could open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.open(os.devnull, os.O_RDONLY)
    os.close(taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_removing_the_file_lets_go_of_what_it_has_pressed(rig: Rig, file: Path) -> None:
    file.write_text("pause\n")
    rig.carry_out()
    file.unlink()
    rig.carry_out()
    assert level(rig) == "pause"  # an editor removes a file to write it anew
    rig.wait(1)
    rig.carry_out()
    assert level(rig) is None
    assert [alert.detail for alert in rig.notifier.alerts if alert.kind is AlertKind.KILL_SWITCH] == [
        "at pause, pressed by file (file)",
        "let go of by removing the file; it was at pause, pressed by file",
    ]
    with rig.ledger.read() as tx:
        told = [(entry.actor, entry.what) for entry in tx.audit() if entry.what.startswith("kill_switch")]
    assert told == [("file", "kill_switch_pressed"), ("file removed", "kill_switch_released")]


def test_removing_the_file_lets_go_of_nothing_that_a_request_has_pressed(rig: Rig, file: Path) -> None:
    KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier, sentinel=file).press(KillLevel.PAUSE, "anna")
    rig.carry_out()
    file.unlink()
    work(rig, 3)
    assert level(rig) == "pause"
    file.write_text("protect_only\n")
    work(rig, 1)
    assert level(rig) == "protect_only"
    file.unlink()
    work(rig, 3)
    switch = KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier)
    assert (switch.state().level, switch.state().by) == (KillLevel.PAUSE, "anna")


@pytest.mark.parametrize("word", ["stop!", "", "p\xe4use", "flatten now"])
def test_a_word_that_is_not_understood_calls_a_person_at_once(rig: Rig, file: Path, word: str) -> None:
    file.write_text(word)
    rig.carry_out()
    (alert,) = [alert for alert in rig.notifier.alerts if alert.kind is AlertKind.KILL_SWITCH]
    assert f"the file says {word!r}, which is no level: it counts as protect_only" in alert.detail
    file.write_text("pause")
    rig.carry_out()
    assert level(rig) == "pause"


@pytest.mark.parametrize("word", ["stop!", ""])
def test_a_word_that_nobody_knows_never_lowers_the_level(rig: Rig, file: Path, word: str) -> None:
    file.write_text("flatten\n")
    rig.carry_out()
    file.write_text(word)
    rig.carry_out()
    assert level(rig) == "flatten"


def test_pause_holds_back_what_adds_risk_and_lets_a_plan_under_way_protect(rig: Rig, file: Path) -> None:
    trade = rig.managed()
    file.write_text("pause\n")
    adds, takes = plan(rig, trade, hedge(trade)), plan(rig, trade, tighter(trade), decision="stop")
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.PLANNED, None)
    assert end_of(rig, takes) == (IntentState.APPLIED, None)
    KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier, sentinel=file).release("me")
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.APPLIED, None)


def test_the_level_that_the_file_tells_is_shown_by_everybody(rig: Rig, file: Path) -> None:
    file.write_text("pause\nanna\n")
    rig.carry_out()
    switch = KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier)
    state = switch.state()
    assert (state.level, state.by, state.since) == (KillLevel.PAUSE, "anna", rig.clock.now)


class Press:
    """Crash points that press the switch at a place instead of killing."""

    def __init__(self, place: str, press: Callable[[], object]) -> None:
        self.place, self.press = place, press

    def reach(self, name: str) -> None:
        if name == self.place:
            self.press()


@pytest.mark.parametrize("how", ["file", "ledger"])
@pytest.mark.parametrize("word", list(KillLevel))
@pytest.mark.parametrize("place", ["gateway.claimed", "gateway.before_send"])
def test_a_press_between_claim_and_send_is_in_time(
    rig: Rig, tmp_path: Path, how: str, word: KillLevel, place: str
) -> None:
    file = gateway(rig, tmp_path / "kill-switch")
    trade = rig.managed()
    switch = KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier)

    def press() -> None:
        if how == "file":
            file.write_text(word.value)
        else:
            switch.press(word, "me")

    rig.executor.crash = Press(place, press)
    sent = len(rig.writes.sent)
    adds = plan(rig, trade, hedge(trade))
    rig.executor.tick()
    assert end_of(rig, adds) == (IntentState.REJECTED, Rejection.KILL_SWITCH)
    assert (len(rig.writes.sent), rig.others(trade)) == (sent, ())


def test_what_reduces_risk_goes_on_although_the_switch_is_pressed_in_between(rig: Rig, file: Path) -> None:
    trade = rig.managed()
    rig.executor.crash = Press("gateway.claimed", lambda: file.write_text("protect_only"))
    takes = plan(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)))
    rig.carry_out()
    assert end_of(rig, takes) == (IntentState.APPLIED, None)


# ----- flatten without the API


def test_flatten_in_the_file_closes_every_managed_trade_and_no_other(rig: Rig, file: Path) -> None:
    first, second, foreign = rig.managed(), rig.hedged(), rig.open(volume=0.3)
    file.write_text("flatten\n")
    work(rig, 25)
    assert [position.ticket for position in rig.broker.positions().positions] == [foreign.ticket]
    assert {intent.state for trade in (first, second) for intent in flattening(rig, trade)} == {IntentState.APPLIED}
    assert {rig.trade(trade.ticket).state for trade in (first, second)} == {TradeState.CLOSED}


def test_flatten_as_a_fact_alone_is_driven_by_the_gateway_too(rig: Rig) -> None:
    trade = rig.hedged()
    with rig.ledger.write() as tx:
        tx.set_fact(KILL_FACT, KillLevel.FLATTEN)
    work(rig, 25)
    assert rig.broker.positions().positions == ()
    assert rig.trade(trade.ticket).state is TradeState.CLOSED


def test_api_and_gateway_that_both_flatten_close_each_trade_once(rig: Rig, file: Path) -> None:
    trades = [rig.managed(), rig.managed(), rig.managed()]
    api = KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier, sentinel=file)
    api.press(KillLevel.FLATTEN, "operator")
    rig.writes.before = lambda _tag: api.enforce()  # type: ignore[assignment]
    for _ in range(6):
        api.enforce()
        rig.executor.tick()
        api.enforce()
        rig.wait(1)
    assert [len(flattening(rig, trade)) for trade in trades] == [1, 1, 1]
    assert (rig.applied(AppliedKind.CLOSE), rig.broker.positions().positions) == (3, ())


@pytest.mark.parametrize("point", ["gateway.before_claim", "gateway.claimed", "gateway.before_send", "gateway.sent"])
def test_a_kill_during_flatten_is_taken_up_where_it_was(tmp_path: Path, point: str) -> None:
    rig = Rig(crash=Crash())
    file = gateway(rig, tmp_path / "kill-switch")
    trades = [rig.managed(), rig.hedged()]
    rig.crash.at, rig.crash.times = point, rig.crash.reached[point] + 2
    file.write_text("flatten\n")
    killed = 0
    for _ in range(40):
        rig.wait(1)
        try:
            rig.settle()
        except Killed:
            killed += 1
            gateway(rig, file, epoch=rig.executor.epoch + 1)
    assert killed == 1
    assert rig.broker.positions().positions == ()
    assert {rig.trade(trade.ticket).state for trade in trades} == {TradeState.CLOSED}
    assert rig.applied(AppliedKind.CLOSE) + rig.applied(AppliedKind.CLOSE_BY) <= 4


def test_a_switch_that_is_let_go_is_not_pressed_again_by_a_gateway_that_had_read_the_file(rig: Rig, file: Path) -> None:
    switch = KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier, sentinel=file)
    switch.press(KillLevel.PROTECT_ONLY, "me")
    rig.carry_out()
    write = rig.ledger.write

    def released_just_before() -> Any:
        rig.ledger.write = write  # type: ignore[method-assign]
        switch.release("me")
        return write()

    file.write_text("flatten\n")
    rig.ledger.write = released_just_before  # type: ignore[method-assign]
    rig.executor.gate.kill.enforce()
    assert (level(rig), file.exists()) == (None, False)


def test_who_pressed_stands_in_the_audit_once(rig: Rig, file: Path) -> None:
    switch = KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier, sentinel=file)
    switch.press(KillLevel.PROTECT_ONLY, "anna")
    rig.carry_out()
    switch.enforce()
    with rig.ledger.read() as tx:
        pressed = [entry.actor for entry in tx.audit() if entry.what == "kill_switch_pressed"]
    assert pressed == ["anna"]


def test_the_file_is_whole_or_not_there(file: Path, rig: Rig) -> None:
    switch = KillSwitch(ledger=rig.ledger, clock=rig.clock, notifier=rig.notifier, sentinel=file)
    switch.press(KillLevel.FLATTEN, "a\nb\x00")
    assert file.read_text() == "flatten\nab\n"
    assert [path.name for path in file.parent.iterdir()] == ["kill-switch"]


def test_an_unhedge_and_a_close_of_the_hedge_are_told_apart(rig: Rig, file: Path) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    file.write_text("protect_only")
    adds = plan(rig, trade, CloseHedge(ticket=trade.ticket, hedge=trade.hedge.ticket))
    takes = plan(rig, trade, Close(ticket=trade.ticket), decision="close")
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.REJECTED, Rejection.KILL_SWITCH)
    assert end_of(rig, takes) == (IntentState.APPLIED, None)


class Unwritable:
    """A ledger that can be read and not written, as on a full disk."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def write(self) -> Any:
        msg = "ledger: the disk is full"
        raise LedgerUnavailableError(msg)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


def test_pressed_while_the_ledger_cannot_be_written_nothing_is_sent_and_it_holds_once_it_can(
    rig: Rig, tmp_path: Path
) -> None:
    trade = rig.managed()
    adds = plan(rig, trade, hedge(trade))
    whole, rig.ledger = rig.ledger, Unwritable(rig.ledger)  # type: ignore[assignment]
    file = tmp_path / "kill-switch"
    reads: Any = rig.reads
    rig.executor = bootstrap.make_executor(rig.parts, reads, rig.writes, epoch=2, sentinel=file)
    file.write_text("flatten")
    for _ in range(3):
        with pytest.raises(LedgerUnavailableError):
            rig.executor.tick()
    assert (rig.writes.sent, Cause.LEDGER_DOWN in rig.executor.modes.active()) == ([], True)
    rig.ledger = whole
    gateway(rig, file, epoch=3)
    work(rig, 2)
    assert (end_of(rig, adds), level(rig)) == ((IntentState.REJECTED, Rejection.KILL_SWITCH), "flatten")
    assert rig.broker.positions().positions == ()


def test_a_ledger_that_cannot_be_read_at_the_last_moment_lets_nothing_through_that_adds_risk(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, hedge(trade))
    gate = rig.executor.gate

    class Unreadable:
        def read(self) -> Any:
            msg = "ledger: locked"
            raise LedgerUnavailableError(msg)

    gate.ledger = Unreadable()  # type: ignore[assignment]
    said = "nobody can tell whether the kill switch was pressed: ledger: locked"
    assert gate.last_word(intent) == (Rejection.NOT_SENT, said)
