"""A process's place on its ledger, kept while it lives, and the gateway's lease with it."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from dtms.adapters.sql import SqlLedger
from dtms.app.gateway.lease import LeaseHolder, LeaseTerms
from dtms.errors import LedgerError, SettingsError
from dtms.platforms.processes import end_this_process
from dtms.ports.clock import Clock
from dtms.ports.lease import FencedError
from dtms.ports.notifier import AlertKind, Notifier
from dtms.private_files import read_start, write_once
from dtms.settings import Settings

OWNER_FILE: Final = "owner"
PLACE_BEAT_S: Final = 1.0
_WORD_MOST: Final = 64

_log = structlog.get_logger("dtms.leasing")


def owner_of(settings: Settings) -> str:
    """Return the word by which this installation is known: its host, and a random word that its data folder keeps.

    A restart has the same word and need not wait for its own lease; another folder or host has another.

    Raises:
        SettingsError: The data folder cannot be written or read.
    """
    path = settings.data_dir / OWNER_FILE
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_once(path, secrets.token_hex(8).encode())
        word = read_start(path, _WORD_MOST).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"{path} cannot be written or read ({error}); make the data folder writable or set DTMS_DATA_DIR to another"
        )
        raise SettingsError(msg) from error
    return f"{socket.gethostname()[:24]}/{word}"


class Heartbeat:
    """Shows each second that this process lives; where its place is another's, ends it as SIGTERM would.

    Args:
        beat: `Place.ensure` or `LeaseHolder.beat`.
        release: `Place.release` or `LeaseHolder.release`.
        role: Named in the log and the alert.
        notifier: Told when the place is lost.
        every_s: Seconds between two beats.
    """

    def __init__(
        self,
        beat: Callable[[], object],
        release: Callable[[], object],
        *,
        role: str,
        notifier: Notifier,
        every_s: float = PLACE_BEAT_S,
    ) -> None:
        self._beat = beat
        self._release = release
        self._role = role
        self._notifier = notifier
        self._every_s = every_s
        self._ending = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=f"dtms-{role}-place", daemon=True)
        self.fenced: FencedError | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def end(self) -> None:
        """End, and let the next process in; a ledger that is gone cannot be told, what we held runs out by itself."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        with suppress(LedgerError):
            self._release()

    def fence(self, error: FencedError) -> None:
        """End this process: another has its place."""
        if self.fenced is not None:
            return
        self.fenced = error
        _log.error("fenced", role=self._role, error=str(error))
        self._notifier.alert(AlertKind.HALT, f"dtms-{self._role} fenced", f"{error}; stops at the broker hold")
        end_this_process()

    def require_place(self) -> None:
        """Raise what ended this process, so that its exit code says so; nothing where it ended by itself."""
        if self.fenced is not None:
            raise self.fenced

    def step(self) -> None:
        """Beat once; a ledger that cannot be asked is logged once and asked again."""
        try:
            self._beat()
        except FencedError as error:
            self.fence(error)
        except LedgerError as error:
            if not self._failed:
                _log.warning("no beat", role=self._role, error=str(error))
            self._failed = True
        else:
            self._failed = False

    def _run(self) -> None:
        while not self._ending.wait(self._every_s) and self.fenced is None:
            self.step()


def keep_place(settings: Settings, ledger: SqlLedger, role: str, notifier: Notifier) -> Heartbeat:
    """Take a role's place on the ledger; the keeper is not yet started.

    Raises:
        SettingsError: Another living process has the place.
        LedgerUnavailableError: The ledger cannot be asked.
    """
    place = ledger.leases.place(role, owner_of(settings))
    return Heartbeat(place.ensure, place.release, role=role, notifier=notifier)


def keep_gateway(
    settings: Settings, ledger: SqlLedger, clock: Clock, notifier: Notifier, *, settle_s: float
) -> tuple[Heartbeat, LeaseHolder | None]:
    """Take the gateway's place, and prepare its lease: None on a ledger of one host, where the lock file is all it takes.

    Raises:
        SettingsError: Another living gateway has the place, or the lease is shorter than a send.
        LedgerUnavailableError: The ledger cannot be asked.
    """
    if not ledger.spans_hosts:
        return keep_place(settings, ledger, "gateway", notifier), None
    terms = LeaseTerms(ttl_s=settings.lease_s, longest_send_s=settings.send_limit_s, settle_s=settle_s)
    owner = owner_of(settings)
    place = ledger.leases.place("gateway", owner)
    holder = LeaseHolder(ledger.leases, owner=owner, terms=terms, now_ns=clock.boot_ns, place=place)
    keeper = Heartbeat(holder.beat, holder.release, role="gateway", notifier=notifier, every_s=terms.beat_s)
    return keeper, holder
