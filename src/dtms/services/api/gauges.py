"""What the main API adds to its metrics: kill switch, breaker, what waits, trades by state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dtms.domain.trade import TradeState
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerError

if TYPE_CHECKING:
    from dtms.services.api.parts import ApiSite


class ApiGauges(Collector):
    """Reads the ledger when the metrics are asked for; while it cannot be read these metrics are absent, not zero."""

    def __init__(self, site: ApiSite) -> None:
        self._site = site

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as of now."""
        parts = self._site.parts
        breaker = GaugeMetricFamily("dtms_api_breaker_open", "Whether requests to the DTMS server are held back.")
        breaker.add_metric([], float(parts.link.breaker.is_open))
        try:
            with parts.ledger.read() as tx:
                trades, waiting = tx.open_trades(), tx.waiting()
            level = parts.kill.state().level
        except LedgerError:
            return [breaker]
        return [breaker, *_read(Counter(trade.state for trade in trades), len(waiting), level)]


def _read(states: Counter[TradeState], waiting: int, level: KillLevel | None) -> list[Metric]:
    by_state = GaugeMetricFamily("dtms_api_trades", "Managed trades by state.", labels=["state"])
    for state in TradeState:
        by_state.add_metric([state.value], float(states[state]))
    outbox = GaugeMetricFamily("dtms_api_outbox", "Registrations that wait.")
    outbox.add_metric([], float(waiting))
    kill = GaugeMetricFamily("dtms_api_kill_switch", "Whether the kill switch is at a level.", labels=["level"])
    for each in KillLevel:
        kill.add_metric([each.value], float(each is level))
    return [by_state, outbox, kill]
