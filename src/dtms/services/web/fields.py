"""Types of the fields of bodies, paths and queries: bounded, plain digits only, nothing converted on the quiet."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from dtms.adapters.gateway_client.wire import MAX_SYMBOL, SYMBOL_PATTERN

MAX_TICKET: Final = 2**63 - 1
"""Tickets are signed 64-bit numbers at every broker we know."""

MAX_PRICE: Final = 1e9
"""Above every quoted price (an index in a weak currency is below 1e7); a larger one is a fault."""

MAX_VOLUME: Final = 1e6
"""In lots; brokers end at 1e3 to 1e5."""

_PLAIN_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")


class Body(BaseModel):
    """The base of every request body: nothing is converted, nothing unknown is accepted, every number is finite."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True, hide_input_in_errors=True)


def _integer(value: object) -> int:
    """Read an integer of a path or query; Python's own `int` takes "1_0", " 1", "+1" and the digits of every script."""
    if isinstance(value, str) and _PLAIN_INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # a default
    msg = "write a whole number in plain digits"
    raise ValueError(msg)


TicketField = Annotated[int, Field(gt=0, le=MAX_TICKET)]
PriceField = Annotated[float, Field(gt=0, le=MAX_PRICE)]
VolumeField = Annotated[float, Field(gt=0, le=MAX_VOLUME)]
NameField = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
SymbolField = Annotated[str, Field(pattern=SYMBOL_PATTERN, max_length=MAX_SYMBOL)]
TicketsField = Annotated[list[TicketField], FailFast(), Field(max_length=10_000)]

PlainInteger = BeforeValidator(_integer)
"""For integers in paths and queries: `Annotated[int, Field(gt=0), PlainInteger]`. It stands last, for what stands before
a validator is written into the OpenAPI document as the bounds that it is."""

TicketParameter = Annotated[int, Field(gt=0, le=MAX_TICKET), PlainInteger]
