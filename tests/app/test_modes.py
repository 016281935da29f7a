"""Modes over the real parts: each cause entered and left, what each mode forbids at the broker, halts and restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.app.rig import Crash, Rig
from tests.app.test_gateway import end_of, hedge, plan, tighter
from tests.ledger.test_audit import tamper

from dtms import bootstrap
from dtms.adapters.clocks import VirtualClock
from dtms.adapters.sql import SqlLedger
from dtms.app.journal.mode_facts import HALT_FACT, TOLD_FACT, causes_fact, read_modes
from dtms.app.modes.clock_watch import ClockWatch
from dtms.app.modes.halt import NotHaltedError, StillHoldsError, halt, resume
from dtms.app.modes.keeper import ModeKeeper
from dtms.app.modes.kill_switch import KillSwitch
from dtms.app.reconcile.outcome import Outcome, write_outcome
from dtms.app.reconcile.reconciler import Reconciler
from dtms.domain.action import Action, OpenHedge, Reduce
from dtms.domain.intent import IntentState
from dtms.domain.modes import Cause, Mode
from dtms.domain.receipt import Rejection
from dtms.domain.records import EventKind
from dtms.domain.trade import Hold, Trade, TradeState
from dtms.domain.units import Lots, Millis
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerUnavailableError
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite
from dtms.ports.notifier import AlertKind
from dtms.services.gateway.main import look_for_damage
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec

_MAGIC = 77
_BREAKER_COOLDOWN_S = 60


@dataclass(slots=True)
class System:
    """The rig with the gateway's reconciliation, as its loop runs it: quotes come each second unless they are held back."""

    rig: Rig
    reconciler: Reconciler = field(init=False)
    quoted: bool = True

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, epoch: int = 1) -> None:
        self.rig.start(epoch=epoch)
        executor = self.rig.executor
        self.reconciler = bootstrap.make_reconciler(
            self.rig.parts,
            executor.reads,
            account=self.rig.broker.account().key,
            magic=_MAGIC,
            causes=executor.modes,
        )
        self.reconciler.start()
        self.rig.settle()

    def live(self, seconds: int) -> None:
        """Let every service make a pass a second."""
        for _ in range(seconds):
            self.rig.wait(1)
            if self.quoted:
                self.rig.price(2_000.0)
            self.reconciler.step(self.rig.executor.book.page().unfinished)
            self.rig.settle()

    def causes(self) -> dict[Cause, bool]:
        """What stands, and whether it holds still."""
        with self.rig.ledger.read() as tx:
            return {told.cause: told.ended is None for told in read_modes(tx).causes}

    def mode(self) -> Mode:
        with self.rig.ledger.read() as tx:
            return read_modes(tx).mode

    def told(self) -> list[str]:
        """The modes that were told to people, in order."""
        kinds = (AlertKind.MODE, AlertKind.HALT)
        return [alert.subject for alert in self.rig.notifier.alerts if alert.kind in kinds]

    def events(self) -> list[str]:
        """The modes that the event stream tells."""
        with self.rig.ledger.read() as tx:
            return [json.loads(e.body)["mode"] for e in tx.events_since(0) if e.kind is EventKind.MODE]

    def leaves(self, cause: Cause, within_s: int = 70) -> None:
        """Let time pass until a cause is gone, and see that the mode was told once on the way in and once on the way out."""
        for _ in range(within_s):
            if cause not in self.causes():
                break
            self.live(1)
        assert self.causes() == {}
        assert self.told()[-1] == self.events()[-1] == Mode.NORMAL


@pytest.fixture
def system(rig: Rig) -> System:
    return System(rig)


def in_doubt(system: System) -> Trade:
    """Leave a change of the stop with an outcome that nobody knows: it never arrived."""
    trade = system.rig.managed()
    system.rig.writes.fate = lambda _action: "lost_on_the_way"
    plan(system.rig, trade, tighter(trade))
    system.rig.carry_out()
    system.rig.writes.fate = lambda _action: "answered"
    return trade


