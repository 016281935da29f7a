"""The breaker and the account behind the terminal: when the broker says no for good, and when it is not our broker at all."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from tests.app.rig import Rig
from tests.app.test_gateway import end_of, ended, hedge, plan, tighter
from tests.app.test_limits import DONE, limited, step
from tests.terminal_faults.rig import House, once

from dtms.app.gateway.breaker import Breaker, BreakerState
from dtms.app.reads.account_guard import AccountGuard
from dtms.domain.action import Close
from dtms.domain.intent import Intent, IntentState
from dtms.domain.modes import Cause, Mode
from dtms.domain.policy import OperationPolicy
from dtms.domain.position import Account
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.trade import Trade
from dtms.errors import BrokerUnavailableError, WrongAccountError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.fault_kinds import Crossed
from dtms_lab.terminal.recorder import AppliedKind

NOT_SENT = (IntentState.PLANNED, None)
NO_MODE = (IntentState.REJECTED, Rejection.MODE)
NS = 1_000_000_000
OFF = [Mt5.TRADE_RETCODE_TRADE_DISABLED, Mt5.TRADE_RETCODE_SERVER_DISABLES_AT, Mt5.TRADE_RETCODE_CLIENT_DISABLES_AT]


def refuse(rig: Rig, code: int) -> None:
    rig.dealer.refuses = lambda _request: code


def refused(rig: Rig, code: int, *trades: Trade) -> None:
    """Let the broker refuse one stop change of each trade with a code."""
    refuse(rig, code)
    for n, trade in enumerate(trades):
        step(rig, trade, n)
        rig.carry_out()
        rig.wait(1)
    rig.dealer.refuses = lambda _request: None


def opened(rig: Rig) -> list[str]:
    return [alert.detail for alert in rig.notifier.alerts if alert.kind == "breaker"]


def state(rig: Rig) -> BreakerState:
    return rig.executor.gate.breaker.state


# ----- refusals one after the other


def test_three_refusals_for_good_of_different_decisions_open_it_once_and_two_do_not() -> None:
    rig = Rig()
    trades = [rig.managed(volume=0.1) for _ in range(4)]
    refused(rig, Mt5.TRADE_RETCODE_INVALID, *trades[:2])
    assert (state(rig), opened(rig)) == (BreakerState.CLOSED, [])
    refused(rig, Mt5.TRADE_RETCODE_NO_MONEY, trades[2])
    assert state(rig) is BreakerState.OPEN
    assert opened(rig) == [
        "nothing that adds risk: 3 refusals for good running, the last no_money, code 10019; stops at the broker hold"
    ]
    adds = plan(rig, trades[3], hedge(trades[3]))
    rig.carry_out()
    assert end_of(rig, adds) == NO_MODE
    assert rig.executor.modes.active() == {Cause.REJECTS}


def test_one_decision_that_is_refused_again_and_again_is_one_refusal() -> None:
    rig = Rig()
    trade = rig.managed(volume=0.1)
    breaker, policy = rig.executor.gate.breaker, OperationPolicy()
    intent = plan(rig, trade, tighter(trade))
    no = Receipt(outcome=Outcome.REJECTED, code=10013, rejection=Rejection.INVALID_REQUEST)
    for second in range(20):
        breaker.answered(intent, no, second * NS, policy)
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    "code",
    [
        Mt5.TRADE_RETCODE_REQUOTE,
        Mt5.TRADE_RETCODE_REJECT,
        Mt5.TRADE_RETCODE_PRICE_CHANGED,
        Mt5.TRADE_RETCODE_PRICE_OFF,
        Mt5.TRADE_RETCODE_INVALID_STOPS,
        Mt5.TRADE_RETCODE_FROZEN,
        Mt5.TRADE_RETCODE_MARKET_CLOSED,
        Mt5.TRADE_RETCODE_TOO_MANY_REQUESTS,
    ],
)
def test_what_may_be_planned_anew_never_opens_it(code: int) -> None:
    rig = Rig()
    refused(rig, code, *[rig.managed(volume=0.1) for _ in range(6)])
    assert state(rig) is BreakerState.CLOSED
    assert Cause.REJECTS not in rig.executor.modes.active()


def test_a_success_in_between_begins_the_count_anew() -> None:
    rig = Rig()
    trades = [rig.managed(volume=0.1) for _ in range(5)]
    refused(rig, Mt5.TRADE_RETCODE_INVALID, *trades[:2])
    done = step(rig, trades[2], 9)
    rig.carry_out()
    refused(rig, Mt5.TRADE_RETCODE_INVALID, *trades[3:])
    assert (end_of(rig, done), state(rig)) == (DONE, BreakerState.CLOSED)


def test_our_own_refusals_do_not_count() -> None:
    rig = Rig()
    with rig.ledger.write() as tx:
        tx.set_fact("kill_switch", "protect_only")
    for _ in range(5):
        trade = rig.managed(volume=0.1)
        plan(rig, trade, hedge(trade))
        rig.carry_out()
    assert state(rig) is BreakerState.CLOSED


def test_a_refusal_of_the_sender_itself_says_nothing_about_the_account() -> None:
    """Code 0: a hedge on a netting account, a volume off its step; the terminal was never asked."""
    rig = Rig()
    for n in range(5):
        trade = rig.managed(volume=0.1)
        local = Receipt(outcome=Outcome.REJECTED, code=0, rejection=Rejection.INVALID_VOLUME)
        intent = plan(rig, trade, tighter(trade), decision=f"d{n}")
        rig.executor.gate.breaker.answered(intent, local, 0, OperationPolicy())
    assert state(rig) is BreakerState.CLOSED


def test_while_it_is_open_what_reduces_risk_is_tried_on_with_pauses_and_its_success_closes_it() -> None:
    rig = limited(breaker_cooldown_s=3_600)
    trades = [rig.managed(volume=0.1) for _ in range(4)]
    refused(rig, Mt5.TRADE_RETCODE_INVALID, *trades[:3])
    refuse(rig, Mt5.TRADE_RETCODE_INVALID)
    before = len(rig.writes.sent)
    for second in range(300):
        if second % 5 == 0:
            step(rig, trades[3], second)
        rig.wait(1)
        rig.executor.tick()
    tries = len(rig.writes.sent) - before
    assert 5 <= tries <= 40
    rig.dealer.refuses = lambda _request: None
    rig.wait(60)
    rig.carry_out()
    assert state(rig) is BreakerState.CLOSED
    assert Cause.REJECTS not in rig.executor.modes.active()
    assert len(opened(rig)) == 1


def test_after_the_cool_down_a_probe_goes_and_a_refusal_opens_it_again() -> None:
    rig = limited(breaker_cooldown_s=30)
    trades = [rig.managed(volume=0.1) for _ in range(5)]
    refused(rig, Mt5.TRADE_RETCODE_INVALID, *trades[:3])
    rig.wait(28)
    rig.executor.tick()
    assert state(rig) is BreakerState.OPEN
    rig.wait(2)
    probe = step(rig, trades[3], 5)
    refuse(rig, Mt5.TRADE_RETCODE_INVALID)
    rig.carry_out()
    assert end_of(rig, probe) == (IntentState.REJECTED, Rejection.INVALID_REQUEST)
    assert (state(rig), len(opened(rig))) == (BreakerState.OPEN, 2)
    rig.dealer.refuses = lambda _request: None
    rig.wait(30)
    probe = step(rig, trades[4], 6)
    rig.carry_out()
    assert (end_of(rig, probe), state(rig)) == (DONE, BreakerState.CLOSED)


# ----- trading is off


@pytest.mark.parametrize("code", OFF)
def test_trading_that_is_off_opens_it_at_the_first_answer_with_a_page(code: int) -> None:
    rig = Rig()
    trades = [rig.managed(volume=0.1) for _ in range(2)]
    refused(rig, code, trades[0])
    assert state(rig) is BreakerState.OPEN
    assert [words.split(":")[0] for words in opened(rig)] == ["nothing can be sent, positions are unmanaged"]
    assert rig.executor.modes.active() == {Cause.TRADING_OFF}
    adds = plan(rig, trades[1], hedge(trades[1]))
    rig.carry_out()
    assert end_of(rig, adds) == NO_MODE


def test_trading_from_python_that_is_off_opens_it_too() -> None:
    """`last_error` -8: there is no answer, and it was not sent."""
    rig = Rig()
    trade = rig.managed(volume=0.1)
    rig.terminal.backend.flags.tradeapi_disabled = True
    intent = plan(rig, trade, tighter(trade))
    rig.carry_out()
    found = ended(rig, intent)
    assert (found.state, found.receipt and found.receipt.code) == (IntentState.REJECTED, -8)
    assert (state(rig), len(opened(rig))) == (BreakerState.OPEN, 1)


def test_the_button_is_noticed_within_a_second_with_nothing_to_send_and_so_is_its_return() -> None:
    """Scenario 26: AutoTrading switched off in mid-run."""
    rig = Rig()
    rig.managed(volume=0.1)
    rig.executor.watch()
    rig.terminal.backend.flags.trade_allowed = False
    rig.wait(1)
    rig.executor.watch()
    rig.executor.tick()
    assert (state(rig), len(opened(rig))) == (BreakerState.OPEN, 1)
    assert "account DTMS-Simulated:10000042 may not trade" in opened(rig)[0]
    assert rig.executor.book.page().mode is Mode.PROTECT_ONLY
    for _ in range(200):
        rig.wait(1)
        rig.executor.watch()
    assert (state(rig), len(opened(rig))) == (BreakerState.OPEN, 1)
    rig.terminal.backend.flags.trade_allowed = True
    rig.wait(1)
    rig.executor.watch()
    assert state(rig) is BreakerState.HALF_OPEN
    assert rig.executor.modes.active() == frozenset()


def test_the_account_is_asked_once_a_second_however_often_a_pass_is_made() -> None:
    rig = Rig()
    asked: list[int] = []
    account = rig.broker.account

    def counted() -> Account:
        asked.append(rig.clock.now)
        return account()

    rig.broker.account = counted  # type: ignore[method-assign]
    for _ in range(30):
        rig.executor.watch()
        rig.wait(0.1)
    assert len(asked) == 3


def test_an_advisory_gateway_is_not_told_that_it_may_not_trade() -> None:
    rig = Rig()
    rig.terminal.backend.flags.trade_allowed = False
    rig.start(epoch=2, advisory=True)
    rig.executor.watch()
    assert (state(rig), opened(rig)) == (BreakerState.CLOSED, [])


def test_the_accounts_word_does_not_close_what_a_refusal_opened() -> None:
    rig = limited(breaker_cooldown_s=60)
    trade = rig.managed(volume=0.1)
    refused(rig, Mt5.TRADE_RETCODE_SERVER_DISABLES_AT, trade)
    for _ in range(50):
        rig.wait(1)
        rig.executor.watch()
    assert state(rig) is BreakerState.OPEN


def test_a_close_is_sent_although_the_breaker_is_open() -> None:
    rig = Rig()
    trades = [rig.managed(volume=0.1) for _ in range(4)]
    refused(rig, Mt5.TRADE_RETCODE_NO_MONEY, *trades[:3])
    takes = plan(rig, trades[3], Close(ticket=trades[3].ticket))
    rig.wait(2)
    rig.carry_out()
    assert end_of(rig, takes) == DONE


def test_the_breaker_of_a_new_process_is_closed_and_opens_at_the_first_answer() -> None:
    rig = Rig()
    trade = rig.managed(volume=0.1)
    refused(rig, OFF[-1], trade)
    rig.start(epoch=2)
    assert state(rig) is BreakerState.CLOSED
    refused(rig, OFF[-1], rig.managed(volume=0.1))
    assert state(rig) is BreakerState.OPEN


class Told:
    """Causes as they are told."""

    def __init__(self) -> None:
        self.words: list[tuple[str, Cause]] = []

    def set(self, cause: Cause, detail: str) -> None:
        assert detail
        self.words.append(("set", cause))

    def clear(self, cause: Cause) -> None:
        self.words.append(("clear", cause))


def test_trading_off_after_refusals_takes_the_place_of_their_cause() -> None:
    rig, told = Rig(), Told()
    intents: list[Intent] = []
    for n in range(4):
        trade = rig.managed(volume=0.1)
        intents.append(plan(rig, trade, tighter(trade), decision=f"d{n}"))
    breaker = Breaker(causes=told, notifier=rig.notifier, random=Random(0))
    policy = OperationPolicy()
    for intent in intents[:3]:
        no = Receipt(outcome=Outcome.REJECTED, code=10013, rejection=Rejection.INVALID_REQUEST)
        breaker.answered(intent, no, 0, policy)
    off = Receipt(outcome=Outcome.REJECTED, code=10027, rejection=Rejection.AUTO_TRADING_OFF)
    breaker.answered(intents[3], off, 0, policy)
    breaker.answered(intents[3], Receipt(outcome=Outcome.APPLIED, code=10009), NS, policy)
    assert told.words == [
        ("set", Cause.REJECTS),
        ("clear", Cause.REJECTS),
        ("set", Cause.TRADING_OFF),
        ("clear", Cause.TRADING_OFF),
    ]


# ----- another account


class OtherAccount:
    """The terminal is logged in to another account while `on`."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._ours = rig.sim.state.account

    @property
    def on(self) -> bool:
        return self._rig.sim.state.account is not self._ours

    @on.setter
    def on(self, on: bool) -> None:
        ours = self._ours
        self._rig.sim.state.account = replace(ours, login=10000043) if on else ours


