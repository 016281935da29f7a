"""When a terminal fails: a frozen plan of scripted and of random faults, and the injector that carries one out.

The same plan over the same calls makes the same faults. Each random fault draws from a stream of its own, so that a plan
without one of them (`without`) keeps the others where they were as long as the calls are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from dtms.errors import SettingsError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.fault_kinds import (
    Answer,
    DealerFault,
    Dripped,
    Empty,
    Fault,
    Late,
    PartFill,
    Previous,
    Relevelled,
    Restamped,
    Slipped,
)
from dtms_lab.terminal.records import Request

ORDER_SEND: Final = "order_send"
OPEN_LINK: Final = "open"
"""The word for connecting, which is no call of the terminal."""
READS: Final = "reads"
"""Any call that asks for something and changes nothing."""
ANY: Final = "any"

_NO_READS = frozenset({ORDER_SEND, "order_check", OPEN_LINK, "initialize", "login"})
_LISTS = frozenset({"positions_get", "orders_get", "history_deals", "history_orders", "symbols_get"})


class Sent(StrEnum):
    """What a request is about, as the pipe sees it."""

    OPEN = "open"
    CLOSE = "close"
    """A deal against a position: the whole of it or a part."""
    CLOSE_BY = "close_by"
    LEVELS = "levels"
    """A change of stop and target."""
    PENDING = "pending"
    """Whatever is about a pending order."""


def sent_kind(request: Request) -> Sent:
    """Return what a request is about."""
    match request.action:
        case Mt5.TRADE_ACTION_DEAL:
            return Sent.CLOSE if request.position else Sent.OPEN
        case Mt5.TRADE_ACTION_CLOSE_BY:
            return Sent.CLOSE_BY
        case Mt5.TRADE_ACTION_SLTP:
            return Sent.LEVELS
        case _:
            return Sent.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """A fault at the `nth` call that it can act on, and at the `times` - 1 ones after that.

    `op` is the terminal's word for a call, or `READS`, or `ANY`; `sent` narrows orders down. A fault of the dealer counts
    the orders that passed the server's checks, the others count calls.
    """

    fault: Fault
    op: str = ORDER_SEND
    sent: Sent | None = None
    nth: int = 1
    times: int = 1

    def __post_init__(self) -> None:
        if self.nth < 1 or self.times < 1:
            msg = f"scripted fault {self.fault.name}: nth {self.nth} and times {self.times} count from 1"
            raise SettingsError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A fault at a share of the calls that it can act on; `rate` from 0 to 1."""

    fault: Fault
    rate: float
    op: str = ORDER_SEND
    sent: Sent | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            msg = f"random fault {self.fault.name}: rate {self.rate!r} is no share; give 0 to 1"
            raise SettingsError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Which faults, how often, and by which seed. An empty plan changes nothing at all."""

    seed: int = 0
    scripted: tuple[Scripted, ...] = ()
    chances: tuple[Chance, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the faults in it, each once, in the plan's order."""
        scripted = [entry.fault.name for entry in self.scripted]
        return tuple(dict.fromkeys([*scripted, *(entry.fault.name for entry in self.chances)]))

    def without(self, name: str) -> FaultPlan:
        """Return the plan without the faults of a name: what a shrinker tries."""
        return replace(
            self,
            scripted=tuple(entry for entry in self.scripted if entry.fault.name != name),
            chances=tuple(entry for entry in self.chances if entry.fault.name != name),
        )


@dataclass(frozen=True, slots=True)
class _Entries:
    """What of a plan can act on one kind of call: scripted faults by their place, random ones with their stream."""

    scripted: list[tuple[int, Scripted]]
    chances: list[tuple[Callable[[], float], float, Fault]]


class Injector:
    """One run of a plan, shared by the faulty link and the faulty dealer of one terminal.

    `counts` says how often each fault was really injected, by name.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self.counts: Counter[str] = Counter()
        self.begin(plan)

    def begin(self, plan: FaultPlan) -> None:
        """Follow a plan from its first call on, in place of the present one; the counts go on."""
        self.plan = plan
        self._healed = False
        self._calls = [0] * len(plan.scripted)
        self._streams = [
            Random(f"{plan.seed} {chance.fault!r} {chance.op} {chance.sent}")  # noqa: S311 - seeded faults, no secret
            for chance in plan.chances
        ]
        self._of: dict[tuple[str, Sent | None, bool], _Entries] = {}

    def draw(self, op: str, sent: Sent | None, *, dealer: bool = False) -> Sequence[Fault]:
        """Return the faults of one call, scripted ones first."""
        if self._healed:
            return ()
        of = self._of.get((op, sent, dealer))
        if of is None:
            of = self._of[op, sent, dealer] = self._entries(op, sent, dealer=dealer)
        drawn: list[Fault] = []
        for place, entry in of.scripted:
            self._calls[place] += 1
            if entry.nth <= self._calls[place] < entry.nth + entry.times:
                drawn.append(entry.fault)
        for share, rate, fault in of.chances:
            if share() < rate:
                drawn.append(fault)
        return drawn

    def _entries(self, op: str, sent: Sent | None, *, dealer: bool) -> _Entries:
        plan = self.plan
        return _Entries(
            [(place, entry) for place, entry in enumerate(plan.scripted) if _meant(entry, op, sent, dealer=dealer)],
            [
                (stream.random, chance.rate, chance.fault)
                for chance, stream in zip(plan.chances, self._streams, strict=True)
                if _meant(chance, op, sent, dealer=dealer)
            ],
        )

    def count(self, fault: Fault) -> None:
        """Count a fault that was injected."""
        self.counts[fault.name] += 1

    def heal(self) -> None:
        """Inject nothing any more."""
        self._healed = True


def _meant(entry: Scripted | Chance, op: str, sent: Sent | None, *, dealer: bool) -> bool:
    fault = entry.fault
    if isinstance(fault, DealerFault) is not dealer or entry.sent not in (None, sent):
        return False
    if entry.op not in (op, ANY) and not (entry.op == READS and op not in _NO_READS):
        return False
    match fault:
        case Late() | Previous() | Answer():
            return op == ORDER_SEND
        case Empty():
            return op in _LISTS
        case Relevelled():
            return sent is Sent.LEVELS
        case PartFill() | Slipped() | Dripped():
            return sent in (Sent.OPEN, Sent.CLOSE)
        case Restamped():
            return sent in (Sent.OPEN, Sent.CLOSE, Sent.CLOSE_BY)
        case _:
            return True
