"""A specification is believed only under its own name: by another's, stops and volumes would be quantised wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dtms.errors import BrokerUnavailableError, InvalidDataError

if TYPE_CHECKING:
    from tests.mt5.conftest import Bench


def answer_as(bench: Bench, name: str, *, select: bool = True, times: int = 1) -> list[str]:
    """Let `symbol_info` answer with another name, so many times; return what was asked."""
    inner = bench.terminal.symbol_info
    asked: list[str] = []

    def symbol_info(symbol: str) -> Any:
        asked.append(symbol)
        found: Any = inner(symbol)
        if len(asked) > times:
            return found
        values = {field: getattr(found, field) for field in ("name", "select")} | {"name": name, "select": select}
        return _Named(found, values)

    bench.terminal.symbol_info = symbol_info  # type: ignore[method-assign]
    return asked


class _Named:
    """A specification under another name."""

    def __init__(self, found: Any, values: dict[str, Any]) -> None:
        self._found = found
        self._values = values

    def __getattr__(self, name: str) -> Any:
        return self._values[name] if name in self._values else getattr(self._found, name)


def test_an_answer_about_another_symbol_is_refused_and_the_link_opened_anew(bench: Bench) -> None:
    bench.broker.instrument("EURUSD")
    answer_as(bench, "GBPUSD")

    with pytest.raises(BrokerUnavailableError, match="symbol_info of EURUSD was answered with GBPUSD"):
        bench.broker.instrument("EURUSD")

    assert bench.broker.instrument("EURUSD").symbol == "EURUSD"


def test_an_answer_in_another_spelling_names_the_right_one(bench: Bench) -> None:
    answer_as(bench, "EurUsd", times=100)

    with pytest.raises(InvalidDataError, match="does not know the symbol 'EURUSD'; it spells it 'EurUsd'"):
        bench.broker.instrument("EURUSD")


def test_the_second_look_after_it_was_put_into_market_watch_is_checked_too(bench: Bench) -> None:
    asked = answer_as(bench, "EURUSD", select=False)
    first = bench.terminal.symbol_info

    def then_another(symbol: str) -> Any:
        found: Any = first(symbol)
        return found if len(asked) == 1 else _Named(found, {"name": "GBPUSD"})

    bench.terminal.symbol_info = then_another  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailableError, match="was answered with GBPUSD"):
        bench.broker.symbol_info("EURUSD")