@pytest.fixture
def other(rig: Rig) -> OtherAccount:
    return OtherAccount(rig)


def seconds(rig: Rig, count: int) -> None:
    for _ in range(count):
        rig.wait(1)
        rig.executor.watch()
        rig.executor.tick()


def test_one_crossed_answer_sends_nothing_and_halts_nothing(rig: Rig, other: OtherAccount) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, tighter(trade))
    other.on = True
    seconds(rig, 1)
    assert (end_of(rig, intent), rig.writes.sent) == (NOT_SENT, [])
    other.on = False
    seconds(rig, 1)
    assert end_of(rig, intent) == DONE
    assert rig.executor.modes.active() == frozenset()
    assert "halt" not in rig.alerts()


def test_many_wrong_answers_in_one_instant_are_one(rig: Rig, other: OtherAccount) -> None:
    other.on = True
    for _ in range(20):
        with pytest.raises(WrongAccountError):
            rig.executor.reads.account()
    assert rig.executor.modes.active() == frozenset()


def test_the_same_wrong_account_three_times_running_halts_and_a_person_resumes(rig: Rig, other: OtherAccount) -> None:
    """Scenario 34: somebody has logged the terminal in as another account."""
    trade = rig.managed()
    intents = [plan(rig, trade, tighter(trade)), plan(rig, trade, Close(ticket=trade.ticket), decision="close")]
    other.on = True
    seconds(rig, 5)
    assert Cause.ACCOUNT_CHANGED in rig.executor.modes.active()
    assert [end_of(rig, intent) for intent in intents] == [NOT_SENT, NOT_SENT]
    halts = [alert.detail for alert in rig.notifier.alerts if alert.kind == "halt"]
    assert len(halts) == 1
    assert "DTMS-Simulated:10000043" in halts[0]
    assert "log it in to DTMS-Simulated:10000042" in halts[0]
    other.on = False
    seconds(rig, 5)
    assert Cause.ACCOUNT_CHANGED not in rig.executor.modes.active()
    assert [end_of(rig, intent) for intent in intents] == [NOT_SENT, NOT_SENT]
    assert (rig.executor.book.page().mode, rig.writes.sent) == (Mode.HALT, [])


