"""Laws of the server: money is conserved, a position never closes more than it opened, sides mirror."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.units import HOUR
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "close", "part", "stop", "by", "pending", "night"]),
        st.integers(min_value=-80, max_value=80),
        st.integers(min_value=1, max_value=30),
    ),
    min_size=1,
    max_size=40,
)
_MIDDLE = 1.1


def run(steps: list[tuple[str, int, int]], *, hedging: bool, mirror: bool = False, spread: int = 10) -> SimDesk:
    """Play a script; mirrored, every price lies on the other side of the middle and sides are swapped."""
    desk = SimDesk(account=AccountSpec(margin_mode=2 if hedging else 0, balance=5_000.0))
    points = 0
    sign = -1 if mirror else 1

    def quote(after: int = 1_000) -> float:
        bid = 110_000 + points if not mirror else 110_000 - points - spread
        desk.quote("EURUSD", bid / 100_000, (bid + spread) / 100_000, after=after)
        return bid / 100_000

    bid = quote()
    for action, move, size in steps:
        points += move
        bid = quote(6 * HOUR if action == "night" else 1_000)
        open_now = desk.terminal.positions_get() or ()
        first = open_now[0] if open_now else None
        volume = size / 100
        side = "buy" if (action == "buy") is not mirror else "sell"
        if action in ("buy", "sell"):
            away = sign * (1 if action == "buy" else -1) * 0.002
            anchor = bid if side == "buy" else bid + spread / 100_000
            (desk.buy if side == "buy" else desk.sell)("EURUSD", volume, sl=round(anchor - away, 5))
        elif first is not None and action in ("close", "part"):
            lots = first.volume if action == "close" else volume
            (desk.sell if first.type == 0 else desk.buy)("EURUSD", lots, position=first.ticket)
        elif first is not None and action == "stop":
            long = first.type == 0
            anchor = bid if long else bid + spread / 100_000
            desk.send(
                action=6, symbol="EURUSD", position=first.ticket, sl=round(anchor - (1 if long else -1) * 0.0003, 5)
            )
        elif first is not None and action == "by":
            other = next((p for p in open_now if p.type != first.type), None)
            if other is not None:
                desk.send(action=10, position=first.ticket, position_by=other.ticket)
        elif action == "pending":
            desk.send(action=5, symbol="EURUSD", volume=volume, type=2, price=round(bid - 0.0005, 5), type_filling=2)
    return desk


@given(_STEPS, st.booleans())
def test_the_balance_is_the_sum_of_the_deals_and_equity_is_what_closing_would_leave(
    steps: list[tuple[str, int, int]], hedging: bool
) -> None:
    desk = run(steps, hedging=hedging)
    deals = desk.terminal.history_deals_get(0, 2**33) or ()
    info = desk.terminal.account_info()
    assert info is not None
    assert info.balance == pytest.approx(sum(d.profit + d.commission + d.swap + d.fee for d in deals), abs=1e-6)
    positions = desk.terminal.positions_get() or ()
    assert info.equity == pytest.approx(info.balance + sum(p.profit + p.swap for p in positions), abs=0.011)
    quick = desk.server.state.balance + desk.server.state.floating()
    assert quick == pytest.approx(info.equity, abs=0.006 * (1 + len(positions)))


@given(_STEPS, st.booleans())
def test_a_position_closes_at_most_what_it_opened_and_the_rest_is_open(
    steps: list[tuple[str, int, int]], hedging: bool
) -> None:
    desk = run(steps, hedging=hedging)
    signed: dict[int, float] = defaultdict(float)
    for deal in desk.terminal.history_deals_get(0, 2**33) or ():
        if deal.position_id:
            signed[deal.position_id] += deal.volume if deal.type == 0 else -deal.volume
    held = {p.identifier: p.volume if p.type == 0 else -p.volume for p in desk.terminal.positions_get() or ()}
    assert {i: round(v, 6) for i, v in signed.items() if round(v, 6) != 0} == held
    for entry in desk.oracle.of(AppliedKind.PARTIAL, AppliedKind.CLOSE, AppliedKind.STOP, AppliedKind.CLOSE_BY):
        assert 0 <= entry.volume_after < entry.volume_before
        assert entry.volume_before - entry.volume_after == pytest.approx(entry.volume, abs=1e-9)


@given(_STEPS.filter(lambda steps: all(s[0] not in ("pending", "night") for s in steps)))
def test_the_mirrored_market_with_swapped_sides_does_the_same(steps: list[tuple[str, int, int]]) -> None:
    here, there = run(steps, hedging=True), run(steps, hedging=True, mirror=True)
    assert [(e.kind, e.volume, -e.side) for e in here.oracle.entries] == [
        (e.kind, e.volume, e.side) for e in there.oracle.entries
    ]
    assert [d.profit for d in here.server.state.deals] == pytest.approx(
        [d.profit for d in there.server.state.deals], abs=0.011
    )


@given(_STEPS, st.booleans())
def test_the_same_script_leaves_the_same_record(steps: list[tuple[str, int, int]], hedging: bool) -> None:
    assert run(steps, hedging=hedging).oracle.entries == run(steps, hedging=hedging).oracle.entries


@given(_STEPS)
def test_a_stop_in_the_book_is_never_one_that_the_last_quote_has_reached(steps: list[tuple[str, int, int]]) -> None:
    desk = run(steps, hedging=True)
    quote = desk.server.state.quotes["EURUSD"]
    for position in desk.server.state.positions.values():
        if position.stop is not None:
            assert position.side * (quote.executable(position.side) - position.stop) > 0