def test_a_system_that_has_reconciled_at_its_start_is_normal_and_writes_nothing_about_it(system: System) -> None:
    assert (system.mode(), system.causes(), system.told(), system.events()) == (Mode.NORMAL, {}, [], [])
    with system.rig.ledger.read() as tx:
        assert [tx.fact(name) for name in (causes_fact("gateway"), causes_fact("server"), TOLD_FACT)] == [None] * 3


# ----- each cause, entered and left


def test_an_unknown_outcome_degrades_until_it_is_decided_and_reconciled(system: System) -> None:
    in_doubt(system)
    assert (system.mode(), system.causes()) == (Mode.DEGRADED, {Cause.UNKNOWN_OUTCOME: True})
    assert system.told() == system.events() == [Mode.DEGRADED]
    system.leaves(Cause.UNKNOWN_OUTCOME)
    assert system.told() == system.events() == [Mode.DEGRADED, Mode.NORMAL]


def test_a_market_without_quotes_degrades_while_it_is_open_and_a_trade_is_there(system: System) -> None:
    system.quoted = False
    system.live(200)
    assert system.causes() == {}
    system.rig.price(2_000.0)
    system.rig.managed()
    system.live(200)
    assert (system.mode(), system.causes()) == (Mode.DEGRADED, {Cause.STALE_MARKET: True})
    system.quoted = True
    system.live(50)
    assert system.causes() == {Cause.STALE_MARKET: True}
    system.live(15)
    assert system.causes() in ({Cause.STALE_MARKET: False}, {})
    system.leaves(Cause.STALE_MARKET)


def test_a_symbol_that_quotes_seldom_is_told_of_once(system: System) -> None:
    system.rig.managed()
    system.quoted = False
    for _ in range(8):
        system.live(75)
        system.rig.price(2_000.0)
    assert system.told() == [Mode.DEGRADED]


def test_a_silent_broker_leaves_only_protection_until_it_was_reconciled(system: System) -> None:
    system.rig.managed()
    system.rig.reads.down = True
    system.live(20)
    assert system.mode() is Mode.PROTECT_ONLY
    assert system.causes()[Cause.BROKER_SILENT] is True
    system.rig.reads.down = False
    system.leaves(Cause.BROKER_SILENT)


@pytest.mark.parametrize("hold", [Hold.QUARANTINED, Hold.INVARIANT])
def test_a_trade_in_quarantine_degrades_until_a_person_lifts_it(system: System, hold: Hold) -> None:
    trade = system.rig.managed()
    system.rig.put(replace(system.rig.trade(trade.ticket), hold=hold))
    system.live(70)
    assert (system.mode(), system.causes()) == (Mode.DEGRADED, {Cause.QUARANTINED: True})
    system.rig.put(replace(system.rig.trade(trade.ticket), hold=Hold.NONE))
    system.leaves(Cause.QUARANTINED)


def test_a_start_that_cannot_be_reconciled_leaves_only_protection(system: System) -> None:
    system.rig.managed()
    system.rig.reads.down = True
    system.restart(epoch=2)
    system.live(10)
    assert system.mode() is Mode.PROTECT_ONLY
    assert system.causes()[Cause.UNRECONCILED] is True
    system.rig.reads.down = False
    system.leaves(Cause.UNRECONCILED)


def test_a_position_in_our_name_without_a_record_leaves_only_protection_until_it_is_gone(system: System) -> None:
    done = system.rig.order(
        action=Mt5.TRADE_ACTION_DEAL, type=Mt5.ORDER_TYPE_BUY, volume=0.5, sl=1_990.0, magic=_MAGIC, comment="ours"
    )
    system.live(75)
    assert system.mode() is Mode.PROTECT_ONLY
    assert system.causes()[Cause.ORPHANS] is True
    system.rig.hand_close(done.order)
    system.live(75)
    assert Cause.ORPHANS not in system.causes()


def refused(system: System, code: int, times: int) -> Trade:
    """Let the broker refuse so many stop changes of different decisions."""
    trade = system.rig.managed()
    system.rig.dealer.refuses = lambda request: code if request.action == Mt5.TRADE_ACTION_SLTP else None
    for number in range(times):
        plan(system.rig, trade, tighter(trade), decision=f"try {number}")
        system.rig.carry_out()
    system.rig.dealer.refuses = lambda _request: None
    return trade