def test_it_stays_halted_over_a_restart(rig: Rig, other: OtherAccount) -> None:
    trade = rig.managed()
    other.on = True
    seconds(rig, 5)
    other.on = False
    rig.start(epoch=2)
    intent = plan(rig, trade, tighter(trade))
    seconds(rig, 5)
    assert (end_of(rig, intent), rig.executor.book.page().mode) == (NOT_SENT, Mode.HALT)


def test_a_crossing_between_the_last_read_and_the_send_sends_nothing(rig: Rig, other: OtherAccount) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, tighter(trade))

    def cross(_tag: str) -> None:
        other.on = True

    rig.writes.before = cross
    rig.executor.tick()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.NOT_SENT)
    assert rig.oracle.tagged(intent.tag) == ()
    assert "logged in to DTMS-Simulated:10000043" in rig.executor.gate.guard.wrong


@pytest.mark.parametrize(
    ("seen", "halted"),
    [
        ([(0, "a"), (1, "a"), (2, "a")], True),
        ([(0, "a"), (1, "a")], False),
        ([(0, "a"), (0.4, "a"), (0.8, "a")], False),
        ([(0, "a"), (1, ""), (2, "a"), (3, "a")], False),
        ([(0, "a"), (1, "b"), (2, "a")], False),
        ([(0, "a"), (1, "b"), (2, "b"), (3, "b")], True),
    ],
)
def test_what_counts_as_three_running(seen: list[tuple[float, str]], halted: bool) -> None:
    told, now = Told(), [0]
    guard = AccountGuard(told, lambda: now[0])
    for at, found in seen:
        now[0] = round(at * NS)
        if found:
            guard.saw(WrongAccountError("x", found=found, expected="ours"))
        else:
            guard.right()
    assert (("set", Cause.ACCOUNT_CHANGED) in told.words) is halted


def test_a_pipe_that_is_crossed_with_another_terminal_halts_only_where_it_stays_so() -> None:
    """The terminal's own fault: the pipe leads to somebody else's terminal for so many calls, whatever is opened anew."""
    for calls, mode in ((1, Mode.NORMAL), (9, Mode.NORMAL), (10_000, Mode.HALT)):
        house = House()
        house.managed()
        house.become(once(Crossed(calls=calls), op="account_info"))
        for _ in range(30):
            house.executor.watch()
            house.tick()
            house.wait(1)
        house.link.heal()
        house.tick()
        assert (calls, house.executor.book.page().mode) == (calls, mode)
        assert house.oracle.of(AppliedKind.SLTP, AppliedKind.PARTIAL, AppliedKind.CLOSE) == ()


def test_a_wrong_account_is_a_silent_broker_for_whoever_knows_no_better() -> None:
    assert issubclass(WrongAccountError, BrokerUnavailableError)
