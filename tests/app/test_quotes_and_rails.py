"""Which quotes are believed and for how long, and what the rails are told of losses, streaks, spreads and margin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.rig import T0, Rig

from dtms.app.market.quotes import QuoteFeed
from dtms.app.market.risk_inputs import RiskInputs
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Quote
from dtms.domain.policy import RailsPolicy
from dtms.domain.units import DAY, HOUR, MINUTE, Millis, Side
from dtms.domain.verdict import RailFacts
from dtms.ports.news import NoCalendar

ATR = 4.0


def quote(ms: int, bid: float = 2_000.0, spread: float = 0.2) -> Quote:
    return Quote(symbol="XAUUSD", at=Millis(T0 + ms), bid=bid, ask=round(bid + spread, 2))


def feed(**changes: Any) -> QuoteFeed:
    return QuoteFeed(
        symbol="XAUUSD",
        hours=MarketHours(AssetClass.METAL),
        policy=RailsPolicy(**changes),
        spread_typical=0.2,
    )


def fed(*quotes: Quote, **changes: Any) -> QuoteFeed:
    made = feed(**changes)
    for each in quotes:
        made.offer(each, ATR)
    return made


def test_without_a_quote_everything_is_stale() -> None:
    assert feed().is_stale(T0)


def test_an_older_quote_is_dropped_and_counted_and_the_same_one_is_nothing_new() -> None:
    made = fed(quote(1_000))
    assert not made.offer(quote(999, 2_001.0), ATR)
    assert not made.offer(quote(1_000), ATR)
    assert (made.rejected, made.last) == (1, quote(1_000))


def test_another_price_at_the_same_instant_is_new() -> None:
    made = fed(quote(1_000))
    assert made.offer(quote(1_000, 2_000.1), ATR)


def test_a_jump_of_more_than_five_atr_is_a_bad_tick_until_a_second_one_goes_the_same_way() -> None:
    made = fed(quote(0))
    assert not made.offer(quote(500, 1_979.99), ATR)
    assert made.last == quote(0)
    assert made.offer(quote(1_000, 1_979.0), ATR)
    assert made.last == quote(1_000, 1_979.0)


@pytest.mark.parametrize("second", [2_021.0, 2_000.1])
def test_a_second_tick_the_other_way_or_back_does_not_confirm_a_bad_one(second: float) -> None:
    made = fed(quote(0))
    made.offer(quote(500, 1_979.0), ATR)
    accepted = made.offer(quote(1_000, second), ATR)
    assert accepted is (second == 2_000.1)
    assert made.last is not None
    assert made.last.bid != 1_979.0


def test_a_jump_of_five_atr_exactly_is_believed() -> None:
    assert fed(quote(0)).offer(quote(500, 1_980.0), ATR)


def test_a_confirmation_that_comes_too_late_is_none() -> None:
    quick = [quote(place * 100) for place in range(30)]
    made = fed(*quick)
    made.offer(quote(3_100, 1_979.0), ATR)
    assert not made.offer(quote(5_101, 1_978.0), ATR)
    assert made.offer(quote(7_000, 1_978.0), ATR)


def test_after_a_pause_a_gap_is_believed_with_its_second_quote_whenever_that_comes() -> None:
    made = fed(*[quote(place * 100) for place in range(30)])
    assert made.stale_after() == 5_000
    assert not made.offer(quote(2_900 + 5_001, 1_900.0), ATR)
    assert made.offer(quote(2_900 + 5_001 + 90_000, 1_901.0), ATR)


def test_a_lone_spike_after_a_pause_is_not_believed() -> None:
    made = fed(*[quote(place * 100) for place in range(30)])
    assert not made.offer(quote(2_900 + 5_001, 2_100.0), ATR)
    assert made.offer(quote(2_900 + 5_101, 2_000.1), ATR)
    assert made.last == quote(2_900 + 5_101, 2_000.1)


def test_without_an_atr_a_jump_is_no_fault() -> None:
    made = feed()
    assert made.offer(quote(0), None)
    assert made.offer(quote(500, 1_900.0), None)


def test_a_spread_of_more_than_ten_usual_ones_is_a_bad_tick() -> None:
    made = fed(quote(0))
    assert made.offer(quote(500, spread=1.99), ATR)
    assert not made.offer(quote(1_000, spread=2.01), ATR)


@pytest.mark.parametrize(
    ("gap", "limit"), [(100, 5_000), (1_000, 5_000), (1_001, 5_005), (4_000, 20_000), (20_000, 60_000)]
)
def test_a_quote_is_stale_after_five_usual_gaps_between_five_and_sixty_seconds(gap: int, limit: int) -> None:
    made = fed(*[quote(place * gap) for place in range(30)])
    last = 29 * gap
    assert made.stale_after() == limit
    assert not made.is_stale(Millis(T0 + last + limit))
    assert made.is_stale(Millis(T0 + last + limit + 1))


def test_a_closed_market_does_not_count_as_a_gap() -> None:
    made = fed(*[quote(place * 1_000) for place in range(30)])
    made.offer(quote(30_000 + HOUR), ATR)
    assert made.stale_after() == 5_000


def test_the_usual_spread_is_the_typical_one_until_enough_were_seen() -> None:
    made = feed(spread_min_quotes=5)
    for place in range(4):
        made.offer(quote(place * 1_000, 2_000.0 + place, spread=0.4), None)
    assert made.median_spread() == 0.2
    made.offer(quote(4_000, 2_004.0, spread=0.4), None)
    assert made.median_spread() == pytest.approx(0.4)
    assert (
        QuoteFeed(
            symbol="X", hours=MarketHours(AssetClass.FX), policy=RailsPolicy(), spread_typical=None
        ).median_spread()
        is None
    )


@given(st.lists(st.tuples(st.integers(1, 3_000), st.floats(1_950, 2_050)), min_size=1, max_size=60))
def test_what_is_believed_is_in_order_of_time_and_never_a_lone_jump(steps: list[tuple[int, float]]) -> None:
    made = feed()
    at, believed = 0, []
    for gap, bid in steps:
        at += gap
        offered = quote(at, round(bid, 2))
        before = made.last
        if made.offer(offered, ATR):
            believed.append(offered)
        elif before is not None:
            assert abs(offered.bid - before.bid) > 5 * ATR
        assert made.last == (believed[-1] if believed else None)
    assert [each.at for each in believed] == sorted(each.at for each in believed)


# ----- the rails' facts


def desk_of(rig: Rig) -> RiskInputs:
    return RiskInputs(ledger=rig.ledger, policy=rig.policy.rails, news=NoCalendar())


def facts(rig: Rig, desk: RiskInputs, *, equity: float = 10_000.0, **given: Any) -> RailFacts:
    account = replace(rig.broker.account(), equity=equity)
    return desk.facts(rig.server.desk.symbol("XAUUSD", rig.clock.now), account, rig.clock.now, **given)


def sample(rig: Rig, desk: RiskInputs, equity: float) -> None:
    assert desk.due(rig.clock.now)
    desk.sample(replace(rig.broker.account(), equity=equity), rig.clock.now)


def test_before_the_first_sample_no_loss_is_known(rig: Rig) -> None:
    seen = facts(rig, desk_of(rig))
    assert (seen.day_loss, seen.hour_loss) == (None, None)


def test_losses_are_shares_of_the_equity_at_the_days_start(rig: Rig) -> None:
    desk = desk_of(rig)
    sample(rig, desk, 10_000.0)
    rig.wait(3_000)
    sample(rig, desk, 9_900.0)
    rig.wait(1_200)  # the first sample is older than an hour now
    sample(rig, desk, 9_850.0)
    seen = facts(rig, desk, equity=9_800.0)
    assert seen.day_loss == pytest.approx(0.02)
    assert seen.hour_loss == pytest.approx(0.01)


def test_a_restart_in_a_losing_day_does_not_begin_a_new_one(rig: Rig) -> None:
    first = desk_of(rig)
    sample(rig, first, 10_000.0)
    rig.wait(600)
    second = desk_of(rig)
    assert second.due(rig.clock.now)
    sample(rig, second, 9_500.0)
    seen = facts(rig, second, equity=9_500.0)
    assert seen.day_loss == pytest.approx(0.05)
    assert seen.hour_loss == pytest.approx(0.05)


def test_a_sample_is_due_every_five_minutes_and_at_a_new_day(rig: Rig) -> None:
    desk = desk_of(rig)
    sample(rig, desk, 10_000.0)
    assert not desk.due(Millis(rig.clock.now + 5 * MINUTE - 1))
    assert desk.due(Millis(rig.clock.now + 5 * MINUTE))
    rig.clock.now = Millis(T0 + 9 * HOUR - 1)  # 21:00 UTC is 17:00 in New York: the account's day ends
    sample(rig, desk, 9_000.0)
    assert facts(rig, desk, equity=9_000.0).day_loss == pytest.approx(0.1)
    rig.clock.now = Millis(T0 + 9 * HOUR)
    sample(rig, desk, 9_000.0)
    assert facts(rig, desk, equity=9_000.0).day_loss == 0.0


def test_the_margin_level_is_that_after_the_action(rig: Rig) -> None:
    rig.open(volume=1.0)
    desk = desk_of(rig)
    account = rig.broker.account()
    plain = facts(rig, desk, equity=account.equity).margin_level
    doubled = facts(rig, desk, equity=account.equity, extra_margin=account.margin).margin_level
    assert plain == pytest.approx(100 * account.equity / account.margin)
    assert doubled == pytest.approx(50 * account.equity / account.margin)
    assert facts(rig, desk, extra_margin=None).margin_level is None


def test_without_any_margin_the_level_is_no_limit(rig: Rig) -> None:
    assert facts(rig, desk_of(rig)).margin_level == float("inf")


def _stopped(rig: Rig, side: Side = Side.BUY, *, at: float = 1_989.0) -> None:
    trade = rig.managed(side)
    rig.settle()
    rig.wait(1)
    rig.price(at)
    rig.pass_time(12)
    assert not rig.trade(trade.ticket).is_open
    rig.price(2_000.0)


def test_trades_running_that_a_stop_ended_at_a_loss_are_counted_and_a_better_one_ends_the_run(rig: Rig) -> None:
    for expected in (1, 2, 3):
        _stopped(rig)
        assert facts(rig, desk_of(rig)).losing_streak == expected
    winner = rig.managed()
    rig.settle()
    rig.hand_close(winner.ticket)
    rig.pass_time(12)
    assert facts(rig, desk_of(rig)).losing_streak == 0


def test_a_stop_in_profit_is_no_loss(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.wait(1)
    rig.price(2_030.0)
    rig.hand_stop(trade.ticket, 2_020.0)
    rig.pass_time(3)
    rig.price(2_019.0)
    rig.pass_time(15)
    assert not rig.trade(trade.ticket).is_open
    assert facts(rig, desk_of(rig)).losing_streak == 0


def test_a_stop_that_lost_less_than_half_an_r_is_no_loss_of_the_streak(rig: Rig) -> None:
    _stopped(rig)
    trade = rig.managed(volume=0.5)
    rig.settle()
    rig.hand_stop(trade.ticket, 1_997.2)  # 3.00 of 10.20 are lost there
    rig.pass_time(3)
    rig.price(1_997.2)
    rig.pass_time(15)
    assert not rig.trade(trade.ticket).is_open
    assert facts(rig, desk_of(rig)).losing_streak == 0


def test_a_day_that_began_without_equity_has_no_known_loss(rig: Rig) -> None:
    desk = desk_of(rig)
    sample(rig, desk, 0.0)
    assert (facts(rig, desk).day_loss, facts(rig, desk).hour_loss) == (None, None)


def test_the_streak_is_remembered_until_a_trade_was_closed(rig: Rig) -> None:
    desk = desk_of(rig)
    assert facts(rig, desk).losing_streak == 0
    _stopped(rig)
    assert facts(rig, desk).losing_streak == 0
    desk.changed()
    assert facts(rig, desk).losing_streak == 1


def test_a_loss_of_last_week_is_not_counted(rig: Rig) -> None:
    _stopped(rig)
    rig.clock.now = Millis(rig.clock.now + 8 * DAY)
    rig.price(2_000.0)
    assert facts(rig, desk_of(rig)).losing_streak == 0


def test_without_a_calendar_news_are_not_known(rig: Rig) -> None:
    seen = facts(rig, desk_of(rig))
    assert (seen.news_known, seen.news) == (False, "")