def test_refusals_for_good_leave_only_protection_until_the_cool_down_and_a_reconcile(system: System) -> None:
    refused(system, Mt5.TRADE_RETCODE_INVALID, 3)
    assert (system.mode(), system.causes()) == (Mode.PROTECT_ONLY, {Cause.REJECTS: True})
    system.live(_BREAKER_COOLDOWN_S // 2)
    assert system.causes() == {Cause.REJECTS: True}
    carried = plan(system.rig, trade := system.rig.managed(), tighter(trade), decision="after")
    system.live(_BREAKER_COOLDOWN_S)
    assert end_of(system.rig, carried)[0] is IntentState.APPLIED
    system.leaves(Cause.REJECTS)


def test_trading_switched_off_leaves_only_protection_at_once_until_something_was_carried_out(system: System) -> None:
    trade = refused(system, Mt5.TRADE_RETCODE_CLIENT_DISABLES_AT, 1)
    assert (system.mode(), system.causes()) == (Mode.PROTECT_ONLY, {Cause.TRADING_OFF: True})
    carried = plan(system.rig, trade, tighter(trade), decision="after")
    system.live(_BREAKER_COOLDOWN_S * 2)
    assert end_of(system.rig, carried)[0] is IntentState.APPLIED
    system.leaves(Cause.TRADING_OFF)


def test_too_many_requests_degrade_until_the_wait_is_over(system: System) -> None:
    refused(system, Mt5.TRADE_RETCODE_TOO_MANY_REQUESTS, 1)
    system.rig.settle()
    assert (system.mode(), system.causes()) == (Mode.DEGRADED, {Cause.SEND_BUDGET: True})
    system.leaves(Cause.SEND_BUDGET)


def test_a_stop_out_leaves_only_protection_until_there_is_margin_again() -> None:
    rig = Rig(account=AccountSpec(balance=20_000.0, leverage=10))
    system = System(rig)
    rig.managed(volume=0.9, stop=1_000.0)
    kept = rig.managed(volume=0.05, stop=1_000.0)
    rig.price(1_870.0)
    rig.pass_time(15)
    assert rig.applied(AppliedKind.STOP_OUT) == 1
    assert rig.trade(kept.ticket).is_open
    assert system.mode() is Mode.PROTECT_ONLY
    assert Cause.STOP_OUT in system.causes()
    system.leaves(Cause.STOP_OUT)


@dataclass(slots=True)
class Skewed:
    """The rig's clock with a wall clock that is ahead and a boot-time clock that was set back."""

    clock: VirtualClock
    ahead_ms: int = 0
    back_ns: int = 0

    def market_now(self) -> Millis:
        return self.clock.now

    def wall_now(self) -> Millis:
        return Millis(self.clock.now + self.ahead_ms)

    def boot_ns(self) -> int:
        return self.clock.boot_ns() - self.back_ns


def skewed(system: System) -> Skewed:
    """Let the monitor watch a clock of its own."""
    clock = Skewed(system.rig.clock)
    monitor = system.rig.server.monitor
    monitor.watch = ClockWatch(clock, monitor.modes)
    system.live(1)
    return clock


@pytest.mark.parametrize("ahead_ms", [501, -501, 3_600_000])
def test_a_step_of_the_wall_clock_degrades_until_a_whole_pass_and_a_reconcile(system: System, ahead_ms: int) -> None:
    clock = skewed(system)
    clock.ahead_ms = ahead_ms
    system.live(1)
    assert (system.mode(), list(system.causes())) == (Mode.DEGRADED, [Cause.CLOCK_STEPPED])
    system.leaves(Cause.CLOCK_STEPPED)


def test_a_reboot_or_sleep_leaves_only_protection_until_a_whole_pass_and_a_reconcile(system: System) -> None:
    clock = skewed(system)
    clock.back_ns = 10**12
    system.live(1)
    assert (system.mode(), list(system.causes())) == (Mode.PROTECT_ONLY, [Cause.SUSPENDED])
    system.leaves(Cause.SUSPENDED)


def test_a_broken_audit_chain_halts_until_a_start_finds_it_whole_and_a_person_resumes(system: System) -> None:
    system.rig.managed()
    ledger: SqlLedger = system.rig.ledger
    tamper(ledger, "UPDATE audit SET actor = 'nobody' || seq WHERE seq = 1")
    look_for_damage(ledger, system.rig.executor.modes)
    system.live(1)
    assert (system.mode(), system.causes()) == (Mode.HALT, {Cause.LEDGER_DAMAGED: True})
    with pytest.raises(StillHoldsError, match=r"audit link 1 is not what was written.*restore the last backup"):
        resume(ledger, system.rig.clock.now, actor="anna", reason="please")
    tamper(ledger, "UPDATE audit SET actor = 'dtms' WHERE seq = 1")
    system.restart(epoch=2)
    look_for_damage(ledger, system.rig.executor.modes)
    system.live(70)
    assert system.mode() is Mode.HALT
    resume(ledger, system.rig.clock.now, actor="anna", reason="restored")
    system.live(1)
    assert system.mode() is Mode.NORMAL


@dataclass(slots=True)
class Outage:
    """A ledger that is away while `away` says so, or takes no writes; everything else is the real one."""

    ledger: Ledger
    away: bool = False
    only_writes: bool = False

    def _look(self, *, writes: bool = False) -> None:
        if self.away or (writes and self.only_writes):
            msg = "the disk is full"
            raise LedgerUnavailableError(msg)

    @property
    def epoch(self) -> str:
        return self.ledger.epoch

    @contextmanager
    def read(self) -> Iterator[LedgerRead]:
        self._look()
        with self.ledger.read() as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[LedgerWrite]:
        self._look(writes=True)
        with self.ledger.write() as tx:
            yield tx

    def revision(self) -> int:
        self._look()
        return self.ledger.revision()

    def close(self) -> None:
        self.ledger.close()


def away(rig: Rig) -> Outage:
    """Put an outage in front of the rig's ledger."""
    broken: Any = Outage(rig.ledger)
    rig.ledger = broken
    found: Outage = broken
    return found


def test_a_ledger_that_was_away_leaves_only_protection_until_a_reconcile(rig: Rig) -> None:
    outage = away(rig)
    system = System(rig)
    rig.managed()
    outage.away = True
    for _ in range(3):
        rig.wait(1)
        with pytest.raises(LedgerUnavailableError):
            rig.executor.tick()
    assert rig.executor.modes.active() == {Cause.LEDGER_DOWN}
    outage.away = False
    rig.executor.tick()
    assert (system.mode(), list(system.causes())) == (Mode.PROTECT_ONLY, [Cause.LEDGER_DOWN])
    system.leaves(Cause.LEDGER_DOWN)


def test_a_gateway_with_nothing_to_send_says_that_the_ledger_takes_no_writes(rig: Rig) -> None:
    outage = away(rig)
    rig.start()
    work = rig.work()
    assert [work.run() for _ in range(2)] == [None, None]
    outage.only_writes = True
    for _ in range(20):
        rig.wait(1)
        work.run()
    assert Cause.LEDGER_DOWN in rig.executor.modes.active()
    assert [alert.subject for alert in rig.notifier.alerts if alert.kind is AlertKind.MODE] == [
        "PROTECT_ONLY ledger_down"
    ]
    outage.only_writes = False
    for _ in range(70):
        rig.wait(1)
        assert work.run() is None
    assert (rig.executor.modes.active(), rig.executor.book.page().mode) == (frozenset(), Mode.NORMAL)


def test_a_cause_that_cannot_be_written_counts_here_at_once_and_calls_once(rig: Rig) -> None:
    outage = away(rig)
    keeper = ModeKeeper("gateway", rig.ledger, rig.clock, rig.notifier)
    page = rig.executor.book.page()
    assert keeper.review(page) is Mode.NORMAL
    outage.away = True
    keeper.set(Cause.TRADING_OFF, "AutoTrading is off")
    assert [keeper.review(page) for _ in range(3)] == [Mode.PROTECT_ONLY] * 3
    assert [alert.subject for alert in rig.notifier.alerts] == ["PROTECT_ONLY trading_off"]
    outage.away = False
    assert keeper.review(page) is Mode.PROTECT_ONLY
    assert rig.executor.book.page().mode is Mode.PROTECT_ONLY


# ----- what a mode forbids


def protect_only(system: System) -> None:
    system.rig.executor.modes.set(Cause.TRADING_OFF, "a test says so")
    system.rig.executor.tick()
    assert system.mode() is Mode.PROTECT_ONLY


def test_protect_only_refuses_a_hedge_at_the_claim_and_sends_a_reduction(system: System) -> None:
    trade = system.rig.managed()
    protect_only(system)
    adds = plan(system.rig, trade, hedge(trade), decision="adds")
    takes = plan(system.rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)), decision="takes")
    system.rig.carry_out()
    assert end_of(system.rig, adds) == (IntentState.REJECTED, Rejection.MODE)
    assert end_of(system.rig, takes) == (IntentState.APPLIED, None)
    assert system.rig.others(trade) == ()


