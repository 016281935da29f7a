"""Exits that the arbiter goes on denying: a person is called once it has lasted, then once a day. Nothing has left then.

A younger position on a FIFO account is the usual case: its exit waits for somebody to close the older one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dtms.app.gateway.refusals import LONG
from dtms.domain.action import Close, Reduce, kind_of
from dtms.domain.trade import Trade
from dtms.domain.units import DAY, HOUR, Millis, TradeId
from dtms.domain.verdict import Refusal
from dtms.ports.notifier import AlertKind, Notifier

_RUN_ENDS: Final = 2 * HOUR
"""A denial so long after the last one begins a new run."""


@dataclass(slots=True)
class _Run:
    times: int
    last: Millis
    told: Millis | None


@dataclass(slots=True, kw_only=True)
class Denials:
    """What one process was denied; a restart counts anew, so it may call once more."""

    notifier: Notifier
    _runs: dict[tuple[TradeId, str], _Run] = field(default_factory=dict)

    def denied(self, trade: Trade, refusal: Refusal, now: Millis) -> None:
        """Take note of a denied close or reduction; a mode has its own alarm, a stop waits for another price."""
        if refusal.rule == "mode" or not isinstance(refusal.action, (Close, Reduce)):
            return
        key = (trade.trade_id, refusal.rule)
        run = self._runs.get(key)
        if run is None or now - run.last >= _RUN_ENDS:
            self._forget(now)
            run = self._runs[key] = _Run(0, now, None)
        run.times += 1
        run.last = now
        if run.times < LONG or (run.told is not None and now - run.told < DAY):
            return
        run.told = now
        detail = f"{kind_of(refusal.action)} by its exit rules cannot be done now: {refusal.reason}"
        self.notifier.alert(AlertKind.PARKED, trade.trade_id, f"{detail}; it is asked for on each bar")

    def _forget(self, now: Millis) -> None:
        self._runs = {key: run for key, run in self._runs.items() if now - run.last < _RUN_ENDS}
