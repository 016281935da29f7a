"""The main API's work beside its answers: the exit cycle, closing by the kill switch, registrations that wait, a look at
the broker and at the DTMS server. Each runs in a thread of its own, so that none waits for another's silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

import structlog

from dtms.app.exits.cycle import ExitPass
from dtms.app.market.market_data import MarketData
from dtms.app.views.trade_cache import KILL_FACT
from dtms.client import Identity, ServerIdentity, StateCache
from dtms.errors import BrokerError, DtmsError, LedgerError, MarketDataError
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier
from dtms.services.server.sight import LastSeenReads
from dtms.services.web.health import ReadyReport, causes_words, ledger_word, progress_word

CYCLE_NS: Final = 5_000_000_000
QUOTE_CYCLE_NS: Final = 1_000_000_000
"""On new quotes a cycle runs at most once a second, whatever the number of symbols."""

LOOK_S: Final = 0.25
BEAT_LIMIT_NS: Final = 15_000_000_000
"""A cycle of 5 s, the 4.5 s that a silent DTMS server may cost it, and as much again."""

SEEN_LIMIT_NS: Final = 5_000_000_000
OUTAGE_NS: Final = 10_000_000_000
"""So long the cached states hold; a longer outage is told."""

_LONGEST_PAUSE_S: Final = 5.0

_log = structlog.get_logger("dtms.api")


class Periodic:
    """Runs one piece of work again and again in a thread; a failure is recorded, told, and tried again later.

    Args:
        name: Names the thread and the alarm.
        work: Blocks as long as it needs.
        every_s: The pause between two runs.
        notifier: Called when the ledger fails or we do.
        pause: Waits so many seconds, less when woken; replaced in tests.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        *,
        every_s: float,
        notifier: Notifier,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.name = name
        self._work = work
        self._every_s = every_s
        self._notifier = notifier
        self._ending = threading.Event()
        self._pause = self._ending.wait if pause is None else pause
        self._thread: threading.Thread | None = None
        self.failures = 0
        self.runs = 0

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self.run, name=f"dtms-{self.name}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End after the run under way; say whether it did in time."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def run(self) -> None:
        """Run until `stop`."""
        while not self._ending.is_set():
            self.step()
            if not self._ending.is_set():
                self._pause(min(max(self._every_s, _LONGEST_PAUSE_S), self._every_s * 2 ** min(self.failures, 10)))

    def step(self) -> None:
        """Run once."""
        self.runs += 1
        try:
            self._work()
        except BrokerError as error:
            self._failed(error)  # the gateway's own supervisor calls for it; here it is only counted
        except DtmsError as error:
            self._failed(error)
            kind = "the ledger fails" if isinstance(error, LedgerError) else type(error).__name__
            self._notifier.alert(AlertKind.HALT, f"dtms-api {self.name}", f"{kind}: {error}; it is tried again")
        except Exception as error:  # noqa: BLE001 - the supervisor's loop: a thread that dies silently does nothing for ever
            self._failed(error)
            detail = f"an error of our own ({type(error).__name__}); see the log; it is tried again"
            self._notifier.alert(AlertKind.HALT, f"dtms-api {self.name}", detail)
        else:
            self.failures = 0

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        known = isinstance(error, DtmsError)
        _log.error("work failed", work=self.name, failures=self.failures, error=repr(error), exc_info=not known)


class ExitPace:
    """Decides when the exit manager's cycle runs: each 5 s, and on new quotes at most once a second.

    `lock` guards the desk, which openings use too.
    """

    def __init__(
        self,
        work: ExitPass[StateCache],
        desk: MarketData,
        clock: Clock,
        lock: AbstractContextManager[object],
    ) -> None:
        self._work = work
        self._desk = desk
        self._clock = clock
        self._lock = lock
        self._ran_ns: int | None = None
        self._moved = False

    def step(self) -> bool:
        """Look for new quotes and run the cycle where it is due; say whether it ran.

        Raises:
            DtmsError: What the cycle failed on, or the quotes that could not be read; the cycle is tried in its time
                all the same.
        """
        now_ns = self._clock.boot_ns()
        if self._ran_ns is None or now_ns - self._ran_ns >= CYCLE_NS:
            return self._cycle(now_ns)
        if self._work.manager.watches:
            with self._lock:
                self._moved = self._any_moved() or self._moved
        if self._moved and now_ns - self._ran_ns >= QUOTE_CYCLE_NS:
            return self._cycle(now_ns)
        return False

    def _cycle(self, now_ns: int) -> bool:
        self._ran_ns, self._moved = now_ns, False
        with self._lock:
            error = self._work.run()
        if error is not None:
            raise error
        return True

    def _any_moved(self) -> bool:
        """Offer each symbol's newest quote to its feed; say whether any was accepted."""
        now = self._clock.market_now()
        moved = False
        for symbol in self._desk.symbols():
            try:
                moved = self._desk.quote(symbol, now) is not None or moved
            except MarketDataError:
                continue  # the feed has counted it; the others are looked at all the same
        return moved


