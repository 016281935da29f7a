"""A ledger that is damaged, old, full, read-only, locked or somebody else's: sending stops, the stops stay, and it is said."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.app.rig import Rig
from tests.ledger.choice import CHOSEN
from tests.ledger.servers import run_sql
from tests.only_posix import os_, resource

from dtms.adapters.sql import open_ledger, sqlite, verify_chain
from dtms.adapters.sql.backup import backup_file, restore_file
from dtms.adapters.sql.opening import identity_of
from dtms.adapters.sql.schema import SCHEMA
from dtms.app.gateway.cycle import GatewayPass
from dtms.app.journal import journal
from dtms.domain.action import Action, OpenHedge, SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Trade
from dtms.domain.units import Lots, Millis, Price, Side
from dtms.errors import LedgerError, LedgerUnavailableError, SettingsError
from dtms_lab.terminal.recorder import AppliedKind

ACCOUNT = "DTMS-Simulated:10000042"
START = Millis(1_700_000_000_000)
OPERATIONS = (AppliedKind.SLTP, AppliedKind.PARTIAL, AppliedKind.CLOSE, AppliedKind.OPEN)


class Desk:
    """A rig on a ledger that is a file, with the gateway's loop on it; the loop is driven by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rig = Rig()
        self.trade: Trade = self.rig.managed()
        self.loop = self.new_loop()
        self.loop.step()

    def new_loop(self) -> GatewayPass:
        return self.rig.work()

    def plan(self, action: Action | None = None, decision: str = "test") -> Intent:
        """Write an intent as a planner would, to be sent at the next pass."""
        trade = self.rig.trade(self.trade.ticket)
        intent = journal.new_intent(
            trade,
            SetStop(ticket=trade.ticket, stop=Price(1_995.0), target=None) if action is None else action,
            decision_id=decision,
            owner=Planner.COMMAND,
            rule=DefenceRule.TIGHTEN,
            now=self.rig.clock.now,
            priced_expiry_s=60.0,
            price_based=False,
        )
        with self.rig.ledger.write() as tx:
            assert tx.add_intent(intent)
        return intent

    def stop(self) -> float | None:
        """The stop at the broker."""
        held = self.rig.position(self.trade.identifier)
        assert held is not None
        return held.stop

    def applied(self) -> int:
        return self.rig.applied(*OPERATIONS)

    def said(self) -> str:
        """The last alert about the gateway."""
        return next(a.detail for a in reversed(self.rig.notifier.alerts) if a.subject.startswith("dtms-gateway"))

    def drop_cache(self) -> None:
        """Forget the pages in memory, as a ledger that is larger than that does by itself; the log goes into the file."""
        self.rig.ledger._backend.engine.dispose()

    def restart(self) -> None:
        """Let every service start anew on the same file, as the supervisor would."""
        self.rig.ledger.close()
        self.rig.ledger = CHOSEN.open(ACCOUNT, self.rig.clock.market_now)
        self.rig.start(epoch=self.rig.executor.epoch + 1)
        self.loop = self.new_loop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def desk(path: Path) -> Iterator[Desk]:
    CHOSEN.url = lambda _account: f"sqlite:///{path}"
    yield Desk(path)
    CHOSEN.reset()


def pass_of(desk: Desk, times: int = 1) -> None:
    """Let the gateway's loop make passes, whatever comes of them."""
    for _ in range(times):
        desk.rig.wait(1)
        desk.loop.run()


def applied_once_it_works(desk: Desk, intent: Intent) -> None:
    """What was planned is sent exactly once after the ledger is back."""
    before = desk.applied()
    pass_of(desk, 3)
    with desk.rig.ledger.read() as tx:
        found = tx.intent(intent.intent_id)
    assert found is not None
    assert (found.state, desk.applied() - before, desk.stop()) == (IntentState.APPLIED, 1, 1_995.0)


# ----- damage


def flip_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(4_096, len(content) - 64, 512):
        content[at : at + 64] = bytes(byte ^ 0xA5 for byte in content[at : at + 64])
    path.write_bytes(bytes(content))


def overwrite_the_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[:64] = b"not a database " * 4 + b"....  "[:4]
    path.write_bytes(bytes(content))


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4_096 * 4_096)


def empty(path: Path) -> None:
    os.truncate(path, 0)


