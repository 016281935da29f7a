"""What a person reads of a trade tells its stop: with the instrument's digits, and never rounded to another price."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.cli import show
from dtms.cli.figures import figure, shown, shown_members
from dtms.cli.show import TRADE_COLUMNS, show_pairs, show_rows, trade_row, unmanaged_row, words

TRADE: dict[str, Any] = {
    "ticket": 9_007_199_254_740_993,
    "symbol": "EURUSD",
    "direction": "BUY",
    "state": "HEALTHY",
    "pending_to": None,
    "score": None,
    "last_actions": [],
    "r_multiple": 0.13,
    "owner": "shared",
    "uncalibrated": False,
    "digits": 5,
    "volume_digits": 2,
    "volume": 0.3,
    "profit": 1234.5,
    "entry": 1.01690,
    "protection_active": True,
    "stop_loss": 1.01618,
    "take_profit": 1.01872,
    "legs": [{"ticket": 5, "volume": 0.1, "entry": 1.0170, "stop_loss": None}],
}


def printed(monkeypatch: pytest.MonkeyPatch, write: Any) -> str:
    from rich.console import Console

    console = Console(width=300, highlight=False)
    monkeypatch.setattr(show, "_console", console)
    with console.capture() as got:
        write()
    return got.get()


def test_the_list_of_trades_shows_the_stop_with_its_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    trades = [trade_row(TRADE | {"stop_loss": stop}) for stop in (1.01618, 1.01753, 1.0160)]
    text = printed(monkeypatch, lambda: show_rows("Trades", TRADE_COLUMNS, trades))

    assert [word for word in text.split() if word.startswith("1.0")] == ["1.01618", "1.01753", "1.01600"]
    assert "9007199254740993" in text


def test_a_trade_shows_prices_volumes_and_money_each_in_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, lambda: show_pairs("Trade", shown_members(TRADE).items()))
    told = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in text.splitlines()[1:]}

    assert (told["entry"], told["volume"], told["profit"]) == ("1.01690", "0.30", "1,234.50")
    assert told["legs"] == "ticket 5, volume 0.10, entry 1.01700, stop_loss -"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (150.123, 3, "150.123"),
        (1.0169, 5, "1.01690"),
        (104_123.5, 2, "104123.50"),
        (0.001, 3, "0.001"),
        (0.001, None, "0.001"),
        (1.016905, 5, "1.016905"),  # an average entry of a netting account
        (150.12300000000002, 3, "150.123"),
        (0.00001234, None, "0.00001234"),
        (1e9, None, "1000000000"),
        (0.0, 2, "0.00"),
        (-0.25, 2, "-0.25"),
    ],
)
def test_a_figure_has_its_digits(value: float, digits: int | None, text: str) -> None:
    assert figure(value, digits) == text


@given(
    value=st.floats(min_value=1e-8, max_value=1e9, allow_nan=False),
    digits=st.none() | st.integers(min_value=0, max_value=8),
)
def test_no_figure_is_rounded_to_another_number(value: float, digits: int | None) -> None:
    text = figure(value, digits)
    assert abs(float(text) - value) <= 1e-9 * max(1.0, value)
    assert float(words(value)) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", ["entry", "stop_loss", "volume", "ticket"])
@pytest.mark.parametrize("value", [None, True, "text", 7])
def test_what_is_no_fraction_is_shown_as_it_is(name: str, value: Any) -> None:
    assert shown(name, value) in (value, str(value))


def test_a_name_of_the_brokers_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [trade_row(TRADE | {"symbol": "[red]A[/x]", "uncalibrated": True})]
    text = printed(monkeypatch, lambda: show_rows("Trades", TRADE_COLUMNS, rows))

    assert "[red]A[/x]" in text
    assert "shared, uncalibrated" in text


def test_a_stop_that_the_broker_does_not_show_is_none() -> None:
    assert trade_row(TRADE)[6] == "1.01618"
    assert trade_row(TRADE | {"protection_active": False})[6] == "NO stop"
    stray = {"ticket": 7, "symbol": "XAUUSD", "direction": "BUY", "volume": 0.2, "stop_loss": None, "why": "unknown"}
    assert unmanaged_row(stray) == (7, "XAUUSD", "BUY", 0.2, "NO stop", "unknown")
    assert unmanaged_row(stray | {"stop_loss": 2_440.5})[4] == 2_440.5
