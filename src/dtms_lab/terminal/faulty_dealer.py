"""A dealer that refuses, fills in part, at another price, or keeps another comment, as a plan says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal

from dtms.domain.market import Quote
from dtms_lab.terminal.catalogue import CATALOGUE, SymbolSpec
from dtms_lab.terminal.dealer import Dealer, Fill, HonestDealer
from dtms_lab.terminal.fault_kinds import DealerFault, Dripped, PartFill, Refused, Relevelled, Restamped, Slipped
from dtms_lab.terminal.fault_plan import ORDER_SEND, Injector, sent_kind
from dtms_lab.terminal.records import SIDE_OF_TYPE, Request


def _every(_request: Request) -> bool:
    return True


class FaultyDealer:
    """Fulfils `Dealer` over another one.

    Args:
        injector: The run of the plan, the same as the link's.
        inner: What answers where the plan does nothing.
        specs: The instruments, for their steps.
        only: Whose orders may be touched; everybody's by default, those sent by hand at the server included.
    """

    def __init__(
        self,
        injector: Injector,
        *,
        inner: Dealer | None = None,
        specs: Mapping[str, SymbolSpec] = CATALOGUE,
        only: Callable[[Request], bool] = _every,
    ) -> None:
        self._injector = injector
        self._inner: Dealer = HonestDealer() if inner is None else inner
        self._specs = specs
        self._only = only
        self._storm: list[Refused] = []
        self.relevelled: set[str] = set()
        """The comments of the changes of levels that were kept otherwise than asked."""

    def answer(self, request: Request, quote: Quote | None) -> Fill:
        """Return what becomes of a request that passed the checks."""
        fill = self._inner.answer(request, quote)
        if not self._only(request):
            return fill
        for fault in self._injector.draw(ORDER_SEND, sent_kind(request), dealer=True):
            match fault:
                case Refused():
                    self._storm += [fault] * fault.calls
                case PartFill() | Slipped() | Restamped() | Dripped() | Relevelled():
                    fill = self._changed(fill, fault, request, quote)
                case _:
                    continue
        if self._storm:
            refused = self._storm.pop(0)
            self._injector.count(refused)
            return replace(fill, retcode=refused.code)
        return fill

    def calm(self) -> None:
        """End a storm that is still going on."""
        self._storm.clear()

    def _changed(self, fill: Fill, fault: DealerFault, request: Request, quote: Quote | None) -> Fill:
        match fault:
            case PartFill():
                volume = self._part(request, fault.share)
                if volume is None:
                    return fill
                changed = replace(fill, volume=volume, says=fault.says)
            case Slipped() if quote is not None:
                side, spec = SIDE_OF_TYPE[request.type], self._specs[request.symbol]
                worse = quote.opening(side) + side * fault.points * spec.point
                changed = replace(fill, price=round(worse, spec.digits))
            case Dripped():
                first = 0 if fault.at_once else fault.every_ms
                shares = tuple((first + place * fault.every_ms, 1.0 / fault.parts) for place in range(fault.parts))
                changed = replace(fill, parts=shares, comment=fault.comment or fill.comment)
            case Relevelled():
                if request.sl == 0 or (fault.drops_target and request.tp == 0):
                    return fill
                self.relevelled.add(request.comment)
                changed = replace(fill, stop_ticks=fault.stop_ticks, drops_target=fault.drops_target)
            case Restamped():
                changed = replace(fill, comment=fault.comment, magic=fault.magic)
            case _:
                return fill
        self._injector.count(fault)
        return changed

    def _part(self, request: Request, share: float) -> float | None:
        """Return a tradable part of the volume; None where there is none."""
        step = Decimal(repr(self._specs[request.symbol].volume_step))
        steps = (Decimal(repr(request.volume)) * Decimal(repr(share)) / step).to_integral_value(ROUND_FLOOR)
        volume = float(steps * step)
        return volume if 0 < volume < request.volume else None
