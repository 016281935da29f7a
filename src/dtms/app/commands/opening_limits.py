"""What an opening must not be however well it is formed: further from the price, larger or dearer than anybody means. Pure."""

from __future__ import annotations

from dtms.app.commands.opening_checks import OpeningRefusal, OpeningRefusedError
from dtms.domain.action import OpenTrade
from dtms.domain.instrument import Instrument
from dtms.domain.policy import Policy


def check_limits(
    action: OpenTrade,
    instrument: Instrument,
    price: float,
    atr: float | None,
    policy: Policy,
    equity: float,
    field: str,
) -> None:
    """Refuse an opening beyond the policy's limits of common sense.

    Args:
        action: The opening, quantised.
        instrument: Its grid and what a move is worth.
        price: At which it would be opened.
        atr: ATR(M15) in price units, None where it is not known; the limit that needs it is left out then.
        policy: Of the symbol.
        equity: Of the account, in its currency.
        field: The request's field that decides the size.

    Raises:
        OpeningRefusedError: Names the field, what was reckoned, and the limit of the policy to change.
    """
    limits, most_lots = policy.opening, policy.operation.max_lots_per_action
    risk, shown = abs(price - action.stop), instrument.shown
    if atr is not None and risk > limits.max_stop_atr * atr:
        words = f"{shown(risk)} from the price, more than {limits.max_stop_atr:g} ATR(M15) of {shown(atr)}"
        _refused("stop_too_far", f"the stop is {words}; see opening.max_stop_atr", "stop_loss")
    if risk > limits.max_stop_share * price:
        words = f"{shown(risk)} from the price, more than {limits.max_stop_share:.4g} of it"
        _refused("stop_too_far", f"the stop is {words}; see opening.max_stop_share", "stop_loss")
    if action.volume > most_lots:
        words = f"{instrument.shown_lots(action.volume)} lots, more than the {most_lots:g} of one action"
        _refused("volume_too_large", f"it would be {words}; see operation.max_lots_per_action", field)
    loss = instrument.money(risk, action.volume)
    if not loss <= limits.max_risk_share * equity:  # an equity that is no number allows nothing
        words = f"lose {loss:.2f} at its stop, more than {limits.max_risk_share:.4g} of the equity of {equity:.2f}"
        _refused("risk_too_large", f"it would {words}; see opening.max_risk_share", field)


def _refused(code: str, detail: str, field: str) -> None:
    raise OpeningRefusedError(OpeningRefusal.INVALID, code, detail, field)
