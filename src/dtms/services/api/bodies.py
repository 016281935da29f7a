"""The main API's request bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_type_hints

from pydantic import Field, create_model

from dtms.app.commands.opening_checks import Order
from dtms.domain.policy.exits import ExitPolicy, ExitProfile, profile_from
from dtms.domain.units import Side
from dtms.domain.verdict import KillLevel
from dtms.errors import SettingsError
from dtms.services.web.fields import Body, NameField, PriceField, SymbolField, VolumeField
from dtms.services.web.problem import FieldFault, invalid

MAX_MONEY: Final = 1e12
MoneyField = Annotated[float, Field(gt=0, le=MAX_MONEY)]


class OpenBody(Body):
    """POST /api/trades; exactly one of `volume` and `risk_money`."""

    symbol: SymbolField
    direction: Literal["BUY", "SELL"]
    volume: VolumeField | None = None
    risk_money: MoneyField | None = None
    stop_loss: PriceField
    take_profit: PriceField | None = None
    profile: NameField | None = None

    def order(self) -> Order:
        """Return the order.

        Raises:
            Problem: 422, neither or both of volume and risk_money are given.
        """
        if (self.volume is None) is (self.risk_money is None):
            message = "give exactly one of volume and risk_money"
            raise invalid([FieldFault(field="volume", code="size_ambiguous", message=message)])
        return Order(
            symbol=self.symbol,
            side=Side[self.direction],
            volume=self.volume,
            risk_money=self.risk_money,
            stop=self.stop_loss,
            target=self.take_profit,
            profile=self.profile,
        )


class KillBody(Body):
    """POST /api/kill-switch."""

    level: Literal["pause", "protect_only", "flatten"]

    def word(self) -> KillLevel:
        """Return the level."""
        return KillLevel(self.level)


def _numbers_model() -> type[Body]:
    """Make the body of a trade's own exit numbers: every field of a profile, none of them required."""
    hints = get_type_hints(ExitProfile)
    optional: dict[str, Any] = {each.name: (hints[each.name] | None, None) for each in fields(ExitProfile)}
    return create_model("ExitNumbers", __base__=Body, __doc__="A trade's own exit numbers.", **optional)


if TYPE_CHECKING:

    class ExitNumbers(Body):
        """Its fields are a profile's, taken over when the module is loaded."""

else:
    ExitNumbers = _numbers_model()


class ExitsBody(Body):
    """PUT /api/exits/{ticket}: a profile's name, own numbers, or a profile with some numbers of one's own."""

    profile: NameField | None = None
    numbers: ExitNumbers | None = None

    def given(self) -> Mapping[str, object]:
        """Return the numbers that were given."""
        if self.numbers is None:
            return {}
        told: dict[str, object] = self.numbers.model_dump(exclude_unset=True)
        return told

    def chosen(self, policy: ExitPolicy) -> tuple[str | None, ExitProfile]:
        """Return the profile's name, None for own numbers, and its numbers.

        Raises:
            Problem: 422 with each faulty field.
        """
        if self.profile is None and self.numbers is None:
            raise invalid([FieldFault(field="profile", code="missing", message="give a profile or numbers")])
        name = policy.default_profile if self.profile is None else self.profile
        if name not in policy.names:
            message = f"there is no such profile; known are {', '.join(policy.names)}"
            raise invalid([FieldFault(field="profile", code="profile_unknown", message=message)])
        base = policy.profile(name)
        given = self.given()
        faults = [fault for name_, value in given.items() if (fault := _fault(name_, value, base)) is not None]
        if faults:
            raise invalid(faults)
        return (None if given else name), profile_from(given, base)


def _fault(name: str, value: object, base: ExitProfile) -> FieldFault | None:
    """Return what is wrong with one number: the remedy, without the value that was sent."""
    try:
        profile_from({name: value}, base)
    except SettingsError as error:
        remedy = str(error).rpartition("; ")[2]
        return FieldFault(field=f"numbers.{name}", code="out_of_range", message=remedy)
    return None