DAMAGES = [flip_the_middle, overwrite_the_header, cut_in_half, empty]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_ledger_is_refused_at_the_start_untouched_and_the_stops_stay(
    desk: Desk, path: Path, damage: Callable[[Path], None]
) -> None:
    desk.plan()
    desk.rig.ledger.close()
    damage(path)
    damaged, applied = path.read_bytes(), desk.applied()
    with pytest.raises(
        SettingsError, match=r"ledger .*ledger\.sqlite3 .*restore it from a backup \(dtms ledger restore"
    ):
        open_ledger(f"sqlite:///{path}", account=ACCOUNT, clock=lambda: START)
    assert (path.read_bytes(), desk.applied(), desk.stop()) == (damaged, applied, 1_990.0)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_ledger_that_is_damaged_under_a_running_gateway_stops_it(
    desk: Desk, path: Path, damage: Callable[[Path], None]
) -> None:
    desk.plan()
    desk.drop_cache()
    applied = desk.applied()
    damage(path)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    pass_of(desk, 3)
    assert (desk.applied(), desk.stop()) == (applied, 1_990.0)
    assert "nothing is sent until it works: " in desk.said()
    assert "stops at the broker hold" in desk.said()


def test_a_removed_file_whose_log_is_there_is_no_new_ledger(desk: Desk, path: Path) -> None:
    desk.plan()
    content = path.with_name(path.name + "-wal").read_bytes()
    desk.rig.ledger.close()
    path.unlink()
    path.with_name(path.name + "-wal").write_bytes(content)
    with pytest.raises(
        SettingsError, match="is missing and its log is there: it was removed or renamed; put it back, or"
    ):
        open_ledger(f"sqlite:///{path}", account=ACCOUNT, clock=lambda: START)
    assert not path.exists()


def test_a_creation_that_was_broken_off_leaves_nothing_that_a_start_would_trust(path: Path) -> None:
    path.with_name(f"{path.name}.new").write_bytes(b"half of a ledger")
    ledger = open_ledger(f"sqlite:///{path}", account=ACCOUNT, clock=lambda: START)
    ledger.close()
    assert sorted(each.name for each in path.parent.iterdir()) == ["ledger.sqlite3", "ledger.sqlite3.lock"]


