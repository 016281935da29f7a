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
        ("m.EURUSD", "EURUSD"),
        ("m.GBPUSD", "GBPUSD"),
        ("pro.XAUUSD", "XAUUSD"),
        ("#EURUSD", "EURUSD"),
        ("frxEURUSD", "EURUSD"),
        ("cryBTCUSD", "BTCUSD"),
        ("FX:EURUSD", "EURUSD"),
        ("FX_IDC:EURUSD", "EURUSD"),
        ("OANDA:XAUUSD", "XAUUSD"),
        ("BINANCE:BTCUSDT.P", "BTCUSDT"),
        ("XAUUSD.£", "XAUUSD"),
        ("£EURUSD", "EURUSD"),
        ("EUR.USD", "EURUSD"),
        ("EUR USD", "EURUSD"),
        ("USDJPY_sb", "USDJPY"),
        ("EURUSDC", "EURUSD"),
        ("BTC-USD", "BTCUSD"),
        ("BTC-USDT", "BTCUSDT"),
        ("BTCUSDC", "BTCUSDC"),
        ("BTCUSDCash", "BTCUSD"),
        ("BTCUSD_PERP", "BTCUSD"),
        ("XXBTZUSD", "BTCUSD"),
        ("ZEURZUSD", "EURUSD"),
        ("ETHBTC", "ETHBTC"),
        ("EURUSDT", "EURUSDT"),
        ("GOLD#", "XAUUSD"),
        ("Gold", "XAUUSD"),
        ("GOLDmicro", "XAUUSD"),
        ("TVC:GOLD", "XAUUSD"),
        ("GOLDEUR", "XAUEUR"),
        ("US30Cash", "US30"),
        (".US30Cash", "US30"),
        ("#AAPL", "AAPL"),
        ("AAPL", "AAPL"),
    ],
)
def test_a_decorated_symbol_is_the_plain_one(decorated: str, plain: str) -> None:
    assert canonical(decorated) == plain


@pytest.mark.parametrize("pair", ["EURUSD", "GBPJPY", "XAUUSD", "BTCUSD", "BTCUSDT", "ETHUSD"])
@given(tail=st.from_regex(r"[a-z]{1,3}|[.#+-][A-Za-z0-9]{0,5}", fullmatch=True))
def test_no_tail_changes_what_a_known_pair_is(pair: str, tail: str) -> None:
    assert canonical(pair + tail) == pair


@pytest.mark.parametrize(
    "name",
    ["GOLD.NYSE", "NYSE:GOLD", "#GOLD", "GOLDMAN", "AAPL.NAS", "BRK.B", "DOT.US", "@ES", "@EU6", "M", "£", "ЯЗЬ.USD"],
)
def test_what_is_no_known_pair_keeps_its_whole_name(name: str) -> None:
    assert canonical(name) == name
    assert asset_class(name) is AssetClass.OTHER


@pytest.mark.parametrize(
    "name",
    [
        "mBTCUSD",
        "WBTCUSD",
        "STETHUSD",
        "1000SHIBUSDT",
        "AUDCADNZD",
        "EURUSD-OTC",
        "Weekend GBP/USD",
        "EUR/USDC",
        "SXAUUSD",
    ],
)
def test_another_instrument_that_holds_a_pairs_letters_is_not_that_pair(name: str) -> None:
    assert asset_class(canonical(name)) is AssetClass.OTHER
    assert canonical(name) == name.upper()


_KNOWN = ["EURUSD", "GBPJPY", "XAUUSD", "BTCUSD", "BTCUSDT", "ETHUSD", "XAGEUR"]
_HEADS = st.sampled_from(["", "#", ".", "!", "£", "m.", "pro.", "ecn_", "frx", "FX:", "OANDA:", "Forex\\", "x-", "Яя "])
_TAILS = st.sampled_from(
    ["", "#", ".", "+", "£", ".r", "-ECN", "_sb", "m", "micro", ".pro", "Cash", " spot", ".z.2", "_i€"]
)


@given(pair=st.sampled_from(_KNOWN), head=_HEADS, tail=_TAILS)
def test_no_decoration_at_either_end_changes_what_a_known_pair_is(pair: str, head: str, tail: str) -> None:
    assert canonical(f"{head}{pair}{tail}") == pair


@given(base=st.sampled_from(["EUR", "XAU", "BTC"]), between=st.sampled_from("/-_. "), head=_HEADS, tail=_TAILS)
def test_a_separator_inside_of_a_pair_changes_nothing(base: str, between: str, head: str, tail: str) -> None:
    assert canonical(f"{head}{base}{between}USD{tail}") == f"{base}USD"


_NAMES = (
    st.text(max_size=31)
    | st.text("ABEMRUSDXabcdmrtz0123.#:_-+/!@ £", max_size=31)
    | st.builds(
        lambda head, middle, tail: f"{head}{middle}{tail}",
        _HEADS,
        st.sampled_from([*_KNOWN, "GOLD", "US30", "M"]),
        _TAILS,
    )
)


@given(name=_NAMES)
def test_normalising_twice_is_normalising_once_whatever_the_name(name: str) -> None:
    once = canonical(name)
    assert canonical(once) == once
    asset_class(once)


@given(name=_NAMES)
def test_an_unknown_name_is_never_cut_to_a_letter(name: str) -> None:
    found = canonical(name)
    if asset_class(found) is AssetClass.OTHER:
        assert sum(map(str.isalnum, found)) >= min(2, sum(map(str.isalnum, name)))
        assert found in name.upper()


def test_a_policys_alias_beats_the_table_and_leaves_the_rest_of_it() -> None:
    extra = {"SPOTGOLD": "XAUUSD", "GOLD": "XAGUSD"}
    assert [canonical(name, extra) for name in ("SPOTGOLD", "GOLD", "SILVER")] == ["XAUUSD", "XAGUSD", "XAGUSD"]
    assert ALIASES["GOLD"] == "XAUUSD"
    assert canonical("SPOTGOLD.r", extra) == "XAUUSD"
    assert canonical("mBTCUSD", {"mBTCUSD": "BTCUSD"}) == "BTCUSD"


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