def test_a_mode_entered_between_plan_and_claim_counts(system: System) -> None:
    trade = system.rig.managed()
    adds = plan(system.rig, trade, hedge(trade))
    crash = system.rig.crash
    entering = ModeKeeper("server", system.rig.ledger, system.rig.clock, system.rig.notifier)

    class Meanwhile(Crash):
        def reach(self, name: str) -> None:
            if name == "gateway.before_claim":
                entering.set(Cause.STOP_OUT, "meanwhile")
                entering.review(system.rig.server.monitor.book.page())
            crash.reach(name)

    system.rig.executor.crash = Meanwhile()
    system.rig.executor.tick()
    assert end_of(system.rig, adds) == (IntentState.REJECTED, Rejection.MODE)
    assert system.rig.others(trade) == ()


def test_a_deadline_that_passes_in_halt_closes_after_the_resume(system: System) -> None:
    trade = system.rig.hedged()
    halt(system.rig.ledger, system.rig.clock.now, actor="anna", reason="looking")
    system.rig.put(replace(trade, deadline=Millis(system.rig.clock.now)))
    system.live(5)
    assert system.rig.position(trade.identifier) is not None
    assert system.rig.rows(trade)[-1] == "l2_to_hedged"
    resume(system.rig.ledger, system.rig.clock.now, actor="anna", reason="seen")
    system.live(15)
    assert system.rig.position(trade.identifier) is None
    assert system.rig.rows(trade)[-1] == "hedged_timeout"


