"""Whether the ledger can be written, asked by each process for itself: also by one that has nothing to write just now.

Where it cannot, the cause counts in this process's memory, its ready and its mode at once; the ledger hears of it last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dtms.app.journal.mode_facts import Role
from dtms.domain.modes import Cause
from dtms.errors import LedgerUnavailableError, StaleWriteError
from dtms.ports.causes import Causes
from dtms.ports.clock import Clock
from dtms.ports.lease import FencedError
from dtms.ports.ledger import Ledger

PROBE_NS: Final = 15_000_000_000
_RETRY_NS: Final = 1_000_000_000


@dataclass(slots=True, kw_only=True)
class LedgerWatch:
    """Tells `Cause.LEDGER_DOWN` in one process; it ends where something was written, not where something was read."""

    ledger: Ledger
    causes: Causes
    clock: Clock
    role: Role
    failures: int = 0
    _looked_ns: int | None = None

    def failed(self, error: LedgerUnavailableError) -> None:
        """Take note of a failure; one that is over at the next try a second later is none."""
        if self.failures == 0:
            self._looked_ns = self.clock.boot_ns()
        self.failures += 1
        if self.failures > 1:
            self.causes.set(Cause.LEDGER_DOWN, str(error))

    def down(self, error: LedgerUnavailableError) -> None:
        """Take note of a failure that lets nothing be sent: it counts at once."""
        self.failures = max(1, self.failures)
        self.failed(error)

    def look(self) -> None:
        """Write something where that is due: now and then, and each second after a failure.

        Raises:
            FencedError: Another process has taken this one's place.
        """
        now_ns = self.clock.boot_ns()
        every_ns = PROBE_NS if self.failures == 0 else _RETRY_NS
        if self._looked_ns is not None and now_ns - self._looked_ns < every_ns:
            return
        self._looked_ns = now_ns
        try:
            with self.ledger.write() as tx:
                # A value that is new each time: a database writes nothing where nothing changes.
                tx.touch(f"written.{self.role}", str(now_ns))
        except StaleWriteError:
            return  # another writer was first: it can be written
        except FencedError:
            raise
        except LedgerUnavailableError as error:
            self.failed(error)
        else:
            self.failures = 0
            self.causes.clear(Cause.LEDGER_DOWN)