# ----- a disk that is full, a file that may not be written, a lock that stays


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file of this process may grow beyond a size: what a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_stops_sending_and_nothing_is_lost_once_there_is_room(desk: Desk, path: Path) -> None:
    intent = desk.plan()
    applied = desk.applied()
    with full_disk(path.with_name(path.name + "-wal").stat().st_size):
        pass_of(desk, 3)
        assert (desk.applied(), desk.stop()) == (applied, 1_990.0)
        assert f"ledger {path}: disk I/O error; the disk failed or lets nothing more be written" in desk.said()
    applied_once_it_works(desk, intent)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Act as a user without rights; root may write everything."""
    if os_.geteuid() != 0:
        yield
        return
    os_.seteuid(65_534)
    try:
        yield
    finally:
        os_.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def test_a_folder_that_may_not_be_written_is_said_before_anything_is_made(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with (
        somebody_else(),
        pytest.raises(LedgerUnavailableError, match=r"lock file .*: Permission denied; see that it is a file"),
    ):
        open_ledger(f"sqlite:///{open_folder}/ledger.sqlite3", account=ACCOUNT, clock=lambda: START)
    assert list(open_folder.iterdir()) == []


def test_a_file_that_may_not_be_written_any_more_stops_sending(open_folder: Path) -> None:
    path = open_folder / "ledger.sqlite3"
    CHOSEN.url = lambda _account: f"sqlite:///{path}"
    try:
        desk = Desk(path)
        intent, applied = desk.plan(), desk.applied()
        desk.drop_cache()
        for each in open_folder.iterdir():
            each.chmod(0o444)
        with somebody_else():
            pass_of(desk, 3)
            desk.drop_cache()
        assert (desk.applied(), desk.stop()) == (applied, 1_990.0)
        assert f"ledger {path}: " in desk.said()
        assert "give this user the right to write the file and its folder" in desk.said()
        for each in open_folder.iterdir():
            each.chmod(0o644)
        applied_once_it_works(desk, intent)
    finally:
        CHOSEN.reset()


def test_a_lock_that_stays_longer_than_the_wait_stops_sending_and_then_it_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAIT_S", 0.03)
    CHOSEN.url = lambda _account: f"sqlite:///{path}"
    try:
        desk = Desk(path)
        intent, applied = desk.plan(), desk.applied()
        with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            pass_of(desk, 2)
            assert (desk.applied(), desk.stop()) == (applied, 1_990.0)
            assert "database is locked; it stayed locked; find the process that holds it and end it" in desk.said()
            stranger.execute("ROLLBACK")
        applied_once_it_works(desk, intent)
    finally:
        CHOSEN.reset()


# ----- backup and restore


def backup(desk: Desk, name: str = "backup.sqlite3") -> Path:
    to = desk.path.with_name(name)
    backup_file(f"sqlite:///{desk.path}", to, clock=lambda: START)
    return to


def test_a_backup_is_one_private_file_with_everything_that_was_committed(desk: Desk) -> None:
    intent = desk.plan()
    made = backup(desk)
    assert made.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in made.parent.glob("backup*")) == ["backup.sqlite3"]
    assert identity_of(f"sqlite:///{made}") == (ACCOUNT, SCHEMA, desk.rig.ledger.epoch)
    copy = open_ledger(f"sqlite:///{made}", account=ACCOUNT, clock=lambda: START, create=False)
    with copy.read() as tx:
        assert tx.intent(intent.intent_id) == intent
        assert tx.open_trades() == (desk.rig.trade(desk.trade.ticket),)
    copy.close()
    with pytest.raises(SettingsError, match="exists already; name another file, no backup is overwritten"):
        backup(desk)


def test_a_restored_ledger_has_a_new_epoch_a_whole_chain_and_the_old_file_beside_it(desk: Desk, path: Path) -> None:
    made, epoch = backup(desk), desk.rig.ledger.epoch
    desk.rig.ledger.close()
    flip_the_middle(path)
    damaged = path.read_bytes()
    restored = restore_file(f"sqlite:///{path}", made, clock=lambda: START)
    assert restored.replaced == path.with_name("ledger.sqlite3.replaced-1")
    assert restored.replaced.read_bytes() == damaged
    ledger = open_ledger(f"sqlite:///{path}", account=ACCOUNT, clock=lambda: START, create=False)
    assert ledger.epoch == restored.epoch != epoch
    assert verify_chain(ledger) == restored.audit_links > 0
    ledger.close()


def test_what_was_sent_after_the_backup_is_not_sent_again_by_the_restored_ledger(desk: Desk, path: Path) -> None:
    hedge = OpenHedge(
        ticket=desk.trade.ticket, side=Side.SELL, volume=Lots(0.25), stop=Price(2_006.2), target=Price(1_990.0)
    )
    intent = desk.plan(hedge)
    made = backup(desk)
    pass_of(desk, 2)
    assert len(desk.rig.others(desk.trade)) == 1
    desk.rig.ledger.close()
    restored = restore_file(f"sqlite:///{path}", made, clock=lambda: desk.rig.clock.now)
    assert restored.in_doubt == 1
    desk.restart()
    pass_of(desk, 20)
    with desk.rig.ledger.read() as tx:
        found = tx.intent(intent.intent_id)
    assert found is not None
    assert (found.state, len(desk.rig.others(desk.trade)), desk.stop()) == (IntentState.APPLIED, 1, 1_990.0)


def test_what_was_planned_at_the_backup_and_never_sent_is_done_once_after_the_settle_time(
    desk: Desk, path: Path
) -> None:
    desk.plan()
    made = backup(desk)
    desk.rig.ledger.close()
    restore_file(f"sqlite:///{path}", made, clock=lambda: desk.rig.clock.now)
    desk.restart()
    applied = desk.applied()
    pass_of(desk, 5)
    assert (desk.applied() - applied, desk.stop()) == (0, 1_990.0)
    pass_of(desk, 30)
    states = {intent.state for intent in desk.rig.intents(desk.trade)}
    assert IntentState.NOT_APPLIED in states
    assert desk.applied() - applied <= 1


@pytest.mark.parametrize("role", ["gateway", "server", "api"])
def test_nobody_may_work_on_a_ledger_while_it_is_replaced(desk: Desk, path: Path, role: str) -> None:
    made = backup(desk)
    before = path.read_bytes()
    place = desk.rig.ledger.leases.place(role, "this one")
    with pytest.raises(SettingsError, match=f"another {role} works on ledger .* stop it"):
        restore_file(f"sqlite:///{path}", made, clock=lambda: START)
    assert path.read_bytes() == before
    place.release()


def test_a_living_process_keeps_its_ledger_although_its_lock_file_was_removed(desk: Desk, path: Path) -> None:
    made = backup(desk)
    place = desk.rig.ledger.leases.place("gateway", "this one")
    path.with_name(f"{path.name}.gateway.lock").unlink()
    with pytest.raises(SettingsError, match=r"another gateway works on ledger .* as the ledger says.* stop it first"):
        restore_file(f"sqlite:///{path}", made, clock=lambda: START)
    place.release()
    desk.rig.ledger.close()
    assert restore_file(f"sqlite:///{path}", made, clock=lambda: START).replaced is not None


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_backup_is_refused_and_the_present_ledger_stays(
    desk: Desk, path: Path, damage: Callable[[Path], None]
) -> None:
    made = backup(desk)
    damage(made)
    desk.rig.ledger.close()
    before = path.read_bytes()
    with pytest.raises((SettingsError, LedgerError)):
        restore_file(f"sqlite:///{path}", made, clock=lambda: START)
    assert path.read_bytes() == before
    assert not path.with_name(f"{path.name}.part").exists()


def test_a_backup_whose_audit_was_changed_is_refused(desk: Desk, path: Path) -> None:
    made = backup(desk)
    with closing(sqlite3.connect(made, isolation_level=None)) as file:
        file.execute("UPDATE audit SET body = '{}' WHERE seq = 1")
    desk.rig.ledger.close()
    with pytest.raises(LedgerError, match="audit link 1 is not what was written"):
        restore_file(f"sqlite:///{path}", made, clock=lambda: START)


def test_the_backup_of_another_account_is_refused(desk: Desk, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    open_ledger(f"sqlite:///{other}", account="Real:2", clock=lambda: START).close()
    desk.rig.ledger.close()
    with pytest.raises(
        SettingsError, match=r"belongs to account Real:2, the ledger .* to DTMS-Simulated:10000042; restore"
    ):
        restore_file(f"sqlite:///{path}", other, clock=lambda: START)


def test_a_server_is_backed_up_with_its_own_tools_and_that_is_said(tmp_path: Path) -> None:
    url = "postgresql+psycopg://dtms:hidden-word@host/ledger"
    with pytest.raises(SettingsError, match="is no file; back up a server's database with pg_dump") as caught:
        backup_file(url, tmp_path / "x", clock=lambda: START)
    assert "hidden-word" not in str(caught.value)
    with pytest.raises(SettingsError, match="restore a server's database with pg_restore, then run: dtms ledger renew"):
        restore_file(url, tmp_path / "x", clock=lambda: START)


# ----- migrations

MIGRATE_AND_HANG = """
import sys
from alembic import op
from dtms.adapters.sql import open_ledger
from dtms.adapters.sql.migrations.versions import v0002_leases
execute = op.execute
def hang(sql):
    execute(sql)
    print("in the middle", flush=True)
    sys.stdin.readline()
