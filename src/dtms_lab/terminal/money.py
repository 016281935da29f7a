"""What prices mean in the account's currency: profit, margin, commission.

Source:
    The vendor's formulas for its Forex and CFD-leverage calculation modes: profit = (close - open) x contract x lots in the
    profit currency; margin = lots x contract / leverage in the base currency, or lots x contract x price / leverage.
"""

from __future__ import annotations

from collections.abc import Mapping

from dtms.domain.market import Quote
from dtms.domain.units import Side
from dtms.errors import SettingsError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.records import AccountSpec

_MILLION = 1_000_000.0


class Money:
    """Converts with the server's live quotes where it quotes the pair, else with a static table of US dollars a unit."""

    def __init__(
        self,
        account: AccountSpec,
        specs: Mapping[str, SymbolSpec],
        quotes: Mapping[str, Quote],
        usd_rates: Mapping[str, float],
    ) -> None:
        self.account = account
        self._usd_rates = usd_rates
        self._quotes = quotes
        self._pairs = {(spec.currency_base, spec.currency_profit): spec.name for spec in specs.values()}
        for spec in specs.values():
            for currency in (spec.currency_profit, spec.currency_margin, account.currency):
                if currency not in usd_rates:
                    msg = (
                        f"symbol {spec.name}: no rate for currency {currency}; write what one unit is in US dollars into an "
                        f"instrument file: [usd_rates] and {currency} = 1.0 below it"
                    )
                    raise SettingsError(msg)

    def round(self, amount: float) -> float:
        """Return an amount at the account's precision."""
        return round(amount, self.account.currency_digits)

    def rate(self, currency: str) -> float:
        """Return the account-currency value of one unit of `currency` now."""
        home = self.account.currency
        if currency == home:
            return 1.0
        direct = self._quotes.get(self._pairs.get((currency, home), ""))
        if direct is not None:
            return direct.bid
        inverse = self._quotes.get(self._pairs.get((home, currency), ""))
        if inverse is not None:
            return 1.0 / inverse.bid
        return self._usd_rates[currency] / self._usd_rates[home]

    def value_per_unit(self, spec: SymbolSpec, price: float) -> float:
        """Return the account-currency result of a price move of 1.0 on one lot, the symbol standing at `price`."""
        if spec.currency_profit == self.account.currency:
            return spec.contract_size
        if spec.currency_base == self.account.currency:
            return spec.contract_size / price
        return spec.contract_size * self.rate(spec.currency_profit)

    def profit(self, spec: SymbolSpec, side: Side, volume: float, *, opened: float, closed: float) -> float:
        """Return the rounded result of a round trip, costs apart."""
        return self.round(side * (closed - opened) * volume * self.value_per_unit(spec, closed))

    def margin_per_lot(self, spec: SymbolSpec, price: float) -> float:
        """Return the margin of one lot opened at `price`, unrounded."""
        if spec.calc_mode == Mt5.SYMBOL_CALC_MODE_FOREX:
            if spec.currency_profit == self.account.currency:
                return spec.contract_size * price / self.account.leverage
            return spec.contract_size * self.rate(spec.currency_margin) / self.account.leverage
        return price * self.value_per_unit(spec, price) / self.account.leverage

    def commission(self, spec: SymbolSpec, volume: float, price: float) -> float:
        """Return the rounded commission of one deal, negative or 0."""
        notional = volume * price * self.value_per_unit(spec, price)
        return 0.0 - self.round(spec.commission_per_lot * volume + spec.commission_per_million * notional / _MILLION)
