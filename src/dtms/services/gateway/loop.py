"""The thread around the gateway's pass, and what the service says of its own health."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from dtms.app.gateway.cycle import GatewayPass
from dtms.errors import DtmsError
from dtms.services.web.health import ReadyReport, causes_words, ledger_word, progress_word

BEAT_LIMIT_NS: Final = 3_000_000_000

_log = structlog.get_logger("dtms.gateway")


class ExecutorLoop:
    """Runs the gateway's pass in a thread of its own, until `stop` or until another gateway takes its place.

    Args:
        work: The pass.
        pause: Waits so many seconds or until `stop`; replaced in tests.
    """

    def __init__(self, work: GatewayPass, *, pause: Callable[[float], object] | None = None) -> None:
        self.work = work
        self._ending = threading.Event()
        self._pause = self._ending.wait if pause is None else pause
        self._thread: threading.Thread | None = None
        self._passes = 0

    @property
    def progress(self) -> tuple[int, int]:
        """Return what differs whenever anything was done, or came to nothing, since it was asked last."""
        return self._passes, self.work.executor.worked

    def start(self) -> None:
        """Begin, in a thread: recovery first."""
        self._thread = threading.Thread(target=self.run, name="dtms-executor", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 15.0) -> bool:
        """End after the send under way; say whether it did in time."""
        self.work.ending = True
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def run(self) -> None:
        """Recover, then carry out until the end."""
        while not self.work.ending:
            self.work.run()
            self._passes += 1
            self._pause(self.work.pause_s)

    def report(self, broker: Callable[[], object]) -> ReadyReport:
        """Return whether the gateway can do its work; blocks for the broker's answer."""
        work = self.work
        executor, lease = work.executor, work.lease
        beats = work.beat_ns > 0 and work.clock.boot_ns() - work.beat_ns < BEAT_LIMIT_NS
        told = executor.modes.told()
        states = {
            "ledger": ledger_word(told, readable=_answers(work.ledger.revision)),
            "lease": "ok" if lease is None or lease.may_send() else "waiting",
            "recovery": "ok" if work.recovered else "recovering",
            "broker": "ok" if _answers(broker) else "unavailable",
            "executor": "ok" if beats else "stalled",
            "progress": progress_word(told),
        }
        gate = executor.gate
        details = {
            "sent": executor.sent,
            "sent_today": gate.limits.today,
            "breaker": gate.breaker.state.value,
            "account": gate.guard.wrong or "ok",
        }
        ready = all(state == "ok" for state in states.values())
        return ReadyReport(ready=ready, dependencies=states, causes=causes_words(told), details=details)


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except DtmsError as error:
        _log.warning("not ready", error=repr(error))
        return False
    return True
