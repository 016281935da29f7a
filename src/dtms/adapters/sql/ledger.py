"""The ledger of one account over either database: transactions, epoch, revision."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from dtms.adapters.sql.audit import GENESIS, digest
from dtms.adapters.sql.backend import Backend, LeaseTime
from dtms.adapters.sql.executor import Executor
from dtms.adapters.sql.leases import SqlLeases
from dtms.adapters.sql.reading import Meta, ReadTransaction
from dtms.adapters.sql.schema import RESTORE
from dtms.adapters.sql.statements import EPOCH_RENEW, IDENTITY, META_LOCK
from dtms.adapters.sql.writing import WriteTransaction
from dtms.domain.units import Millis
from dtms.errors import InvariantError, LedgerError, LedgerUnavailableError
from dtms.ports.lease import FencedError


class SqlLedger:
    """Fulfils `dtms.ports.ledger.Ledger`; made by `open_ledger`. Safe to use from any number of threads."""

    def __init__(
        self, backend: Backend, *, account: str, clock: Callable[[], Millis], lease_time: LeaseTime | None = None
    ) -> None:
        self._backend = backend
        self._account = account
        self._clock = clock
        # What spans hosts has one clock, its own.
        self._lease_time = backend.lease_time if lease_time is None or backend.spans_hosts else lease_time
        self._fence: int | None = None
        self._leases = SqlLeases(backend, now=self._lease_time, fence=self._fence_at)
        self._thread = threading.local()
        self._closed = False
        with backend.reading() as executor:
            row = executor.one(IDENTITY)
        if row is None:
            msg = f"{backend.name} has lost its meta row; {RESTORE}"
            raise LedgerUnavailableError(msg)
        self._epoch = str(row[2])

    @property
    def epoch(self) -> str:
        """Return the word that is new at creation and at restore."""
        return self._epoch

    @property
    def spans_hosts(self) -> bool:
        """Say whether processes of several hosts can open it, so that a lock file is not enough; beyond the port."""
        return self._backend.spans_hosts

    @property
    def leases(self) -> SqlLeases:
        """Return the leases and places of this ledger; beyond the port."""
        return self._leases

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """Open a read transaction: one consistent view."""
        return _Reading(self._alone(), self._backend.reading, self._clock)

    @contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """Open a write transaction; it is on disk when the block has ended, and gone where the block raises.

        Raises:
            LedgerUnavailableError: Locked too long, disk full, server gone. Where the commit itself failed, it may have
                happened: read before doing anything again.
            StaleWriteError: A concurrent transaction won (PostgreSQL only); run the block again.
            FencedError: Another gateway has taken the lease that this ledger object took; end, and start anew.
        """
        with self._alone(), self._backend.writing() as executor:
            row = executor.one(META_LOCK)
            if row is None:
                msg = f"{self._backend.name} has lost its meta row; {RESTORE}"
                raise LedgerUnavailableError(msg)
            meta = Meta(*row)
            if self._fence is not None and meta.gateway_epoch > self._fence:
                msg = (
                    f"gateway epoch {self._fence} is over, epoch {meta.gateway_epoch} has taken its place; end this one"
                )
                raise FencedError(msg)
            transaction = WriteTransaction(executor, self._clock(), self._account, meta, self._lease_time)
            yield transaction
            transaction.finish()

    def revision(self) -> int:
        """Return a number that grows with every committed change of any process."""
        if self._closed:
            raise self._is_closed()
        return self._backend.revision()

    def renew_epoch(self, word: str) -> None:
        """Give the ledger a new epoch: after a restore, so that nobody compares versions across it; beyond the port."""
        with self._alone(), self._backend.writing() as executor:
            executor.change(EPOCH_RENEW, epoch=word)
        self._epoch = word

    def close(self) -> None:
        """Release connections and locks; closing twice is closing once."""
        if not self._closed:
            self._closed = True
            self._backend.close()

    def _fence_at(self, epoch: int) -> None:
        self._fence = epoch

    def _alone(self) -> _Alone:
        return _Alone(self._thread, self._may_begin)

    def _may_begin(self) -> None:
        # A transaction inside another would wait for its own thread, or read what the outer one has not committed.
        if self._closed:
            raise self._is_closed()
        if getattr(self._thread, "busy", False):
            msg = f"{self._backend.name}: this thread has a transaction open already; use that one"
            raise InvariantError(msg)

    def _is_closed(self) -> LedgerUnavailableError:
        return LedgerUnavailableError(f"{self._backend.name} was closed; open it again")


class _Alone:
    """The one transaction of its thread."""

    __slots__ = ("_check", "_thread")

    def __init__(self, thread: threading.local, check: Callable[[], None]) -> None:
        self._thread = thread
        self._check = check

    def __enter__(self) -> None:
        self._check()
        self._thread.busy = True

    def __exit__(self, *_: object) -> None:
        self._thread.busy = False


class _Reading:
    """One read transaction: a class and no generator, for a pass has dozens."""

    __slots__ = ("_alone", "_clock", "_opened", "_reading")

    def __init__(
        self, alone: _Alone, reading: Callable[[], AbstractContextManager[Executor]], clock: Callable[[], Millis]
    ) -> None:
        self._alone = alone
        self._reading = reading
        self._clock = clock

    def __enter__(self) -> ReadTransaction:
        self._alone.__enter__()
        try:
            now = self._clock()
            self._opened = self._reading()
            return ReadTransaction(self._opened.__enter__(), now)
        except BaseException:
            self._alone.__exit__()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._opened.__exit__(kind, error, trace)
        finally:
            self._alone.__exit__()


def verify_chain(ledger: SqlLedger, *, newest: int | None = None) -> int:
    """Check the links of the audit chain and that its end is where the ledger says; return the number of links.

    Args:
        ledger: Whose chain.
        newest: Only so many links from the end, each from the one before it; every link when None.

    Raises:
        LedgerError: A link was changed, removed or inserted; compare with a backup and find out who wrote.
    """
    previous, seq = GENESIS, 0
    with ledger.read() as view:
        if newest is not None and view.meta().audit_seq > newest:
            seq = view.meta().audit_seq - newest
            before = view.audit(after=seq - 1, limit=1)
            previous = before[0].digest if before and before[0].seq == seq else GENESIS  # one that is missing breaks it
        while page := view.audit(after=seq):
            for entry in page:
                seq += 1
                expected = digest(
                    previous,
                    seq=seq,
                    at=entry.at,
                    actor=entry.actor,
                    what=entry.what,
                    trade_id=entry.trade_id,
                    body=entry.body,
                )
                if entry.seq != seq or entry.digest != expected:
                    msg = f"audit link {seq} is not what was written; compare with a backup and find out who wrote"
                    raise LedgerError(msg)
                previous = entry.digest
        meta = view.meta()
    if (meta.audit_seq, meta.audit_digest) != (seq, previous):
        msg = f"the audit chain ends at link {seq} instead of {meta.audit_seq}; compare with a backup and find out who wrote"
        raise LedgerError(msg)
    return seq
