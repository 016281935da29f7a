"""Backup and restore of a ledger that is a file, and what every restored ledger needs before anybody acts on it.

A backup is one file, made by SQLite's own online backup while everything runs; copying the files would tear it. After a
restore the ledger knows less than the broker does: it gets a new epoch, so that nobody compares versions across it, and
what was planned when the backup was made counts as on its way, because it may have been sent since.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtms.adapters.sql.ledger import SqlLedger, verify_chain
from dtms.adapters.sql.ledger_place import require_no_holder
from dtms.adapters.sql.opening import identity_of, open_ledger, parse_place
from dtms.adapters.sql.places import all_places, real_file
from dtms.adapters.sql.shown import shown_url
from dtms.adapters.sql.sqlite import translator
from dtms.domain.intent import IntentState
from dtms.domain.units import Millis
from dtms.errors import LedgerError, SettingsError
from dtms.platforms.files import make_durable
from dtms.private_files import make_private

_SIDE_FILES: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A backup that was made, or a ledger that was put in place.

    `in_doubt` counts the intents that were planned when the backup was made; `replaced` is where the old file lies now.
    """

    path: Path
    account: str
    epoch: str
    audit_links: int
    in_doubt: int = 0
    replaced: Path | None = None


def backup_file(url: str | Path, to: Path, *, clock: Callable[[], Millis]) -> Copied:
    """Copy a ledger into one new file, checked, while it is in use.

    Raises:
        SettingsError: It is no file, the target exists, or what was copied is damaged.
        LedgerUnavailableError: It cannot be read, or the target not written.
    """
    source = _file_of(url, "back up a server's database with pg_dump")
    if not source.exists():
        msg = f"ledger {source} does not exist; name the right data folder (DTMS_DATA_DIR) or ledger (DTMS_LEDGER_URL)"
        raise SettingsError(msg)
    if to.exists():
        msg = f"backup {to} exists already; name another file, no backup is overwritten"
        raise SettingsError(msg)
    part = to.with_name(f"{to.name}.part")
    with _cleared(part):
        make_private(part)
        _copy(source, part)
        copied = _checked(part, clock, restored=False)
        part.replace(to)
    return Copied(path=to, account=copied.account, epoch=copied.epoch, audit_links=copied.audit_links)


def restore_file(url: str | Path, backup: Path, *, clock: Callable[[], Millis]) -> Copied:
    """Put a backup in the place of a ledger; the old file is kept beside it.

    Raises:
        SettingsError: A process works on the ledger, the backup is missing, damaged or of another account.
        LedgerUnavailableError: The backup cannot be read, or the folder not written.
        LedgerError: The backup's audit chain is broken.
    """
    target = _file_of(url, "restore a server's database with pg_restore, then run: dtms ledger renew")
    name = f"backup {backup}"
    if not backup.is_file():
        msg = f"{name} does not exist; name the file that `dtms ledger backup` wrote"
        raise SettingsError(msg)
    with all_places(target):
        require_no_holder(target)
        account = identity_of(backup)[0]
        _require_same_account(target, account, name)
        part = target.with_name(f"{target.name}.part")
        with _cleared(part):
            make_private(part)
            _copy(backup, part)
            copied = _checked(part, clock, restored=True)
            replaced = _set_aside(target)
            part.replace(target)
    return Copied(
        path=target,
        account=account,
        epoch=copied.epoch,
        audit_links=copied.audit_links,
        in_doubt=copied.in_doubt,
        replaced=replaced,
    )


def _require_same_account(target: Path, account: str, name: str) -> None:
    try:
        present = identity_of(target)[0] if target.exists() else account
    except (SettingsError, LedgerError):
        return  # what is damaged cannot say whose it is, and is replaced for that very reason
    if present != account:
        msg = (
            f"{name} belongs to account {account}, the ledger {target} to {present}; restore each account's own backup"
        )
        raise SettingsError(msg)


def renew(ledger: SqlLedger, *, now: Millis) -> int:
    """Make a restored ledger fit to act on: a new epoch, and everything planned in doubt; return how many that were.

    A planned intent may have been sent after the backup was made. It becomes SENDING, which the gateway's recovery makes
    UNKNOWN and settles by the broker's evidence, instead of being sent a second time.
    """
    ledger.renew_epoch(secrets.token_hex(8))
    in_doubt = 0
    with ledger.write() as tx:
        epoch = tx.meta().gateway_epoch
        for intent in tx.unfinished():
            if intent.state is IntentState.PLANNED and tx.claim(intent, epoch=epoch, now=now) is not None:
                in_doubt += 1
        body = f'{{"epoch":"{ledger.epoch}","in_doubt":{in_doubt}}}'
        tx.add_audit(at=now, actor="operator", what="ledger restored", trade_id=None, body=body)
    return in_doubt


def _file_of(url: str | Path, otherwise: str) -> Path:
    parsed = parse_place(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        msg = f"ledger {shown_url(parsed)} is no file; {otherwise}"
        raise SettingsError(msg)
    return real_file(Path(str(parsed.database)))


@contextmanager
def _cleared(part: Path) -> Iterator[None]:
    """Leave nothing of an unfinished copy behind, nor begin with one."""
    _remove(part)
    try:
        yield
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    for suffix in ("", *_SIDE_FILES, ".lock"):
        part.with_name(f"{part.name}{suffix}").unlink(missing_ok=True)


def _copy(source: Path, to: Path) -> None:
    """Copy by SQLite's online backup; one step, so that writers cannot make it begin again and again."""
    failed = translator(f"ledger {source}")
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=5.0)) as reading,
            closing(sqlite3.connect(to)) as writing,
        ):
            to.chmod(0o600)
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise failed(error) from error
    except OSError as error:
        msg = f"backup {to} cannot be written ({error.strerror}); name a folder that this user may write"
        raise SettingsError(msg) from error


def _checked(part: Path, clock: Callable[[], Millis], *, restored: bool) -> Copied:
    """Open a copy as the product would, walk its audit chain, and leave it as one file that is on the disk."""
    account = identity_of(part)[0]
    ledger = open_ledger(part, account=account, clock=clock, create=False)
    try:
        in_doubt = renew(ledger, now=clock()) if restored else 0
        links = verify_chain(ledger)
        epoch = ledger.epoch
    finally:
        ledger.close()
    with closing(sqlite3.connect(part)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    make_durable(part)
    return Copied(path=part, account=account, epoch=epoch, audit_links=links, in_doubt=in_doubt)


def _set_aside(target: Path) -> Path | None:
    """Keep the old ledger under another name, without a moment in which there is none.

    Its log goes first: beside another database it would be taken for that one's.
    """
    if not target.exists():
        return None
    number = 1
    while (aside := target.with_name(f"{target.name}.replaced-{number}")).exists():
        number += 1
    for suffix in _SIDE_FILES:
        log = target.with_name(f"{target.name}{suffix}")
        if log.exists():
            log.replace(aside.with_name(f"{aside.name}{suffix}"))
    os.link(target, aside)
    return aside
