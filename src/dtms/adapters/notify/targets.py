"""Delivering alerts: queued, said once in a quiet time, never in the way of a decision."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from dtms.errors import NotifyError, SettingsError
from dtms.ports.notifier import AlertKind

_QUIET_NS = 300 * 1_000_000_000
"""The same kind and subject is told again after five minutes at the earliest."""
_QUEUE = 1_000
_NEVER_QUIET = frozenset({AlertKind.MODE})
"""Changes of the mode come once each: held back, a second DEGRADED would leave an all-clear as the last word."""

_TALKATIVE = ("apprise", "urllib3")
"""Loggers that repeat an address as it is, with the secret in it: Apprise one that it does not understand, urllib3 the path of
one that does not answer. What went wrong is told by our own error."""

_LOG = structlog.get_logger("dtms.alerts")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert."""

    kind: AlertKind
    subject: str
    detail: str

    @property
    def title(self) -> str:
        """Return the line that a phone shows."""
        return f"dtms: {self.kind.value.replace('_', ' ')}: {self.subject}"


class Target(Protocol):
    """Where an alert is delivered."""

    def deliver(self, alert: Alert) -> None:
        """Deliver; raises `NotifyError` where it could not."""
        ...


class LogTarget:
    """Alerts as log lines; always there."""

    def deliver(self, alert: Alert) -> None:
        """Write a warning."""
        _LOG.warning("alert", kind=alert.kind.value, subject=alert.subject, detail=alert.detail)


@dataclass(slots=True)
class AppriseTarget:
    """Alerts through Apprise, which knows more than a hundred services by one URL."""

    apprise: Any

    def deliver(self, alert: Alert) -> None:
        """Send one notification."""
        try:
            done = self.apprise.notify(title=alert.title, body=alert.detail)
        except Exception as error:  # noqa: BLE001 - a hundred vendors' code: one that raises must not end all alerts
            # Its text may hold the URL, and that the secret.
            msg = f"the alert target failed on {alert.title!r} with {type(error).__name__}; check alerts.url"
            raise NotifyError(msg) from None
        if not done:
            raise NotifyError(f"the alert target refused {alert.title!r}; check alerts.url")


def apprise_target(url: str) -> AppriseTarget:
    """Return the target of an Apprise URL.

    Raises:
        SettingsError: Apprise does not understand the URL; it is not repeated here, for it may hold a secret.
    """
    import apprise

    for vendor in _TALKATIVE:
        logging.getLogger(vendor).setLevel(logging.CRITICAL + 1)
    target = apprise.Apprise()
    if not target.add(url):
        raise SettingsError("alerts.url is no URL that Apprise understands; see its documentation for your service")
    return AppriseTarget(target)


class QueueNotifier:
    """Delivers in a thread of its own; what cannot be delivered is logged and counted."""

    def __init__(self, targets: tuple[Target, ...], *, now_ns: Callable[[], int]) -> None:
        self._targets = targets
        self._now_ns = now_ns
        self._told: dict[tuple[AlertKind, str], int] = {}
        self._queue: queue.Queue[Alert | None] = queue.Queue(_QUEUE)
        self._lock = threading.Lock()
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def alert(self, kind: AlertKind, subject: str, detail: str) -> None:
        """Queue one alert unless it was told a short while ago; a full queue drops it and counts that."""
        now = self._now_ns()
        with self._lock:
            last = self._told.get((kind, subject))
            if last is not None and now - last < _QUIET_NS and kind not in _NEVER_QUIET:
                return
            self._told[kind, subject] = now
        try:
            self._queue.put_nowait(Alert(kind, subject, detail))
        except queue.Full:
            self.failed += 1

    def close(self) -> None:
        """Deliver what is queued, then end."""
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (alert := self._queue.get()) is not None:
            for target in self._targets:
                try:
                    target.deliver(alert)
                except NotifyError as error:
                    self.failed += 1
                    _LOG.error("alert not delivered", reason=str(error))


@dataclass(slots=True)
class MemoryNotifier:
    """Keeps every alert, for tests and the simulation."""

    alerts: list[Alert] = field(default_factory=list)

    def alert(self, kind: AlertKind, subject: str, detail: str) -> None:
        """Keep it."""
        self.alerts.append(Alert(kind, subject, detail))