op.execute = hang
open_ledger(sys.argv[1], account=sys.argv[2], clock=lambda: 0)
"""


def make_first_schema(url: str) -> None:
    """Turn a ledger back into what the first version of the program made."""
    statements = ("DROP TABLE leases", "UPDATE meta SET schema = 1", "UPDATE alembic_version SET version_num = '0001'")
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            for statement in statements:
                file.execute(statement)
    else:
        for statement in statements:
            run_sql(url, statement)


@pytest.fixture(params=["file", "postgres"])
def old_url(request: pytest.FixtureRequest, path: Path) -> str:
    """A ledger of the first schema, with something in it."""
    url = f"sqlite:///{path}" if request.param == "file" else str(request.getfixturevalue("empty_postgres"))
    ledger = open_ledger(url, account=ACCOUNT, clock=lambda: START, epoch="the same")
    with ledger.write() as tx:
        tx.set_fact("x", "kept")
    ledger.close()
    make_first_schema(url)
    return url


def test_an_older_ledger_is_migrated_and_keeps_everything(old_url: str) -> None:
    assert identity_of(old_url) == (ACCOUNT, 1, "the same")
    ledger = open_ledger(old_url, account=ACCOUNT, clock=lambda: START, create=False)
    with ledger.read() as tx:
        assert tx.fact("x") == "kept"
    assert ledger.leases.take("gateway", "a", ttl_ms=1_000) is not None
    ledger.close()
    assert identity_of(old_url) == (ACCOUNT, SCHEMA, "the same")


def test_a_migration_that_is_killed_half_way_leaves_the_old_schema_and_runs_again(old_url: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", MIGRATE_AND_HANG, old_url, ACCOUNT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "in the middle\n"
    child.kill()
    child.communicate(timeout=60)
    assert identity_of(old_url) == (ACCOUNT, 1, "the same")
    ledger = open_ledger(old_url, account=ACCOUNT, clock=lambda: START, create=False)
    with ledger.read() as tx:
        assert tx.fact("x") == "kept"
    ledger.close()
    assert identity_of(old_url) == (ACCOUNT, SCHEMA, "the same")
