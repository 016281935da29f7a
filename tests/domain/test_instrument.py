"""The only quantiser: prices on the tick grid, stops away from danger, volumes down to the step."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.units import Lots, Price, Side
from dtms.errors import InvalidDataError

_BASE: dict[str, Any] = {
    "symbol": "X",
    "canonical": "X",
    "asset": AssetClass.FX,
    "contract_size": 100_000.0,
    "value_per_unit": 100_000.0,
    "volume_min": 0.01,
    "volume_max": 100.0,
    "volume_step": 0.01,
}
GRIDS = [
    (0, 1.0),
    (0, 5.0),  # an index that trades in fives
    (1, 0.1),
    (1, 0.5),  # tick and point differ
    (2, 0.01),
    (2, 0.25),  # a future in quarters
    (3, 0.001),
    (4, 0.0001),
    (5, 0.00001),
    (5, 0.00005),
]


def instrument(digits: int = 2, tick: float = 0.01, **changes: Any) -> Instrument:
    given: dict[str, Any] = {**_BASE, "digits": digits, "point": float(f"1e-{digits}"), "tick_size": tick, **changes}
    return Instrument(**given)


sides = st.sampled_from(Side)
_MOST_TICKS = 5e8
"""Beyond so many ticks a binary fraction cannot tell a price from its neighbour; gold has 200,000 of them."""


@st.composite
def quoted(draw: st.DrawFn) -> tuple[tuple[int, float], float]:
    """Draw a grid and a price that it may be asked for."""
    grid = draw(st.sampled_from(GRIDS))
    return grid, draw(st.floats(grid[1], min(200_000.0, grid[1] * _MOST_TICKS)))


quotes = quoted()


def on_grid(price: float, digits: int, tick: float) -> bool:
    """Say whether a price is a multiple of the tick, in exact arithmetic of what it prints as."""
    return Decimal(f"{price:.{digits}f}") % Decimal(repr(tick)) == 0 and price == round(price, digits)


@given(quote=quotes, side=sides)
def test_every_quantised_price_is_on_the_grid(quote: tuple[tuple[int, float], float], side: Side) -> None:
    grid, price = quote
    made = instrument(*grid)
    for found in (made.nearest(price), made.at_or_above(price), made.at_or_below(price), made.stop(side, price)):
        assert on_grid(found, *grid)


@given(quote=quotes, side=sides)
def test_quantising_twice_is_quantising_once(quote: tuple[tuple[int, float], float], side: Side) -> None:
    grid, price = quote
    made = instrument(*grid)
    for how in (made.nearest, made.at_or_above, made.at_or_below):
        assert how(how(price)) == how(price)
    assert made.stop(side, made.stop(side, price)) == made.stop(side, price)


@given(quote=quotes, side=sides)
def test_a_stop_never_loses_more_than_was_meant_and_no_more_than_a_tick_is_given(
    quote: tuple[tuple[int, float], float], side: Side
) -> None:
    grid, price = quote
    tick = grid[1]
    gained = side * (instrument(*grid).stop(side, price) - price)
    noise = tick * 1e-5 + price * 1e-15
    assert -noise <= gained <= tick + noise


@given(quote=quotes)
def test_below_nearest_and_above_are_in_order_and_at_most_a_tick_apart(quote: tuple[tuple[int, float], float]) -> None:
    grid, price = quote
    made, tick = instrument(*grid), grid[1]
    below, near, above = made.at_or_below(price), made.nearest(price), made.at_or_above(price)
    assert below <= near <= above
    assert above - below <= tick * (1 + 1e-6)
    assert abs(near - price) <= tick / 2 * (1 + 1e-5) + 1e-9


@given(quote=quotes, share=st.floats(0, 1))
def test_quantising_keeps_the_order_of_prices(quote: tuple[tuple[int, float], float], share: float) -> None:
    grid, price = quote
    made = instrument(*grid)
    low, high = price * share, price
    assert made.nearest(low) <= made.nearest(high)
    assert made.at_or_above(low) <= made.at_or_above(high)


@given(grid=st.sampled_from(GRIDS), steps=st.integers(1, 1_000_000))
def test_a_price_that_is_on_the_grid_stays_where_it_is_in_spite_of_binary_fractions(
    grid: tuple[int, float], steps: int
) -> None:
    made = instrument(*grid)
    exact = float(Decimal(steps) * Decimal(repr(grid[1])))
    noisy = steps * grid[1]
    for price in (exact, noisy):
        assert made.at_or_above(price) == exact
        assert made.at_or_below(price) == exact
        assert made.nearest(price) == exact


@given(quote=quotes, side=sides)
def test_a_stop_mirrors(quote: tuple[tuple[int, float], float], side: Side) -> None:
    grid, price = quote
    made = instrument(*grid)
    centre = made.nearest(price + 5 * grid[1])
    mirrored = 2 * centre - made.stop(side.opposite, 2 * centre - price)
    assert abs(made.stop(side, price) - mirrored) < grid[1] * 1e-3


def test_a_buy_stop_rounds_up_and_a_sell_stop_down() -> None:
    gold = instrument()
    assert (gold.stop(Side.BUY, 1_990.001), gold.stop(Side.SELL, 2_009.999)) == (1_990.01, 2_009.99)


def test_a_stop_is_not_moved_by_a_tick_through_noise() -> None:
    assert instrument(5, 0.00001).stop(Side.BUY, 1.1 + 1e-12) == 1.1
    assert instrument().at_or_above(0.1 + 0.2 + 1_999.7) == 2_000.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_has_no_place_on_a_grid(bad: float) -> None:
    gold = instrument()
    for how in (gold.nearest, gold.at_or_above, gold.at_or_below, gold.lots_down):
        with pytest.raises(InvalidDataError, match="not a finite number"):
            how(bad)


# ----- comparing


def test_two_prices_are_the_same_within_half_a_tick() -> None:
    gold = instrument()
    assert gold.same_price(1_990.0, 1_990.0 + 0.0049)
    assert not gold.same_price(1_990.0, 1_990.01)


def test_no_price_is_the_same_as_no_price_and_as_nothing_else() -> None:
    gold = instrument()
    assert gold.same_price(None, None)
    assert not gold.same_price(None, 1_990.0)
    assert not gold.same_price(0.0, None)


@given(quote=quotes, side=sides, ticks=st.integers(-5, 5))
def test_a_stop_is_tighter_exactly_where_it_risks_less(
    quote: tuple[tuple[int, float], float], side: Side, ticks: int
) -> None:
    grid, price = quote
    made = instrument(*grid)
    present = made.nearest(price)
    other = made.nearest(price + ticks * grid[1])
    assume(abs(other - present) < 1e-12 or made.same_price(other, present) is (ticks == 0))
    assert made.is_tighter(side, other, present) is (side * ticks > 0)


@pytest.mark.parametrize("side", Side)
def test_any_stop_is_tighter_than_none(side: Side) -> None:
    assert instrument().is_tighter(side, 1.0, None)


# ----- volumes

steps_ = st.sampled_from((0.01, 0.1, 1.0, 0.001, 0.05))


@given(step=steps_, volume=st.floats(0, 50))
def test_volumes_are_rounded_down_to_the_step_and_to_nothing_below_the_minimum(step: float, volume: float) -> None:
    made = instrument(volume_step=step, volume_min=step * 2)
    lots = made.lots_down(volume)
    assert lots <= volume + step * 1e-5
    assert lots == 0.0 or (volume - lots < step * (1 + 1e-6) and made.tradable(lots))
    assert (lots == 0.0) is (volume < step * (2 - 1e-5))


@given(step=steps_, count=st.integers(1, 500))
def test_a_tradable_volume_stays_whole_in_spite_of_binary_fractions(step: float, count: int) -> None:
    made = instrument(volume_step=step, volume_min=step, volume_max=step * 500)
    exact = float(Decimal(count) * Decimal(repr(step)))
    assert made.lots_down(count * step) == exact
    assert made.lots_down(exact) == exact
    assert made.tradable(count * step)


def test_thirds_of_a_lot_do_not_lose_a_step() -> None:
    gold = instrument()
    assert gold.lots_down(0.1 + 0.2) == Lots(0.3)
    assert gold.lots_down(0.07 * 100 / 100) == Lots(0.07)
    assert gold.lots_down(0.29999999) == Lots(0.29)


@pytest.mark.parametrize(
    ("volume", "tradable"),
    [(0.01, True), (0.009, False), (0.015, False), (100.0, True), (100.01, False), (0.0, False), (-0.01, False)],
)
def test_a_volume_is_tradable_on_the_step_between_minimum_and_maximum(volume: float, tradable: bool) -> None:
    assert instrument().tradable(volume) is tradable


def test_half_a_step_is_nothing() -> None:
    gold = instrument()
    assert gold.is_flat(0.0)
    assert gold.is_flat(0.0049)
    assert not gold.is_flat(0.01)
    assert gold.same_lots(0.3, 0.1 + 0.2)
    assert not gold.same_lots(0.3, 0.31)


def test_a_move_is_worth_its_value_a_unit_times_the_lots() -> None:
    assert instrument(value_per_unit=100.0).money(2.5, 0.4) == 100.0
    assert instrument(value_per_unit=100.0).money(-2.5, 0.4) == -100.0


# ----- constructors


@pytest.mark.parametrize(
    "field", ["point", "tick_size", "contract_size", "value_per_unit", "volume_min", "volume_max", "volume_step"]
)
@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_an_instrument_refuses_what_cannot_be_and_names_it(field: str, bad: float) -> None:
    with pytest.raises(InvalidDataError, match=f"instrument X: {field} is"):
        instrument(**_changed(field, bad))


@pytest.mark.parametrize("field", ["stops_level", "freeze_level"])
@pytest.mark.parametrize("bad", [-0.01, float("nan"), float("inf")])
def test_a_level_is_at_least_nothing(field: str, bad: float) -> None:
    with pytest.raises(InvalidDataError, match=f"instrument X: {field} is"):
        instrument(**_changed(field, bad))


def test_a_price_is_a_float_that_came_from_here() -> None:
    assert instrument().nearest(1.0) == Price(1.0)


def _changed(field: str, value: float) -> dict[str, Any]:
    return {field: value}


@given(quote=quotes)
def test_what_is_on_the_grid_is_kept_and_nothing_else_is(quote: tuple[tuple[int, float], float]) -> None:
    grid, price = quote
    made = instrument(*grid)
    nearest = made.nearest(price)
    assert made.kept(nearest) == nearest
    assert made.kept(nearest + 0.25 * made.tick_size) is None


@pytest.mark.parametrize("grid", GRIDS)
@given(share=st.floats(1e-12, 0.5), side=sides)
def test_a_price_under_one_tick_is_never_kept_and_never_a_buys_stop_of_none(
    grid: tuple[int, float], share: float, side: Side
) -> None:
    made = instrument(*grid)
    price = share * made.tick_size
    assert made.kept(price) is None
    assert made.stop(Side.BUY, price) == made.tick_size
    assert made.stop(side, -price) <= 0


@pytest.mark.parametrize(
    ("step", "digits", "text"),
    [(0.01, 2, "0.30"), (0.001, 3, "0.300"), (1.0, 0, "0"), (0.1, 1, "0.3"), (0.25, 2, "0.30"), (1e-5, 5, "0.30000")],
)
def test_a_volume_is_shown_with_the_digits_of_its_step(step: float, digits: int, text: str) -> None:
    made = instrument(volume_step=step)
    assert (made.volume_digits, made.shown_lots(0.3)) == (digits, text)


@pytest.mark.parametrize(
    ("digits", "price", "text"),
    [(5, 1.0169, "1.01690"), (3, 150.123, "150.123"), (2, 104_123.5, "104123.50"), (5, 0.00005, "0.00005")],
)
def test_a_price_is_shown_with_the_instruments_digits(digits: int, price: float, text: str) -> None:
    assert instrument(digits=digits, tick=float(f"1e-{digits}")).shown(price) == text
