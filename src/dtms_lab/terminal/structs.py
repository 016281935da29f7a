"""The package's struct types, made at import from a table.

Like the package's own they are tuples with attributes and `_asdict()`, have neither `_fields` nor `_replace`, claim to live
in `builtins` and therefore cannot be pickled: whoever crosses a process boundary with one must convert it first.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self


class Struct(tuple[Any, ...]):
    """The common behaviour of all struct types; never made itself."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    n_fields: ClassVar[int] = 0

    def __new__(cls, values: Iterable[Any]) -> Self:
        """Make one from as many values as the type has fields, like the package's own."""
        made = super().__new__(cls, values)
        if len(made) != cls.n_fields:
            msg = f"{cls.__name__}() takes a {cls.n_fields}-sequence ({len(made)}-sequence given)"
            raise TypeError(msg)
        return made

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self.__match_args__, self, strict=True))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in zip(self.__match_args__, self, strict=True))
        return f"{type(self).__name__}({inner})"

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(fields.split())
    for name, fields in {
        "TradePosition": """ticket time time_msc time_update time_update_msc type magic identifier reason volume
            price_open sl tp price_current swap profit symbol comment external_id""",
        "TradeOrder": """ticket time_setup time_setup_msc time_done time_done_msc time_expiration type type_time
            type_filling state magic position_id position_by_id reason volume_initial volume_current price_open sl tp
            price_current price_stoplimit symbol comment external_id""",
        "TradeDeal": """ticket order time time_msc type entry magic position_id reason volume price commission swap
            profit fee symbol comment external_id""",
        "TradeRequest": """action magic order symbol volume price stoplimit sl tp deviation type type_filling type_time
            expiration comment position position_by""",
        "OrderSendResult": """retcode deal order volume price bid ask comment request_id retcode_external request""",
        "OrderCheckResult": "retcode balance equity profit margin margin_free margin_level comment request",
        "Tick": "time bid ask last volume time_msc flags volume_real",
        "BookInfo": "type price volume volume_dbl",
        "TerminalInfo": """community_account community_connection connected dlls_allowed trade_allowed tradeapi_disabled
            email_enabled ftp_enabled notifications_enabled mqid build maxbars codepage ping_last community_balance
            retransmission company name language path data_path commondata_path""",
        "AccountInfo": """login trade_mode leverage limit_orders margin_so_mode trade_allowed trade_expert margin_mode
            currency_digits fifo_close balance credit profit equity margin margin_free margin_level margin_so_call
            margin_so_so margin_initial margin_maintenance assets liabilities commission_blocked name server currency
            company""",
        "SymbolInfo": """custom chart_mode select visible session_deals session_buy_orders session_sell_orders volume
            volumehigh volumelow time digits spread spread_float ticks_bookdepth trade_calc_mode trade_mode start_time
            expiration_time trade_stops_level trade_freeze_level trade_exemode swap_mode swap_rollover3days
            margin_hedged_use_leg expiration_mode filling_mode order_mode order_gtc_mode option_mode option_right bid
            bidhigh bidlow ask askhigh asklow last lasthigh lastlow volume_real volumehigh_real volumelow_real
            option_strike point trade_tick_value trade_tick_value_profit trade_tick_value_loss trade_tick_size
            trade_contract_size trade_accrued_interest trade_face_value trade_liquidity_rate volume_min volume_max
            volume_step volume_limit swap_long swap_short margin_initial margin_maintenance session_volume
            session_turnover session_interest session_buy_orders_volume session_sell_orders_volume session_open
            session_close session_aw session_price_settlement session_price_limit_min session_price_limit_max
            margin_hedged price_change price_volatility price_theoretical price_greeks_delta price_greeks_theta
            price_greeks_gamma price_greeks_vega price_greeks_rho price_greeks_omega price_sensitivity basis category
            currency_base currency_profit currency_margin bank description exchange formula isin name page path""",
    }.items()
}
"""Field names in the order of the package's wheel 5.0.6231."""


def _make(name: str) -> type[Struct]:
    fields = FIELDS[name]
    body: dict[str, Any] = {field: property(itemgetter(place)) for place, field in enumerate(fields)}
    body |= {"__slots__": (), "__match_args__": fields, "n_fields": len(fields), "__module__": "builtins"}
    return type(name, (Struct,), body)


TradePosition = _make("TradePosition")
TradeOrder = _make("TradeOrder")
TradeDeal = _make("TradeDeal")
TradeRequest = _make("TradeRequest")
OrderSendResult = _make("OrderSendResult")
OrderCheckResult = _make("OrderCheckResult")
Tick = _make("Tick")
BookInfo = _make("BookInfo")
TerminalInfo = _make("TerminalInfo")
AccountInfo = _make("AccountInfo")
SymbolInfo = _make("SymbolInfo")
