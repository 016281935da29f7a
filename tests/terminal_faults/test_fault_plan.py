"""When faults happen: the plan, its seeds, its counts; and that without any the terminal is the plain one."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.mt5 import retcodes
from dtms.adapters.mt5.retcodes import Reaction
from dtms.domain.market import Quote
from dtms.errors import SettingsError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.fault_kinds import (
    NOT_SENT,
    REPLY_LOST,
    Answer,
    Crossed,
    Empty,
    Failed,
    Late,
    Moved,
    PartFill,
    Refused,
    Reopened,
    Respecified,
    Restamped,
    Slipped,
    StopOut,
)
from dtms_lab.terminal.fault_plan import ANY, READS, Chance, FaultPlan, Injector, Scripted, Sent, sent_kind
from dtms_lab.terminal.fault_swarm import REFUSALS, UNCLEAR, UNKNOWN_RETCODE, swarm
from dtms_lab.terminal.faults import FaultyLink
from dtms_lab.terminal.faulty_dealer import FaultyDealer
from dtms_lab.terminal.records import Request
from dtms_lab.terminal.structs import Struct
from dtms_lab.terminal.surface import TerminalSurface
from dtms_lab.terminal.terminal import SimTerminal

EMPTY_PLANS = [
    FaultPlan(),
    FaultPlan(seed=5, chances=(Chance(fault=REPLY_LOST, rate=0.0), Chance(fault=PartFill(), rate=0.0, op=ANY))),
    FaultPlan(scripted=(Scripted(fault=NOT_SENT, nth=100_000), Scripted(fault=Refused(code=10004), nth=100_000))),
]


def plain(answer: Any) -> Any:
    """An answer in a form that compares by value."""
    if isinstance(answer, Struct):
        return type(answer).__name__, tuple(plain(value) for value in answer)
    if isinstance(answer, tuple):
        return tuple(plain(value) for value in answer)
    return answer.tolist() if hasattr(answer, "tolist") else answer


def act(terminal: TerminalSurface, desk: SimDesk, seed: int, calls: int = 120) -> list[Any]:
    """Make the same calls for the same seed, and return every answer and every error."""
    random = Random(seed)
    said: list[Any] = []
    for number in range(calls):
        desk.now = desk.now.__class__(desk.now + random.randint(1, 5_000))
        bid = round(1.1 + random.uniform(-0.004, 0.004), 5)
        desk.server.on_quote(Quote(symbol="EURUSD", at=desk.now, bid=bid, ask=round(bid + 0.0001, 5)))
        held = list(desk.server.state.positions)
        order: dict[str, Any] = {"symbol": "EURUSD", "comment": f"c{number}", "magic": 7, "type_filling": 1}
        made = {
            0: order | {"action": 1, "type": random.randint(0, 1), "volume": 0.3},
            1: order | {"action": 6, "position": held[0] if held else 1, "sl": 1.08, "tp": 1.12},
            2: order | {"action": 1, "type": 1, "position": held[-1] if held else 1, "volume": 0.1},
            3: order | {"action": 10, "position": held[0] if held else 1, "position_by": held[-1] if held else 2},
        }[random.randint(0, 3)]
        said += [plain(terminal.order_send(made)), terminal.last_error()]
        said += [plain(terminal.positions_get()), plain(terminal.account_info()), plain(terminal.symbol_info("EURUSD"))]
        said += [plain(terminal.history_deals_get(position=held[0] if held else 1)), plain(terminal.orders_get())]
        said += [plain(terminal.copy_rates_from_pos("EURUSD", Mt5.TIMEFRAME_M1, 0, 5)), terminal.symbol_info("NONE")]
    return said


def faulty_desk(plan: FaultPlan) -> tuple[SimDesk, TerminalSurface, FaultyLink]:
    injector = Injector(plan)
    desk = SimDesk(dealer=FaultyDealer(injector))
    backend = desk.terminal.backend
    link = FaultyLink(backend, injector)
    terminal = SimTerminal(desk.server, backend=backend, link=link)
    assert terminal.initialize()
    return desk, terminal, link


@pytest.mark.parametrize("plan", EMPTY_PLANS)
@given(seed=st.integers(min_value=0, max_value=10_000))
def test_without_a_fault_every_answer_and_every_effect_is_the_plain_terminals(plan: FaultPlan, seed: int) -> None:
    desk = SimDesk()
    faulty, terminal, link = faulty_desk(plan)

    assert act(terminal, faulty, seed, calls=12) == act(desk.terminal, desk, seed, calls=12)
    assert faulty.oracle.entries == desk.oracle.entries
    assert faulty.server.state.deals == desk.server.state.deals
    assert link.injector.counts == {}


@pytest.mark.parametrize("seed", range(6))
def test_the_same_seed_makes_the_same_faults_at_the_same_calls(seed: int) -> None:
    runs = []
    for _ in range(2):
        desk, terminal, link = faulty_desk(swarm(seed))
        runs.append((act(terminal, desk, seed), desk.oracle.entries, link.injector.counts))

    assert runs[0] == runs[1]


def test_another_seed_makes_other_faults() -> None:
    chances = (Chance(fault=REPLY_LOST, rate=0.5),)
    first, second = (Injector(FaultPlan(seed=seed, chances=chances)) for seed in (1, 2))

    assert [first.draw("order_send", Sent.OPEN) for _ in range(40)] != [
        second.draw("order_send", Sent.OPEN) for _ in range(40)
    ]


def test_leaving_a_fault_out_moves_no_other_one() -> None:
    chances = (Chance(fault=REPLY_LOST, rate=0.3), Chance(fault=NOT_SENT, rate=0.3))
    both = FaultPlan(seed=9, chances=chances)
    alone = both.without(REPLY_LOST.name)

    assert alone.names == (NOT_SENT.name,)
    many = [
        [NOT_SENT in injector.draw("order_send", Sent.OPEN) for _ in range(200)]
        for injector in (Injector(both), Injector(alone))
    ]
    assert many[0] == many[1]
    assert 30 < sum(many[0]) < 90


def test_a_scripted_fault_hits_the_nth_order_of_its_kind_and_as_many_as_it_says() -> None:
    plan = FaultPlan(scripted=(Scripted(fault=REPLY_LOST, sent=Sent.CLOSE, nth=2, times=2),))
    injector = Injector(plan)
    sent = [Sent.CLOSE, Sent.OPEN, Sent.LEVELS, Sent.CLOSE, Sent.CLOSE, Sent.OPEN, Sent.CLOSE]

    assert [bool(injector.draw("order_send", kind)) for kind in sent] == [False, False, False, True, True, False, False]


def test_a_fault_of_reads_hits_reads_alone() -> None:
    injector = Injector(FaultPlan(chances=(Chance(fault=Failed(code=-1), rate=1.0, op=READS),)))
    ops = ("positions_get", "history_deals", "account_info", "symbol_info", "copy_rates_from_pos")

    assert all(injector.draw(op, None) for op in ops)
    assert not any(injector.draw(op, None) for op in ("order_send", "order_check", "open", "initialize", "login"))


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (Request(action=1), Sent.OPEN),
        (Request(action=1, position=5), Sent.CLOSE),
        (Request(action=10, position=5, position_by=6), Sent.CLOSE_BY),
        (Request(action=6, position=5), Sent.LEVELS),
        (Request(action=5), Sent.PENDING),
        (Request(action=8, order=5), Sent.PENDING),
    ],
)
def test_a_request_is_told_by_what_it_is_about(request_: Request, kind: Sent) -> None:
    assert sent_kind(request_) is kind


@pytest.mark.parametrize(
    ("fault", "op"),
    [
        (Empty(), "positions_get"),
        (Reopened(), "positions_get"),
        (Moved(points=10), "positions_get"),
        (StopOut(), "positions_get"),
        (Respecified(stops_level=3), "positions_get"),
        (PartFill(), "order_send"),
        (Slipped(points=3), "order_send"),
        (Restamped(comment=""), "order_send"),
        (Late(delay_ms=5), "positions_get"),
        (Answer(code=10012), "positions_get"),
    ],
)
def test_a_fault_that_finds_nothing_to_act_on_is_not_counted(fault: Any, op: str) -> None:
    desk, terminal, link = faulty_desk(FaultPlan(chances=(Chance(fault=fault, rate=1.0, op=op),)))
    desk.quote("EURUSD", 1.1)

    assert terminal.positions_get() == ()
    assert terminal.order_send({"action": 6, "symbol": "EURUSD", "position": 5, "sl": 1.0, "tp": 0.0}) is not None
    assert link.injector.counts == {}


def test_only_one_fault_of_the_pipe_happens_to_a_call_and_only_that_one_is_counted() -> None:
    plan = FaultPlan(scripted=(Scripted(fault=NOT_SENT), Scripted(fault=REPLY_LOST)))
    desk, terminal, link = faulty_desk(plan)
    desk.quote("EURUSD", 1.1)

    order = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1, "comment": "tag"}
    assert terminal.order_send(order) is None
    assert terminal.last_error()[0] == -10004
    assert desk.oracle.tagged("tag") == ()
    assert link.injector.counts == {NOT_SENT.name: 1}


def test_healed_nothing_fails_any_more() -> None:
    plan = FaultPlan(
        chances=(Chance(fault=Failed(code=-1), rate=1.0, op=ANY), Chance(fault=Crossed(calls=50), rate=1.0, op=ANY))
    )
    _, terminal, link = faulty_desk(FaultPlan())
    link.injector.begin(plan)
    assert terminal.positions_get() is None
    link.heal()

    assert terminal.positions_get() == ()
    assert link.injector.counts == {"failed -1": 1}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Chance(fault=NOT_SENT, rate=1.5), "rate 1.5"),
        (lambda: Chance(fault=NOT_SENT, rate=float("nan")), "rate nan"),
        (lambda: Scripted(fault=NOT_SENT, nth=0), "nth 0"),
        (lambda: Scripted(fault=NOT_SENT, times=0), "times 0"),
        (lambda: Failed(code=-10004, applied=True), "-10004"),
        (lambda: Failed(code=-8, applied=True), "-8"),
        (lambda: Answer(code=10009), "10009"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_by_name(make: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make()


def test_a_swarm_is_the_same_for_a_seed_and_all_swarms_together_have_every_fault() -> None:
    names = {name for seed in range(120) for name in swarm(seed, hangs=True).names}

    assert swarm(7) == swarm(7)
    assert swarm(7) != swarm(8)
    refused = {f"refused {code}" for code in REFUSALS}
    answered = {f"answer {code} applied" for code in UNCLEAR}
    assert refused | answered | {"hang", "hang applied", "reopened", "stop out", "crossed", "empty"} <= names
    assert len(names) > 100
    assert not any(name.startswith("hang") for seed in range(40) for name in swarm(seed).names)


def test_the_refusals_of_a_swarm_are_every_code_that_the_adapter_knows_and_one_that_it_does_not() -> None:
    not_refusing = (Reaction.APPLIED, Reaction.PARTIAL)
    known = {code for code, meaning in retcodes.RETCODES.items() if meaning.reaction not in not_refusing}
    unclear = {code for code, meaning in retcodes.RETCODES.items() if meaning.reaction is Reaction.UNKNOWN}

    assert set(REFUSALS) == known - {Mt5.TRADE_RETCODE_PLACED} | {UNKNOWN_RETCODE}
    assert set(UNCLEAR) == unclear | {UNKNOWN_RETCODE}
