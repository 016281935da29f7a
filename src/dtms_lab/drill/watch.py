"""The independent checker: what the broker really did, beside what the disk says was intended, after every step.

The laws are those of reliability.md section 11.1. Where each is checked:

* I1 exactly once: `law_orders` at each operation, `final` against the terminal states
* I2 nothing lost: `final`
* I3 write-ahead: `law_orders`, against what a power cut would leave (`disk`)
* I4 single writer: `law_orders`, by the epoch that stood at the gateway's door (`ways.Sender`)
* I5 protection: `law_orders` for what is opened, `law_time` for how long a stop may be missing and how wide it may be
* I6 ratchet: `law_orders` for stops, targets, reductions and what is added; `law_ledger` for exits beside the defence
* I7 hedge pairing: `law_orders` for volume and number, `law_time` for orphans, `final` for strays
* I8 bad input: `law_ledger` for the age of a price, `believes` here for what a process takes for a quote
* I9 foreign: `law_orders`
* I10 transitions, versions, deadlines: `law_ledger`, `law_time`
* I11 audit: `final`, the whole chain and each effect in it
* I12 limits: `law_time`; by trade and purpose `law_storm`
* I13 determinism: a seed run twice, and by one process or several (tests, and the trace hash of the report)
* I14 HTTP: `probes`, and each answer that the API gets (`world.answered`)
* I15 recovery: `final`, a crash and a recovery beside a stop and a start
* I16 progress: `law_progress`, at each pass, after each step, and in a stretch without faults
* I17 concluded as done: `law_concluded`, at the instant of each conclusion
* I18 no exits at pause: `law_ledger`, at each commit of the API
* I19 every fact: `law_orders`, the side and symbol of each main leg that is touched; `law_facts`, for how long another
  position may be taken for a trade

An error that no handler of the program expects is a finding too ("own error"), as is a law that the program itself finds
broken ("own invariant").
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from dtms.domain.market import Quote
from dtms.domain.policy.machine import MachinePolicy
from dtms.domain.units import SECOND, Millis
from dtms_lab.drill.law_concluded import ConclusionLaw
from dtms_lab.drill.law_facts import FactLaw
from dtms_lab.drill.law_ledger import LedgerLaws
from dtms_lab.drill.law_orders import OrderLaws
from dtms_lab.drill.law_storm import StormLaw
from dtms_lab.drill.law_time import TimeLaws
from dtms_lab.drill.record import Record
from dtms_lab.terminal.oracle import OracleEntry, OracleLog

_FRESH_MS: Final = 5 * SECOND
"""After a longer pause there is nothing to compare a tick with."""

Tick = tuple[str, int, float, float]
"""Symbol, instant, bid and ask."""


class WatchedOracle(OracleLog):
    """An oracle that tells of each operation at the instant at which it is applied."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Callable[[OracleEntry], None] = lambda _entry: None

    def record(self, **fields: Any) -> None:
        """Append one operation, and tell of it."""
        super().record(**fields)
        self.told(self._entries[-1])


@dataclass(slots=True, kw_only=True)
class Watch:
    """Checks one run.

    `able` says whether the system as a whole could have acted since the last step.
    """

    record: Record
    machine: MachinePolicy
    refusals_per_hour: int
    able: Callable[[], bool]
    orders: OrderLaws = field(init=False)
    conclusions: ConclusionLaw = field(init=False)
    ledger: LedgerLaws = field(init=False)
    time: TimeLaws = field(init=False)
    facts: FactLaw = field(init=False)
    storm: StormLaw = field(init=False)
    _checked_at: Millis | None = None
    _believed: dict[tuple[str, str], Quote] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.orders = OrderLaws(self.record)
        self.conclusions = ConclusionLaw(self.record)
        self.ledger = LedgerLaws(self.record)
        self.time = TimeLaws(self.record, self.machine)
        self.facts = FactLaw(self.record)
        self.storm = StormLaw(self.record, self.refusals_per_hour)

    @property
    def busy(self) -> bool:
        """Say whether something is under way that seconds matter for."""
        record = self.record
        under_way = any(trade.legs or trade.pending is not None for trade in record.open)
        return bool(record.unfinished) or self.time.pressing or under_way

    def on_entry(self, entry: OracleEntry) -> None:
        """Judge one operation at the broker at the instant at which it is applied."""
        self.orders.on_entry(entry)
        self.conclusions.on_entry(entry)

    def passes(self, who: str, place: str) -> None:
        """Judge what must hold at a place that a process passes, before anybody else has a turn."""
        if place == "gateway.concluded":
            self.conclusions.concluded()
        elif who == "api" and place == "ledger.begin":
            self.refresh()  # so that no two of its commits are seen as one: which came first would not be known

    def check(self) -> int:
        """Check what must hold after a step; return for how long the system as a whole could act in it, ms."""
        now = self.record.clock()
        elapsed = 0 if self._checked_at is None else now - self._checked_at
        self._checked_at = now
        self.refresh()
        able_ms = elapsed if self.able() else 0
        self.time.passed(able_ms)
        self.facts.passed(able_ms)
        self.storm.check()
        return able_ms

    def refresh(self) -> None:
        """Look at the disk, and check what was written."""
        if self.record.refresh():
            self.ledger.written()

    def believes(self, who: str, quote: Quote, spoilt: AbstractSet[Tick]) -> None:
        """I8: a tick that was spoilt on its way is not believed beside a fresh one, nor an older than the last."""
        last = self._believed.get((who, quote.symbol))
        if last == quote:
            return
        self._believed[who, quote.symbol] = quote
        self.record.accepted[who, quote.symbol] = (quote.at, self.record.clock())
        if last is None:
            return
        bad = (quote.symbol, quote.at, quote.bid, quote.ask) in spoilt
        if bad and quote.at - last.at <= _FRESH_MS:
            detail = f"{who} believed {quote.bid} of {quote.symbol} right after {last.bid}"
            self.record.report("I8 bad input", detail)
        if quote.at < last.at:
            self.record.report("I8 bad input", f"{who} believed a quote of {quote.symbol} older than the last one")

    def restarted(self, who: str) -> None:
        """Forget what a process believed: it has ended."""
        for key in [key for key in self.record.accepted if key[0] == who]:
            del self.record.accepted[key]
        self._believed = {key: quote for key, quote in self._believed.items() if key[0] != who}
