"""The system as a whole, in numbers: for /dtms/status and /metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dtms.app.views.trade_cache import LedgerView
from dtms.core.modes import Standing, shown_mode, worst
from dtms.domain.modes import Mode
from dtms.domain.records import EventKind
from dtms.domain.trade import TradeState
from dtms.domain.units import Millis
from dtms.domain.verdict import KillLevel
from dtms.ports.ledger import Ledger

_PAGE: Final = 1_000


class _ActionTold(msgspec.Struct, frozen=True):
    """The part of an action event that is counted."""

    kind: str
    state: str


_ACTION: Final = msgspec.json.Decoder(_ActionTold)


class ActionCounts:
    """Counts the ended actions of all services since this one started, by following the ledger's events."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        with ledger.read() as tx:
            self._seen = tx.last_event()
        self._revision = -1

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many actions ended, by kind and state. Blocks."""
        with self._lock:
            revision = self._ledger.revision()
            if revision != self._revision:
                self._follow()
                self._revision = revision
            return dict(self._counts)

    def _follow(self) -> None:
        with self._ledger.read() as tx:
            while events := tx.events_since(self._seen, _PAGE):
                self._seen = events[-1].seq
                for event in events:
                    if event.kind is EventKind.ACTION:
                        told = _ACTION.decode(event.body)
                        self._counts[told.kind, told.state] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """One look at the whole system; counters are since the process started."""

    page: LedgerView
    present: Standing
    by_state: dict[TradeState, int]
    actions: dict[tuple[str, str], int]
    passes: int
    decisions: int
    transitions: int
    refusals: int
    errors: int
    last_check: Millis | None
    heartbeat_age_s: float | None
    uptime_s: float
    ready: bool


def mode_shown(mode: Mode, level: KillLevel | None, *, ready: bool) -> Mode:
    """Return the mode as people are shown it: the causes', the kill switch's, and DEGRADED where this service is not ready."""
    mode = shown_mode(mode, level)
    return mode if ready else worst((mode, Mode.DEGRADED))


class SystemCollector(Collector):
    """Shows the last look as metrics; the look itself is taken before, off the event loop."""

    def __init__(self) -> None:
        self._numbers: Numbers | None = None

    def show(self, numbers: Numbers, now: Millis) -> None:
        """Take what the next scrape shows."""
        self._numbers = numbers
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are known only with a look."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the last look."""
        numbers = self._numbers
        if numbers is None:
            return
        trades = GaugeMetricFamily("dtms_trades", "Managed trades by state.", labels=("state",))
        for state, count in numbers.by_state.items():
            trades.add_metric((state.value,), count)
        yield trades
        yield GaugeMetricFamily("dtms_ready", "Whether the service can do its work.", value=float(numbers.ready))
        if numbers.heartbeat_age_s is not None:
            help_text = "Age of the monitor's last whole pass."
            yield GaugeMetricFamily("dtms_heartbeat_age_seconds", help_text, value=numbers.heartbeat_age_s)
        for name in ("passes", "decisions", "transitions", "refusals", "errors"):
            value = getattr(numbers, name)
            yield CounterMetricFamily(f"dtms_monitor_{name}", f"The monitor's {name} since its start.", value=value)
        yield self._actions(numbers)
        yield self._unfinished(numbers)
        yield self._naked(numbers)
        yield from self._modes(numbers)

    @staticmethod
    def _actions(numbers: Numbers) -> Metric:
        family = CounterMetricFamily("dtms_actions", "Ended actions since the start.", labels=("kind", "state"))
        for labels, count in sorted(numbers.actions.items()):
            family.add_metric(labels, count)
        return family

    @staticmethod
    def _unfinished(numbers: Numbers) -> Metric:
        family = GaugeMetricFamily("dtms_unfinished_intents", "Intents without an end.", labels=("state",))
        for state, count in sorted(Counter(intent.state.value for intent in numbers.page.unfinished).items()):
            family.add_metric((state,), count)
        return family

    @staticmethod
    def _modes(numbers: Numbers) -> Iterator[Metric]:
        shown = mode_shown(numbers.present.mode, numbers.page.kill, ready=numbers.ready)
        family = GaugeMetricFamily("dtms_mode", "1 for the mode that the system is in.", labels=("mode",))
        for mode in Mode:
            family.add_metric((mode.value,), float(mode is shown))
        yield family
        causes = GaugeMetricFamily(
            "dtms_mode_cause",
            "1 for a cause that holds, 0 for one that waits for a reconcile.",
            labels=("cause", "role"),
        )
        for told in numbers.present.causes:
            causes.add_metric((told.cause.value, told.role), float(told.ended is None))
        yield causes

    def _naked(self, numbers: Numbers) -> Metric:
        """Show each trade that was ever without a stop; the others would be ten thousand zeros."""
        family = GaugeMetricFamily(
            "dtms_trade_naked_ms", "Time without a stop at the broker, of trades that had such.", labels=("ticket",)
        )
        for trade in numbers.page.trades:
            since = trade.naked_since
            total = trade.naked_ms + (0 if since is None else max(0, self._now - since))
            if total > 0:
                family.add_metric((str(trade.ticket),), total)
        return family
