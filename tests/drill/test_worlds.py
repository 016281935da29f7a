"""What the seeds' worlds are made of: every instrument, currency and way of dealing that a broker may have."""

from __future__ import annotations

from dtms.domain.instrument import AssetClass
from dtms.domain.symbols import asset_class
from dtms.domain.units import to_utc
from dtms_lab.drill.instruments import CURRENCIES, LISTINGS
from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.run import run_seed
from dtms_lab.drill.swarm import SeedPlan, make_plan
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.fault_kinds import Late
from dtms_lab.terminal.fault_plan import Sent

_PLANS: tuple[SeedPlan, ...] = tuple(make_plan(seed, 10) for seed in range(300))


def test_the_seeds_trade_every_instrument_in_every_currency() -> None:
    assert {name for plan in _PLANS for name in plan.symbols} == set(LISTINGS)
    assert {plan.account.currency for plan in _PLANS} == set(CURRENCIES)


def test_the_seeds_meet_every_way_of_execution_and_filling() -> None:
    met = {(each.spec.execution, each.spec.filling_mask) for plan in _PLANS for each in plan.listings}
    assert met == {
        (Mt5.SYMBOL_TRADE_EXECUTION_MARKET, 3),
        (Mt5.SYMBOL_TRADE_EXECUTION_MARKET, 1),
        (Mt5.SYMBOL_TRADE_EXECUTION_INSTANT, 3),
        (Mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE, 0),
    }


def test_instruments_differ_in_what_products_take_for_granted() -> None:
    specs = [listing.spec for listing in LISTINGS.values()]
    assert any(spec.tick_size > spec.point for spec in specs)
    assert any(spec.volume_step < 0.01 for spec in specs)
    assert any(spec.currency_profit == "JPY" and spec.currency_base not in ("USD", "JPY") for spec in specs)
    assert any(spec.asset is AssetClass.OTHER for spec in specs)
    assert any(listing.name != listing.canonical for listing in LISTINGS.values())


def test_the_broker_and_we_mean_the_same_class_where_the_name_tells_it() -> None:
    for listing in LISTINGS.values():
        told = asset_class(listing.canonical)
        assert told in (listing.spec.asset, AssetClass.OTHER)


def test_the_seeds_begin_around_every_change_of_the_clocks_and_at_the_years_end() -> None:
    days = {to_utc(plan.start).date().isoformat() for plan in _PLANS}
    assert {"2025-03-09", "2025-03-30", "2025-10-26", "2025-11-02", "2025-12-31"} <= days


def test_the_seeds_meet_closures_that_stand_in_no_calendar() -> None:
    closures = [closure for plan in _PLANS for closure in plan.closures]
    assert {closure.quoted for closure in closures} == {False, True}
    assert {bool(closure.symbols) for closure in closures} == {False, True}


def test_the_seeds_hold_up_to_twenty_trades() -> None:
    assert {plan.most_trades for plan in _PLANS} == {3, 8, 20}


def test_openings_may_be_later_than_the_settle_time_and_nothing_else() -> None:
    beyond = {
        chance.sent
        for plan in _PLANS
        for chance in plan.broker.chances
        if isinstance(chance.fault, Late) and chance.fault.delay_ms >= plan.policy.operation.settle_s * 1_000
    }
    assert beyond == {Sent.OPEN}


def test_others_deal_on_every_netting_account_that_has_any_trouble() -> None:
    netting = [plan for plan in _PLANS if not plan.account.hedging and plan.rates]
    assert netting
    assert all(plan.rates[Kind.FOREIGN] > 0 for plan in netting)


def test_brokers_change_contracts_correct_deals_and_give_other_names_and_numbers() -> None:
    changes = {Kind.CONTRACT, Kind.CORRECTED, Kind.RENAMED, Kind.RENUMBERED}
    assert changes <= {kind for plan in _PLANS for kind in plan.rates}
    struck = {kind for seed in (32_012, 32_049, 32_149) for kind in run_seed(seed, 400).faults if kind in changes}
    assert struck == changes