def test_what_ends_at_the_broker_in_halt_is_known_to_have_ended(system: System) -> None:
    trade = system.rig.managed()
    halt(system.rig.ledger, system.rig.clock.now, actor="anna", reason="looking")
    system.rig.hand_close(trade.ticket)
    system.live(15)
    assert system.rig.trade(trade.ticket).is_open is False


@pytest.mark.parametrize(("mode", "wanted"), [(Mode.PROTECT_ONLY, Reduce), (Mode.NORMAL, OpenHedge)])
def test_a_mode_that_only_protects_takes_a_part_off_instead_of_a_hedge(
    system: System, mode: Mode, wanted: type[Action]
) -> None:
    trade = system.rig.fall(system.rig.managed(), -2.0, -4.0)
    system.rig.next_bar()
    verdict = system.rig.decide(trade, -6.0, mode=mode)
    assert verdict.to is TradeState.HEDGED
    assert [type(step.action) for step in verdict.steps] == [wanted]


def test_halt_leaves_plans_where_they_are_and_carries_them_out_after_the_resume(system: System) -> None:
    trade = system.rig.managed()
    before = system.rig.applied(AppliedKind.SLTP)
    halt(system.rig.ledger, system.rig.clock.now, actor="anna", reason="looking")
    moves = plan(system.rig, trade, tighter(trade))
    system.live(30)
    assert end_of(system.rig, moves) == (IntentState.PLANNED, None)
    assert system.rig.applied(AppliedKind.SLTP) == before
    resume(system.rig.ledger, system.rig.clock.now, actor="anna", reason="seen")
    system.live(1)
    assert end_of(system.rig, moves) == (IntentState.APPLIED, None)
    assert system.told() == system.events() == [Mode.HALT, Mode.NORMAL]


