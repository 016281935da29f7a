"""What is opened, what is refused, in which sentence, and what is left untouched."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dtms.adapters.sql import SqlLedger, migrate
from dtms.adapters.sql.schema import METADATA, SCHEMA
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite

Opener = Callable[..., SqlLedger]


@pytest.fixture(params=["file", "postgres"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database in which there is nothing yet."""
    if request.param == "postgres":
        return str(request.getfixturevalue("empty_postgres"))
    return f"sqlite:///{tmp_path}/deep/folder/ledger.sqlite3"


def execute(url: str, sql: str) -> None:
    """Change a database behind the ledger's back."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute(sql)
    else:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as server:
            server.execute(sql.encode())


def test_a_ledger_is_made_once_and_found_again(fresh_url: str, opened: Opener) -> None:
    first = opened(fresh_url)
    with first.write() as write:
        write.set_fact("x", "y")
    second = opened(fresh_url, create=False)
    with second.read() as read:
        assert read.fact("x") == "y"
    assert second.epoch == first.epoch
    assert len(first.epoch) == 16


def test_the_ledger_fulfils_its_port(opened: Opener) -> None:
    port: Ledger = opened("sqlite://")
    with port.write() as write:
        writing: LedgerWrite = write
        writing.set_fact("x", "y")
    with port.read() as read:
        reading: LedgerRead = read
        assert reading.fact("x") == "y"
    assert port.revision() == 1


def test_two_ledgers_have_two_epochs(opened: Opener) -> None:
    assert opened("sqlite://").epoch != opened("sqlite://").epoch


def test_a_missing_ledger_is_not_made_where_that_was_not_asked(tmp_path: Path, opened: Opener) -> None:
    with pytest.raises(SettingsError, match="does not exist; create it, or name the right file"):
        opened(f"sqlite:///{tmp_path}/ledger.sqlite3", create=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_not_filled_where_that_was_not_asked(empty_postgres: str, opened: Opener) -> None:
    with pytest.raises(SettingsError, match="holds no ledger yet; create it, or name the right database"):
        opened(empty_postgres, create=False)


def test_the_ledger_of_another_account_is_refused_untouched(fresh_url: str, opened: Opener) -> None:
    opened(fresh_url, account="Demo:1").close()
    before = _bytes(fresh_url)
    with pytest.raises(SettingsError, match="belongs to account Demo:1, not to Real:2; give each account a ledger"):
        opened(fresh_url, account="Real:2")
    assert _bytes(fresh_url) == before
    opened(fresh_url, account="Demo:1")


def test_a_newer_schema_is_refused_untouched(fresh_url: str, opened: Opener) -> None:
    opened(fresh_url).close()
    execute(fresh_url, "UPDATE meta SET schema = 9")
    before = _bytes(fresh_url)
    with pytest.raises(SettingsError, match=f"has schema 9 and this program knows {SCHEMA} at most; install a newer"):
        opened(fresh_url)
    assert _bytes(fresh_url) == before


def test_a_half_migrated_ledger_is_refused(fresh_url: str, opened: Opener) -> None:
    opened(fresh_url).close()
    execute(fresh_url, "UPDATE alembic_version SET version_num = '0009'")
    with pytest.raises(SettingsError, match=r"is half migrated .* restore it from a backup"):
        opened(fresh_url)


def test_somebody_elses_database_is_refused_untouched(fresh_url: str, opened: Opener) -> None:
    Path(fresh_url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    execute(fresh_url, "CREATE TABLE invoices (id INTEGER)")
    before = _bytes(fresh_url)
    with pytest.raises(SettingsError, match=r"holds other tables \(invoices\) and no ledger; name an empty database"):
        opened(fresh_url)
    assert _bytes(fresh_url) == before


def _bytes(url: str) -> bytes:
    return Path(url.removeprefix("sqlite:///")).read_bytes() if url.startswith("sqlite") else b""


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(SettingsError, match=r"notes\.txt is not a database or is damaged .* name another file"):
        opened(f"sqlite:///{path}")
    assert path.read_text() == "not a database, " * 100


def test_a_damaged_ledger_is_refused(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = opened(f"sqlite:///{path}")
    with ledger.write() as write:
        for number in range(50):
            write.put_market_state(f"symbol {number}", Millis(1), bytes(range(256)) * 8)
    ledger.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8_192] = b"\xa5" * 8_192
    path.write_bytes(bytes(content))
    with pytest.raises(SettingsError, match=r"damaged .*restore it from a backup"):
        opened(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, opened: Opener) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="its folder cannot be made"):
        opened(f"sqlite:///{tmp_path}/file/ledger.sqlite3")


def test_a_server_that_is_not_there_is_said_without_its_password(opened: Opener, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailableError, match="check that the server runs") as caught:
        opened(f"postgresql://dtms:hidden-word@/ledger?host={tmp_path}")
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgresql+asyncpg://h/d", "ledger.sqlite3", "", "sqlite+aiosqlite:///x"]
)
def test_a_url_that_no_ledger_has_is_refused(url: str, opened: Opener) -> None:
    with pytest.raises(SettingsError, match="write sqlite:///FILE, sqlite://"):
        opened(url)


def test_a_file_is_written_ahead_fully_synced_and_with_foreign_keys(tmp_path: Path, opened: Opener) -> None:
    ledger = opened(f"sqlite:///{tmp_path}/ledger.sqlite3")
    with closing(ledger._backend.engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert connection is not None
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    # synchronous 2 is FULL: a commit is on disk when it returns, so SENDING is before the first byte leaves.
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5_000}


def test_a_server_commits_synchronously_and_ends_writers_that_hang(postgres_url: str, opened: Opener) -> None:
    ledger = opened(postgres_url)
    with closing(ledger._backend.engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert connection is not None
        found = [
            connection.execute(f"SHOW {name}").fetchone()[0]
            for name in ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout")
        ]
    assert found == ["on", "5s", "10s"]


def test_the_migrations_make_exactly_the_tables(fresh_url: str, opened: Opener) -> None:
    ledger = opened(fresh_url)
    with ledger._backend.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_the_newest_migration_is_the_schema_that_the_program_knows() -> None:
    heads = ScriptDirectory.from_config(migrate.config()).get_heads()
    assert heads == [f"{SCHEMA:04d}"]


def test_a_full_disk_is_said_and_nothing_is_written(opened: Opener) -> None:
    ledger = opened("sqlite://")
    _pragma(ledger, "max_page_count = 1")
    with pytest.raises(LedgerUnavailableError, match="the disk is full; free space"), ledger.write() as write:
        write.set_fact("x", "y" * 100_000)
    _pragma(ledger, "max_page_count = 100000")
    with ledger.read() as read:
        assert read.fact("x") is None


def test_a_ledger_that_may_not_be_written_says_so(opened: Opener) -> None:
    ledger = opened("sqlite://")
    _pragma(ledger, "query_only = ON")
    with pytest.raises(LedgerUnavailableError, match="it may not be written"), ledger.write() as write:
        write.set_fact("x", "y")


def _pragma(ledger: SqlLedger, pragma: str) -> None:
    with closing(ledger._backend.engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert connection is not None
        connection.execute(f"PRAGMA {pragma}")


@pytest.fixture
def terminate(postgres_url: str) -> Iterator[Callable[[], None]]:
    """Ends every other connection to the test's database."""
    sql = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dtms'"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:

        def end_them() -> None:
            admin.execute(sql)

        yield end_them


def test_a_lost_connection_is_said_and_the_next_transaction_has_a_new_one(
    postgres_url: str, opened: Opener, terminate: Callable[[], None]
) -> None:
    ledger = opened(postgres_url)

    def cut_off() -> None:
        with ledger.write() as write:
            write.set_fact("x", "y")
            terminate()
            write.set_fact("x", "z")

    with pytest.raises(LedgerUnavailableError, match="check that the server runs"):
        cut_off()
    with ledger.write() as write:
        assert write.fact("x") is None
        write.set_fact("x", "again")
    terminate()
    assert ledger.revision() == 1
    with ledger.read() as read:
        assert read.fact("x") == "again"
