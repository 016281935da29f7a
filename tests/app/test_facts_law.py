"""The law of facts (I19): whatever others do to a position, nothing is sent to one that is not its trade any more."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import example, given, note, settings
from hypothesis import strategies as st
from tests.app.rig import SYMBOL, Rig

from dtms.domain.trade import Hold, Trade
from dtms.domain.units import Side
from dtms.domain.verdict import KillLevel
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec

_TICK = 0.0101
_LOTS = 1e-9


@dataclass(frozen=True, slots=True)
class Deal:
    """Somebody deals on the symbol without naming a position: adds, reduces, closes or turns round where it nets."""

    side: Side
    lots: float


@dataclass(frozen=True, slots=True)
class Reopened:
    """The broker charges swap by reopening, at the present price."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A hand sets the stop so far from the price, or takes it away."""

    distance: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A bar closes with this score at this price."""

    score: float
    price: float


@dataclass(frozen=True, slots=True)
class Passed:
    """Time passes with passes of every service."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Flattened:
    """A person presses the kill switch at flatten."""


Step = Deal | Reopened | Moved | Scored | Passed | Flattened

_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Deal, st.sampled_from(Side), st.sampled_from([0.2, 0.5, 1.0, 2.0])),
    st.builds(Deal, st.sampled_from(Side), st.sampled_from([0.2, 0.5, 1.0, 2.0])),
    st.just(Reopened()),
    st.builds(Moved, st.sampled_from([None, 5.0, 15.0])),
    st.builds(Scored, st.sampled_from([-2.0, -4.0, -6.0, 1.0]), st.sampled_from([1_994.0, 2_000.0, 2_006.0])),
    st.builds(Passed, st.sampled_from([1, 3, 15])),
    st.just(Flattened()),
)


class House:
    """One managed position, and a judge who looks at the broker's own books at the instant of each send."""

    def __init__(self, side: Side, *, netting: bool) -> None:
        mode = Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING if netting else Mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING
        self.rig = Rig(account=AccountSpec(margin_mode=mode, balance=100_000.0))
        self.trade = self.rig.managed(side)
        self.rig.pass_time(1)
        self.broken: list[str] = []
        self.rig.writes.before = self._judge

    def play(self, step: Step) -> None:
        rig, books = self.rig, self.rig.sim.state.positions
        match step:
            case Deal(side=side, lots=lots):
                kind = Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL
                rig.order(action=Mt5.TRADE_ACTION_DEAL, type=kind, volume=lots)
            case Reopened():
                for ticket in [held.ticket for held in books.values()]:
                    rig.sim.reopen(ticket, price=rig.broker.quote(SYMBOL).bid)
            case Moved(distance=distance):
                for held in list(books.values()):
                    price = rig.broker.quote(SYMBOL).executable(held.side)
                    stop = 0.0 if distance is None else round(price - held.side * distance, 2)
                    rig.order(action=Mt5.TRADE_ACTION_SLTP, position=held.ticket, sl=stop, tp=held.target or 0.0)
            case Scored(score=score, price=price):
                rig.next_bar(price)
                if self._present().is_open:
                    rig.decide(self._present(), score)
                rig.carry_out()
            case Passed(seconds=seconds):
                rig.pass_time(seconds)
            case Flattened():
                rig.executor.gate.kill.press(KillLevel.FLATTEN, "me")

    def _present(self) -> Trade:
        with self.rig.ledger.read() as tx:
            found = tx.trade_by_id(self.trade.trade_id)
        assert found is not None
        return found

    def _judge(self, tag: str) -> None:
        with self.rig.ledger.read() as tx:
            intent = next(i for i in tx.unfinished() if i.tag == tag)
        trade = self._present()
        held = next((p for p in self.rig.sim.state.positions.values() if p.identifier == intent.position), None)
        if held is None:
            return
        leg = next((leg for leg in trade.legs if leg.identifier == held.identifier), None)
        if intent.position != trade.identifier and leg is None:
            self.broken.append(f"{intent.kind} at position {held.identifier}, which is neither trade nor child")
        if held.side is not (trade.side if leg is None else leg.side):
            self.broken.append(f"{intent.kind} at the other side: {held}")
        if leg is None and held.volume > trade.volume + _LOTS:
            self.broken.append(f"{intent.kind} at {held.volume} lots, {trade.volume} are known")
        if leg is None and abs(held.price_open - trade.entry_at_broker) > _TICK:
            self.broken.append(f"{intent.kind} at an entry of {held.price_open}, {trade.entry_at_broker} is known")


@settings(max_examples=40, deadline=None)
@example(Side.BUY, True, [Deal(Side.SELL, 2.0), Flattened(), Passed(15)])
@example(Side.SELL, True, [Scored(-2.0, 2_000.0), Scored(-4.0, 2_000.0), Deal(Side.SELL, 1.0), Scored(1.0, 2_000.0)])
@example(Side.BUY, True, [Deal(Side.SELL, 1.0), Deal(Side.BUY, 1.0), Scored(-6.0, 2_000.0), Scored(-6.0, 2_000.0)])
@given(side=st.sampled_from(Side), netting=st.booleans(), steps=st.lists(_STEPS, min_size=1, max_size=9))
def test_nothing_is_ever_sent_to_a_position_that_is_not_its_trade(side: Side, netting: bool, steps: list[Step]) -> None:
    house = House(side, netting=netting)
    for step in steps:
        note(str(step))
        house.play(step)
    house.play(Passed(15))
    assert house.broken == []


@settings(max_examples=25, deadline=None)
@given(
    side=st.sampled_from(Side),
    deals=st.lists(
        st.builds(Deal, st.sampled_from(Side), st.sampled_from([0.2, 0.5, 1.0, 2.0])), min_size=1, max_size=4
    ),
    prices=st.lists(st.sampled_from([1_995.0, 2_005.0, 2_009.0]), min_size=4, max_size=4),
)
def test_after_others_have_dealt_a_trade_is_as_the_broker_shows_it_or_held_or_over(
    side: Side, deals: list[Deal], prices: list[float]
) -> None:
    house = House(side, netting=True)
    rig, trade = house.rig, house.trade
    for deal, price in zip(deals, prices, strict=False):
        rig.price(price)
        house.play(deal)
    rig.pass_time(16)
    with rig.ledger.read() as tx:
        after = tx.trade_by_id(trade.trade_id)
    held = rig.position(trade.identifier)
    assert after is not None
    if after.is_open and after.hold is Hold.NONE:
        assert held is not None
        assert (held.side, held.volume) == (after.side, after.volume)
        assert abs(held.entry - after.entry) <= _TICK
    elif not after.is_open and held is not None:
        assert rig.alerts().count("by_hand") == 1