def test_in_halt_a_plan_on_a_price_still_grows_too_old(system: System) -> None:
    trade = system.rig.managed()
    halt(system.rig.ledger, system.rig.clock.now, actor="anna", reason="looking")
    moves = plan(system.rig, trade, tighter(trade), price_based=True)
    system.live(61)
    assert end_of(system.rig, moves) == (IntentState.CANCELLED, None)


def test_in_halt_the_kill_switch_still_closes_everything(system: System) -> None:
    trade = system.rig.managed()
    halt(system.rig.ledger, system.rig.clock.now, actor="anna", reason="looking")
    switch = KillSwitch(ledger=system.rig.ledger, clock=system.rig.clock, notifier=system.rig.notifier)
    switch.press(KillLevel.FLATTEN, "anna")
    switch.enforce()
    system.live(2)
    assert system.rig.position(trade.identifier) is None
    assert system.mode() is Mode.HALT


# ----- HALT is left by hand


def wrong_account(system: System) -> None:
    system.rig.executor.modes.set(Cause.ACCOUNT_CHANGED, "logged in to 2, expected is 1")
    system.rig.executor.tick()


def test_a_cause_of_halt_is_latched_and_left_by_hand_alone(system: System) -> None:
    wrong_account(system)
    system.rig.executor.modes.clear(Cause.ACCOUNT_CHANGED)
    system.live(130)
    assert system.mode() is Mode.HALT
    resume(system.rig.ledger, system.rig.clock.now, actor="anna", reason="logged in again")
    system.live(1)
    assert system.mode() is Mode.NORMAL
    assert system.told() == system.events() == [Mode.HALT, Mode.NORMAL]


def test_a_resume_is_refused_while_the_cause_holds_and_says_what_to_do(system: System) -> None:
    wrong_account(system)
    with pytest.raises(StillHoldsError, match=r"account_changed still holds: logged in to 2.*Log the terminal in"):
        resume(system.rig.ledger, system.rig.clock.now, actor="anna", reason="please")
    assert system.mode() is Mode.HALT


def test_after_a_resume_what_was_not_reconciled_still_counts(system: System) -> None:
    wrong_account(system)
    system.live(1)
    system.rig.executor.modes.clear(Cause.ACCOUNT_CHANGED)
    system.rig.executor.tick()
    resume(system.rig.ledger, system.rig.clock.now, actor="anna", reason="logged in again")
    assert (system.mode(), system.causes()) == (Mode.HALT, {Cause.ACCOUNT_CHANGED: False})
    system.leaves(Cause.ACCOUNT_CHANGED)


def test_there_is_nothing_to_resume_from_in_another_mode(system: System) -> None:
    protect_only(system)
    with pytest.raises(NotHaltedError, match="PROTECT_ONLY"):
        resume(system.rig.ledger, system.rig.clock.now, actor="anna", reason="please")


def test_halting_and_resuming_stand_in_the_audit_with_who_and_why(system: System) -> None:
    halt(system.rig.ledger, system.rig.clock.now, actor="anna", reason="looking")
    resume(system.rig.ledger, system.rig.clock.now, actor="bert", reason="seen")
    with system.rig.ledger.read() as tx:
        links = [(link.actor, link.what, json.loads(link.body)["reason"]) for link in tx.audit() if link.what != "mode"]
    assert links[-2:] == [("anna", "halted", "looking"), ("bert", "resumed", "seen")]


def test_a_fenced_gateway_halts_itself_and_nobody_else(system: System) -> None:
    trade = system.rig.managed()
    system.rig.executor.modes.set(Cause.FENCED, "the lease was lost")
    moves = plan(system.rig, trade, tighter(trade))
    system.rig.executor.tick()
    assert end_of(system.rig, moves) == (IntentState.PLANNED, None)
    assert (system.mode(), system.causes()) == (Mode.NORMAL, {})
    with system.rig.ledger.read() as tx:
        assert tx.fact(HALT_FACT) is None


# ----- restarts, flapping, several processes


