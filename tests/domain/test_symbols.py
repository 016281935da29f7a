"""One spelling for each symbol, whatever a broker hangs on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.instrument import AssetClass
from dtms.domain.symbols import ALIASES, asset_class, canonical


@pytest.mark.parametrize(
    ("decorated", "plain"),
    [
        ("EURUSD", "EURUSD"),
        ("EURUSDc", "EURUSD"),
        ("EURUSDm", "EURUSD"),
        ("EURUSD.r", "EURUSD"),
        ("EURUSD.", "EURUSD"),
        ("EURUSD#", "EURUSD"),
        ("EURUSD-ECN", "EURUSD"),
        ("EURUSD+", "EURUSD"),
        ("EURUSD.pro", "EURUSD"),
        ("EURUSD_i", "EURUSD"),
        ("eurusd", "EURUSD"),
        ("EUR/USD", "EURUSD"),
        ("GBPJPY.Z", "GBPJPY"),
        ("USDJPYm", "USDJPY"),
        ("XAUUSD", "XAUUSD"),
        ("XAU/USD", "XAUUSD"),
        ("XAUUSD.a", "XAUUSD"),
        ("GOLD", "XAUUSD"),
        ("GOLD.r", "XAUUSD"),
        ("SILVER", "XAGUSD"),
        ("BTCUSD", "BTCUSD"),
        ("BTCUSDc", "BTCUSD"),
        ("BTC/USDT", "BTCUSDT"),
        ("BTC/USDT:USDT", "BTCUSDT"),
        ("BTC/USD:BTC", "BTCUSD"),
        ("XBTUSD", "BTCUSD"),
        ("ETH/USDT:USDT-251226", "ETHUSDT"),
        ("US30", "US30"),
        ("US30.cash", "US30"),
        ("NAS100", "NAS100"),
    ],
)
def test_a_decorated_symbol_is_the_plain_one(decorated: str, plain: str) -> None:
    assert canonical(decorated) == plain


@pytest.mark.parametrize("pair", ["EURUSD", "GBPJPY", "XAUUSD", "BTCUSD", "BTCUSDT", "ETHUSD"])
@given(tail=st.from_regex(r"[a-z]{1,3}|[.#+-][A-Za-z0-9]{0,5}", fullmatch=True))
def test_no_tail_changes_what_a_known_pair_is(pair: str, tail: str) -> None:
    assert canonical(pair + tail) == pair


@given(name=st.from_regex(r"[A-Z0-9]{3,8}", fullmatch=True))
def test_normalising_twice_is_normalising_once(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)


def test_a_policys_alias_beats_the_table_and_leaves_the_rest_of_it() -> None:
    extra = {"SPOTGOLD": "XAUUSD", "GOLD": "XAGUSD"}
    assert [canonical(name, extra) for name in ("SPOTGOLD", "GOLD", "SILVER")] == ["XAUUSD", "XAGUSD", "XAGUSD"]
    assert ALIASES["GOLD"] == "XAUUSD"


@pytest.mark.parametrize(
    ("symbol", "asset"),
    [
        ("EURUSD", AssetClass.FX),
        ("USDTRY", AssetClass.FX),
        ("XAUUSD", AssetClass.METAL),
        ("XAGEUR", AssetClass.METAL),
        ("BTCUSD", AssetClass.CRYPTO),
        ("BTCUSDT", AssetClass.CRYPTO),
        ("ETHEUR", AssetClass.CRYPTO),
        ("US30", AssetClass.OTHER),
        ("AAPL", AssetClass.OTHER),
    ],
)
def test_the_class_of_a_symbol_follows_from_its_name(symbol: str, asset: AssetClass) -> None:
    assert asset_class(symbol) is asset
