"""What the server takes: bodies, and the strict parameters of its queries."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from dtms.adapters.gateway_client.wire import from_iso
from dtms.app.commands.registration import Registration
from dtms.domain.units import Millis, Side, Ticket
from dtms.errors import InvalidDataError
from dtms.services.web.fields import (
    MAX_TICKET,
    Body,
    NameField,
    PlainInteger,
    PriceField,
    SymbolField,
    TicketField,
    TicketsField,
    VolumeField,
)
from dtms.services.web.problem import FieldFault, invalid

ReasonField = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A person's words: one line of text."""

DEFAULT_PROFILE: Final = "intraday"
MOST_TRADES: Final = 500
MOST_ACTIONS: Final = 1_000
DEFAULT_PAGE: Final = 100


class EnableBody(Body):
    """POST /dtms/trade/enable."""

    ticket: TicketField
    symbol: SymbolField
    direction: Literal["BUY", "SELL"]
    entry: PriceField
    volume: VolumeField
    stop_loss: PriceField
    initial_stop: PriceField | None = None
    take_profit: PriceField | None = None
    profile: NameField | None = None

    def registration(self) -> Registration:
        """Return what is asked for.

        Raises:
            Problem: 422, stop and target lie on the same side.
        """
        side = Side[self.direction]
        if self.take_profit is not None and side * (self.take_profit - self.stop_loss) <= 0:
            message = "take_profit must lie on the winning side: above stop_loss for a BUY, below it for a SELL"
            raise invalid([FieldFault(field="take_profit", code="on_wrong_side", message=message)])
        return Registration(
            ticket=Ticket(self.ticket),
            symbol=self.symbol,
            side=side,
            entry=self.entry,
            volume=self.volume,
            stop=self.stop_loss,
            initial_stop=self.initial_stop,
            target=self.take_profit,
            profile=DEFAULT_PROFILE if self.profile is None else self.profile,
        )


class StatesBody(Body):
    """POST /dtms/states."""

    tickets: TicketsField


class SettleBody(Body):
    """POST /dtms/intents/{intent_id}/settle."""

    applied: bool
    ticket: TicketField | None = None


class ReasonBody(Body):
    """POST /dtms/mode/halt and /dtms/mode/resume: why, for the audit."""

    reason: ReasonField


TradesLimit = Annotated[int, Field(ge=1, le=MOST_TRADES), PlainInteger]
TradesCursor = Annotated[int, Field(ge=0, le=MAX_TICKET), PlainInteger]
ActionsLimit = Annotated[int, Field(ge=1, le=MOST_ACTIONS), PlainInteger]
ActionsCursor = Annotated[str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
"""The id of an intent: 26 letters of Crockford's base 32."""

IntentParameter = ActionsCursor

InstantText = Annotated[str, Field(max_length=40)]


def instant(name: str, text: str) -> Millis:
    """Return the instant in a query parameter.

    Raises:
        Problem: 422, it is none.
    """
    try:
        return from_iso(text)
    except (InvalidDataError, OverflowError):
        message = "write an instant as 2024-01-31T12:00:00+00:00 (its + as %2B)"
        raise invalid([FieldFault(field=f"query.{name}", code="not_an_instant", message=message)]) from None