def test_a_restart_keeps_the_mode_until_a_full_reconcile(system: System) -> None:
    protect_only(system)
    system.rig.wait(1)
    system.rig.start(epoch=2)
    assert (system.mode(), system.causes()) == (Mode.PROTECT_ONLY, {Cause.TRADING_OFF: False})
    system.restart(epoch=3)
    system.live(1)
    assert system.causes() == {}


def test_a_restart_keeps_a_halt(system: System) -> None:
    wrong_account(system)
    system.restart(epoch=2)
    system.live(70)
    assert system.mode() is Mode.HALT
    assert system.told() == [Mode.HALT]


def test_a_cause_that_holds_after_a_restart_began_before_it(system: System) -> None:
    in_doubt(system)
    with system.rig.ledger.read() as tx:
        before = read_modes(tx).causes
    system.rig.wait(5)
    system.rig.start(epoch=2)
    with system.rig.ledger.read() as tx:
        assert read_modes(tx).causes == before


def test_a_cause_that_comes_and_goes_does_not_make_the_mode_flap(system: System) -> None:
    keeper = system.rig.executor.modes
    for _ in range(10):
        keeper.set(Cause.SEND_BUDGET, "spent")
        system.rig.executor.tick()
        system.rig.wait(1)
        keeper.clear(Cause.SEND_BUDGET)
        system.rig.executor.tick()
        system.rig.wait(1)
    assert system.told() == system.events() == [Mode.DEGRADED]
    system.leaves(Cause.SEND_BUDGET)
    assert system.told() == system.events() == [Mode.DEGRADED, Mode.NORMAL]


def test_a_fast_reconcile_or_one_that_is_not_clean_lets_nothing_go(system: System) -> None:
    protect_only(system)
    system.rig.wait(1)
    system.rig.executor.modes.clear(Cause.TRADING_OFF)
    system.rig.executor.tick()
    before = system.rig.clock.now - 5_000
    for clean, full in ((True, False), (False, True), (False, False)):
        system.rig.wait(1)
        with system.rig.ledger.write() as tx:
            write_outcome(tx, Outcome(at=system.rig.clock.now, clean=clean, full=full, confirmed=Millis(before)))
        system.rig.executor.tick()
        assert system.mode() is Mode.PROTECT_ONLY


def test_a_clean_full_reconcile_is_not_taken_back_by_the_fast_one_after_it(system: System) -> None:
    protect_only(system)
    system.rig.wait(1)
    system.rig.executor.modes.clear(Cause.TRADING_OFF)
    system.rig.executor.tick()
    system.rig.wait(1)
    clean_at = system.rig.clock.now
    for full in (True, False):
        with system.rig.ledger.write() as tx:
            write_outcome(tx, Outcome(at=system.rig.clock.now, clean=True, full=full, confirmed=clean_at))
        system.rig.server.monitor.tick()  # the gateway, whose cause it is, sleeps
        assert system.mode() is Mode.NORMAL


def test_each_process_writes_its_own_causes_and_the_worst_of_all_counts(system: System) -> None:
    gateway, server = system.rig.executor.modes, system.rig.server.monitor.modes
    system.rig.wait(1)
    gateway.set(Cause.SEND_BUDGET, "spent")
    server.set(Cause.STOP_OUT, "closed by the broker")
    system.rig.settle()
    with system.rig.ledger.read() as tx:
        found = read_modes(tx)
    assert found.mode is Mode.PROTECT_ONLY
    assert [(told.cause, told.role) for told in found.causes] == [
        (Cause.STOP_OUT, "server"),
        (Cause.SEND_BUDGET, "gateway"),
    ]


@pytest.mark.parametrize("word", ["", "[]", '{"no_such": 1}', '{"rejects": 1}', '{"rejects": {"since": "x"}}'])
def test_a_fact_that_cannot_be_read_stops_everything_and_is_named(system: System, word: str) -> None:
    trade = system.rig.managed()
    moves = plan(system.rig, trade, tighter(trade))
    with system.rig.ledger.write() as tx:
        tx.set_fact(causes_fact("server"), word)
    with pytest.raises(LedgerUnavailableError, match=r"'causes\.server'.*restore the ledger"):
        system.rig.executor.tick()
    assert end_of(system.rig, moves) == (IntentState.PLANNED, None)