class Probed(Protocol):
    """The client's own view of the DTMS server."""

    @property
    def outage(self) -> str | None:
        """Return why the present outage began."""
        ...

    def check_service(self) -> ServerIdentity:
        """Ask the service for its name."""
        ...


class DtmsWatch:
    """Knows how the DTMS server was met last, and tells of an outage that lasts."""

    def __init__(
        self, client: Probed, clock: Clock, notifier: Notifier, *, relied_on: Callable[[], bool] = lambda: True
    ) -> None:
        self._client = client
        self._clock = clock
        self._notifier = notifier
        self._relied_on = relied_on
        self._failing_since: int | None = None
        self.word = "unknown"

    def step(self) -> None:
        """Ask the server for its name, at most 2 s."""
        found = self._client.check_service()
        self.word = {
            Identity.OURS: "ok",
            Identity.FOREIGN: "foreign",
            Identity.UNKNOWN: "unreachable",
        }[found.identity]
        # A server that names itself but answers no question is out too, as long as somebody asks.
        outage = self._client.outage if self._relied_on() else None
        reason = found.detail if found.identity is not Identity.OURS else outage
        now_ns = self._clock.boot_ns()
        if reason is None:
            self._failing_since = None
            return
        if self._failing_since is None:
            self._failing_since = now_ns
        if now_ns - self._failing_since >= OUTAGE_NS:
            detail = f"no usable answer for {(now_ns - self._failing_since) // 1_000_000_000} s: {reason}"
            self._notifier.alert(AlertKind.DTMS_UNREACHABLE, "dtms-server", detail)


class ApiReadiness:
    """Whether the main API can do its work. The DTMS server is told of, and does not count: exits go on without it."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        work: ExitPass[StateCache],
        seen: LastSeenReads,
        clock: Clock,
        dtms: Callable[[], str],
        advisory: bool,
    ) -> None:
        self._ledger = ledger
        self._manager = work.manager
        self._seen = seen
        self._clock = clock
        self._dtms = dtms
        self._advisory = advisory

    def report(self) -> ReadyReport:
        """Return the state of each dependency; blocks for the ledger's."""
        now_ns = self._clock.boot_ns()
        beat_ns, answered_ns = self._manager.beat_ns, self._seen.answered_ns
        active, level = self._ledger_facts()
        told = self._manager.modes.told()
        needed = {
            "ledger": ledger_word(told, readable=active is not None),
            "gateway": _word(answered_ns is not None and now_ns - answered_ns < SEEN_LIMIT_NS, "unreachable"),
            "exits": _word(beat_ns > 0 and now_ns - beat_ns < BEAT_LIMIT_NS, "stalled"),
            "progress": progress_word(told),
        }
        dtms = self._dtms()
        return ReadyReport(
            ready=all(word == "ok" for word in needed.values()),
            dependencies={**needed, "dtms": dtms},
            causes=causes_words(told),
            details={
                "dtms_reachable": dtms == "ok",
                "active_trades": active,
                "kill_switch": level,
                "advisory": self._advisory,
                "heartbeat_age_s": (now_ns - beat_ns) / 1e9 if beat_ns > 0 else None,
            },
        )

    def _ledger_facts(self) -> tuple[int | None, str | None]:
        try:
            with self._ledger.read() as tx:
                return len(tx.open_trades()), tx.fact(KILL_FACT)
        except LedgerError as error:
            _log.warning("readiness: the ledger does not answer", error=repr(error))
            return None, None


def look_at_broker(seen: LastSeenReads) -> None:
    """Read the positions, for what is shown of them.

    Raises:
        BrokerError: They could not be read.
    """
    seen.positions()
    seen.fetch_wanted()


def _word(good: bool, bad: str) -> str:  # noqa: FBT001 - reads as a sentence where it is used
    return "ok" if good else bad
