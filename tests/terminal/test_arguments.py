"""What the package refuses before anything is sent, and how a session begins and ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dtms_lab.terminal.arguments import parse_request
from dtms_lab.terminal.desk import SimDesk

_ORDER: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1}


@pytest.fixture
def desk() -> SimDesk:
    made = SimDesk()
    made.quote("EURUSD", 1.1)
    return made


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"volume": 1}, "volume"),
        ({"volume": "0.1"}, "volume"),
        ({"sl": 1}, "sl"),
        ({"tp": None}, "tp"),
        ({"price": np.int64(1)}, "price"),
        ({"action": 1.0}, "action"),
        ({"type": np.int64(0)}, "type"),
        ({"magic": -1}, "magic"),
        ({"magic": 2**64}, "magic"),
        ({"position": "7"}, "position"),
        ({"expiration": 1.5}, "expiration"),
        ({"symbol": 5}, "symbol"),
        ({"symbol": "E" * 30}, "symbol"),
        ({"comment": "c" * 30}, "comment"),
        ({"comment": None}, "comment"),
    ],
)
def test_a_value_of_the_wrong_type_is_not_sent(desk: SimDesk, change: dict[str, Any], name: str) -> None:
    assert desk.terminal.order_send(_ORDER | change) is None
    assert desk.terminal.last_error() == (-2, f'Invalid "{name}" argument')
    assert desk.terminal.positions_get() == ()


def test_a_numpy_float_is_a_float_and_unknown_keys_are_ignored(desk: SimDesk) -> None:
    result = desk.terminal.order_send(_ORDER | {"volume": np.float64(0.1), "colour": "red", "comment": "c" * 29})
    assert result is not None
    assert (result.retcode, result.request.comment) == (10009, "c" * 29)


def test_missing_keys_are_zero_or_empty() -> None:
    assert parse_request(({},), {}) == (0, 0, 0, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, "", 0, 0)


def test_keywords_are_the_request(desk: SimDesk) -> None:
    result = desk.terminal.order_send(**_ORDER)
    assert result is not None
    assert result.retcode == 10009


@pytest.mark.parametrize("args", [(), (1,), (_ORDER, _ORDER), ([("action", 1)],)])
def test_anything_but_one_dictionary_is_refused(desk: SimDesk, args: tuple[Any, ...]) -> None:
    assert desk.terminal.order_send(*args) is None
    assert desk.terminal.last_error() == (-2, 'Invalid "request" argument')


def test_a_dictionary_beside_keywords_is_refused(desk: SimDesk) -> None:
    assert desk.terminal.order_send(_ORDER, magic=5) is None
    assert desk.terminal.last_error() == (-2, "Unnamed arguments not allowed")


@pytest.mark.parametrize(
    ("change", "retcode"),
    [({"volume": float("nan")}, 10013), ({"sl": float("nan")}, 10015), ({"price": float("inf")}, 10015)],
)
def test_a_nan_passes_the_package_and_is_refused_by_the_server(
    desk: SimDesk, change: dict[str, Any], retcode: int
) -> None:
    result = desk.terminal.order_send(_ORDER | change)
    assert result is not None
    assert result.retcode == retcode


def test_other_arguments_are_checked_too(desk: SimDesk) -> None:
    terminal: Any = desk.terminal
    assert terminal.symbol_info(5) is None
    assert terminal.last_error() == (-2, 'Invalid "symbol" argument')
    assert terminal.copy_rates_from_pos("EURUSD", 1, 0, 1.0) is None
    assert terminal.last_error() == (-2, 'Invalid "count" argument')
    assert terminal.positions_get("EURUSD") is None
    assert terminal.last_error()[0] == -2
    assert terminal.positions_get(tickets=5) is None
    assert terminal.last_error() == (-2, 'Invalid "tickets" argument')
    assert terminal.history_deals_get(0) is None
    assert terminal.last_error()[0] == -2
    assert terminal.order_calc_profit(0, "EURUSD", 1, 1.1, 1.2) is None
    assert terminal.last_error() == (-2, 'Invalid "volume" argument')


def test_success_clears_the_error(desk: SimDesk) -> None:
    assert desk.terminal.symbol_info("NOPE") is None
    assert desk.terminal.last_error() == (-4, "Terminal: Not found")
    assert desk.terminal.positions_total() == 0
    assert desk.terminal.last_error() == (1, "Success")


def test_nothing_answers_before_initialize_and_after_shutdown(desk: SimDesk) -> None:
    desk.terminal.shutdown()
    assert desk.terminal.positions_get() is None
    assert desk.terminal.last_error() == (-10004, "No IPC connection")
    assert desk.terminal.order_send(_ORDER) is None
    assert desk.terminal.last_error()[0] == -10004
    assert desk.terminal.initialize() is True
    assert desk.terminal.positions_get() == ()


def test_another_account_is_refused(desk: SimDesk) -> None:
    assert desk.terminal.initialize(login=5, server="DTMS-Simulated") is False
    assert desk.terminal.last_error()[0] == -6
    secret = {"password": "any"}
    assert desk.terminal.initialize(login=10000042, server="DTMS-Simulated", **secret) is True
    assert desk.terminal.initialize(login="10000042") is False
    assert desk.terminal.last_error() == (-2, 'Invalid "login" argument')
    assert desk.terminal.login(10000042, server="Elsewhere") is False
    assert desk.terminal.login(10000042) is True


def test_the_account_is_a_hedging_demo_of_ten_thousand_dollars(desk: SimDesk) -> None:
    info = desk.terminal.account_info()
    assert info is not None
    assert (info.login, info.trade_mode, info.margin_mode, info.balance) == (10000042, 0, 2, 10_000.0)
    assert (info.currency, info.server, info.fifo_close, info.trade_allowed) == ("USD", "DTMS-Simulated", False, True)
    assert (info.equity, info.margin, info.margin_level) == (10_000.0, 0.0, 0.0)


def test_a_symbol_is_quoted_only_while_it_is_watched(desk: SimDesk) -> None:
    assert desk.terminal.symbol_info_tick("EURUSD") is None
    assert desk.terminal.symbol_select("EURUSD", True) is True
    tick = desk.terminal.symbol_info_tick("EURUSD")
    assert tick is not None
    assert (tick.bid, tick.ask, tick.time_msc) == (1.1, 1.1001, desk.now + 2 * 3_600_000)
    assert desk.terminal.symbol_select("NOPE") is False


def test_a_symbol_with_a_position_stays_watched(desk: SimDesk) -> None:
    assert desk.terminal.symbol_select("EURUSD", True)
    assert desk.terminal.symbol_select("EURUSD", False) is True
    assert desk.terminal.symbol_info_tick("EURUSD") is None
    desk.buy("EURUSD", 0.1)
    assert desk.terminal.symbol_info_tick("EURUSD") is not None
    assert desk.terminal.symbol_select("EURUSD", False) is False
    assert desk.terminal.last_error()[0] == -1


def test_the_depth_of_market_is_not_supported(desk: SimDesk) -> None:
    assert desk.terminal.market_book_add("EURUSD") is False
    assert desk.terminal.last_error() == (-7, "Unsupported")


def test_groups_take_in_and_out(desk: SimDesk) -> None:
    found = desk.terminal.symbols_get(group="*USD*,!BTC*,!ETH*")
    assert found is not None
    assert [symbol.name for symbol in found] == ["XAUUSD", "EURUSD", "GBPUSD", "USDJPY"]
