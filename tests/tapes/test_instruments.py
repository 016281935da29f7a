"""Instruments are data: shipped, of a file, or derived by class and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.symbols import asset_class, canonical
from dtms.errors import SettingsError
from dtms_lab.instruments import SHIPPED, derived, files_of, open_book, said
from dtms_lab.instruments.book import parse
from dtms_lab.instruments.export import Told, text_of

OWN = """
[instrument."EURUSD.r"]
digits = 4
spread_typical = 0.0003
contract_size = 1000.0

[instrument.AAPL]
class = "share"
digits = 2
spread_typical = 0.03
currency_profit = "XYZ"
currency_margin = "XYZ"

[usd_rates]
XYZ = 2.0
"""


def test_a_file_of_ones_own_replaces_the_shipped_instrument_and_adds_others(tmp_path: Path) -> None:
    (tmp_path / "instruments.toml").write_text(OWN)

    book = open_book(files_of(tmp_path))

    assert (book.specs["EURUSD"].digits, book.specs["EURUSD"].contract_size) == (4, 1_000.0)
    assert (book.specs["AAPL"].asset, book.specs["AAPL"].volume_step) == (AssetClass.OTHER, 1.0)
    assert book.usd_rates["XYZ"] == 2.0
    assert book.specs["XAUUSD"] == SHIPPED["XAUUSD"]


def test_a_later_file_wins_over_the_data_folders(tmp_path: Path) -> None:
    (tmp_path / "instruments.toml").write_text("[instrument.EURUSD]\ndigits = 4\nspread_typical = 0.0003\n")
    (tmp_path / "mine.toml").write_text("[instrument.EURUSD]\ndigits = 3\nspread_typical = 0.003\n")

    assert open_book(files_of(tmp_path, [tmp_path / "mine.toml"])).specs["EURUSD"].digits == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[instrument.X]\ndigits = 2", "X says no spread_typical"),
        ("[instrument.X]\ndigits = -1\nspread_typical = 1.0", "X.digits is -1; write a whole number from 0 to 12"),
        ("[instrument.X]\ndigits = 2\nspread_typical = 0", "X.spread_typical is 0; write a finite number above 0"),
        ("[instrument.X]\ndigits = 2\nspread_typical = nan", "X.spread_typical is nan"),
        ("[instrument.X]\ndigits = 2\nspread_typical = 1.0\nspraed = 1", "X.spraed is no key; known are class"),
        (
            '[instrument.X]\nclass = "bond"\ndigits = 2\nspread_typical = 1.0',
            "X.class is 'bond'; it is one of fx, metal",
        ),
        ("[instrument.X]\ndigits = 2\nspread_typical = 1.0\ntick_size = 0.001", "finer than 2 digits"),
        ("[instrument.X]\ndigits = 2\nspread_typical = 1.0\nvolume_min = 1e9", "is above volume_max"),
        ("[instruments.X]\ndigits = 2", "'instruments' is no table of it"),
        ("instrument = 3", "instrument is 3, no table"),
        ("digits = ", "is not TOML"),
        ("[usd_rates]\nXYZ = 0.0", "usd_rates.XYZ is 0.0; write a finite number above 0"),
    ],
)
def test_a_fault_in_an_instrument_file_names_the_key_the_value_and_the_remedy(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)

    with pytest.raises(SettingsError) as refused:
        open_book([tmp_path / "mine.toml"])

    assert sentence in str(refused.value)
    assert "mine.toml" in str(refused.value)


def test_a_missing_instrument_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"instrument file .*none\.toml cannot be read"):
        open_book([tmp_path / "none.toml"])


@pytest.mark.parametrize(
    ("symbol", "price", "digits", "contract", "step", "currency"),
    [
        ("AUDCAD", 0.9, 5, 100_000.0, 0.01, "CAD"),
        ("CADJPY", 105.0, 3, 100_000.0, 0.01, "JPY"),
        ("XAGUSD", 31.0, 3, 5_000.0, 0.01, "USD"),
        ("GER40", 22_000.0, 1, 1.0, 0.1, "EUR"),
        ("JPN225", 39_000.0, 1, 1.0, 0.1, "JPY"),
        ("SOLUSDT", 150.0, 3, 1.0, 0.01, "USDT"),
        ("DOGEUSD", 0.2, 6, 1.0, 1.0, "USD"),
        ("USOIL", 70.0, 3, 100.0, 0.1, "USD"),
        ("AAPL", 190.0, 2, 1.0, 1.0, "USD"),
    ],
)
def test_a_symbol_that_nobody_described_gets_what_its_class_has(
    symbol: str, price: float, digits: int, contract: float, step: float, currency: str
) -> None:
    spec = derived(symbol, price)

    assert (spec.digits, spec.contract_size, spec.volume_step, spec.currency_profit) == (
        digits,
        contract,
        step,
        currency,
    )
    assert "derived by its class" in said(spec)


@given(symbol=st.sampled_from(("AUDNZD", "XPTUSD", "US500", "LTCUSD", "UKOIL", "TSLA")), price=st.floats(1e-4, 1e6))
def test_a_derived_instrument_has_a_spread_of_at_least_a_tick_and_under_a_tenth_of_its_price_or_two_cents(
    symbol: str, price: float
) -> None:
    spec = derived(symbol, price)

    assert spec.spread_typical >= spec.tick_size
    assert spec.spread_typical <= max(0.1 * price, 0.02)
    assert spec.volume_min <= spec.volume_step <= spec.volume_max


def _instrument(symbol: str, digits: int) -> Instrument:
    return Instrument(
        symbol=symbol,
        canonical=canonical(symbol),
        asset=asset_class(canonical(symbol)),
        digits=digits,
        point=10.0**-digits,
        tick_size=10.0**-digits,
        contract_size=100_000.0,
        value_per_unit=100_000.0,
        volume_min=0.01,
        volume_max=50.0,
        volume_step=0.01,
        volume_limit=None,
        stops_level=20 * 10.0**-digits,
        freeze_level=0.0,
        currency_base="EUR",
        currency_profit="USD",
    )


@given(
    symbol=st.sampled_from(("EURUSD", "EURUSDc", "XAUUSD", "BTCUSD", "US30", 'odd "name" \\ here', "#AAPL")),
    digits=st.integers(0, 6),
    spread=st.floats(0, 10),
)
def test_what_a_broker_told_is_read_back_from_the_exported_file(symbol: str, digits: int, spread: float) -> None:
    told = Told(instrument=_instrument(symbol, digits), spread=spread)

    specs, _ = parse(text_of([told]), "exported.toml")

    (spec,) = specs.values()
    assert (spec.name, spec.digits, spec.stops_level) == (canonical(symbol), digits, 20)
    assert (spec.tick_size, spec.contract_size, spec.volume_step) == (10.0**-digits, 100_000.0, 0.01)
    assert spec.spread_typical == pytest.approx(max(spread, 10.0**-digits), abs=0.51 * 10.0**-digits)
    assert (spec.currency_base, spec.currency_profit) == ("EUR", "USD")
