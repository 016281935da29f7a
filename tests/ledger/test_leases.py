"""The lease and the place: at most one gateway may claim and send, on every kind of ledger."""

from __future__ import annotations

import subprocess
import sys
import time as time_of_day
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.adapters.sql.leases import machine_time
from dtms.app.gateway.lease import LeasedWrites, LeaseHolder, LeaseTerms
from dtms.domain.action import Action, SetStop
from dtms.domain.intent import Intent, IntentState
from dtms.domain.position import Position
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.units import Millis, Price, Ticket
from dtms.errors import BrokerUnavailableError, LedgerUnavailableError, SettingsError
from dtms.platforms.clock import boot_ns
from dtms.platforms.processes import freeze
from dtms.ports.lease import GATEWAY_LEASE, FencedError, Place

MakeIntent = Callable[..., Intent]
Opener = Callable[..., SqlLedger]

START = Millis(1_700_000_000_000)
ACCOUNT = "Demo:1001"
SHORT = LeaseTerms(ttl_s=1.0, longest_send_s=0.5, margin_s=0.1, beat_s=0.1, settle_s=0.5)
TIGHTEN = SetStop(ticket=Ticket(1), stop=Price(1.095), target=None)


class Time:
    """A boot-time clock that a test moves, of a boot that it may end."""

    def __init__(self) -> None:
        self.ms = 1_000_000
        self.boot = "first boot"

    def __call__(self) -> Mapping[str, object]:
        return {"lease_now": self.ms, "lease_boot": self.boot}

    def ns(self) -> int:
        return self.ms * 1_000_000


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ledgers(time: Time, tmp_path: Path) -> Iterator[tuple[SqlLedger, SqlLedger]]:
    """The same file as two processes have it, on a clock that is moved by hand."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    both = [open_ledger(url, account=ACCOUNT, clock=lambda: START, lease_time=time) for _ in range(2)]
    yield both[0], both[1]
    for each in both:
        each.close()


class Sent:
    """A broker that counts."""

    def __init__(self) -> None:
        self.tags: list[str] = []

    def send(self, _action: Action, *, position: Position | None, tag: str) -> Receipt:
        assert position is None
        self.tags.append(tag)
        return Receipt(outcome=Outcome.APPLIED, code=10009)


class Here:
    """A place that a test may take away."""

    def __init__(self) -> None:
        self.lost: FencedError | LedgerUnavailableError | None = None
        self.released = False

    def ensure(self) -> None:
        if self.lost is not None:
            raise self.lost

    def release(self) -> None:
        self.released = True


def holder(ledger: SqlLedger, time: Time, owner: str, place: Place | None = None) -> LeaseHolder:
    return LeaseHolder(ledger.leases, owner=owner, terms=SHORT, now_ns=time.ns, place=place or Here())


# ----- the statements, on every kind of ledger


def test_a_lease_that_runs_is_refused_to_another_and_renewed_for_its_owner(ledger: SqlLedger) -> None:
    taken = ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000)
    assert taken is not None
    assert (taken.epoch, taken.before) == (1, None)
    assert ledger.leases.take(GATEWAY_LEASE, "b", ttl_ms=60_000) is None
    assert ledger.leases.renew(GATEWAY_LEASE, "a", 1, ttl_ms=60_000)
    assert not ledger.leases.renew(GATEWAY_LEASE, "b", 1, ttl_ms=60_000)
    assert not ledger.leases.renew(GATEWAY_LEASE, "a", 2, ttl_ms=60_000)
    view = ledger.leases.look(GATEWAY_LEASE)
    assert view is not None
    assert (view.owner, view.epoch) == ("a", 1)
    assert 0 < view.left_ms <= 60_000


def test_its_owner_takes_a_lease_again_at_once_with_a_greater_epoch(ledger: SqlLedger) -> None:
    epochs = []
    for _ in range(3):
        taken = ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000)
        assert taken is not None
        epochs.append(taken.epoch)
    assert epochs == [1, 2, 3]


def test_a_lease_that_has_ended_is_anybodys_and_renewed_for_nobody(ledger: SqlLedger) -> None:
    assert ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=0) is not None
    assert not ledger.leases.renew(GATEWAY_LEASE, "a", 1, ttl_ms=60_000)
    taken = ledger.leases.take(GATEWAY_LEASE, "b", ttl_ms=60_000)
    assert taken is not None
    assert taken.epoch == 2
    assert taken.before is not None
    assert (taken.before.owner, taken.before.left_ms <= 0) == ("a", True)


def test_a_lease_that_was_given_up_is_free_and_keeps_its_epoch_for_the_next(ledger: SqlLedger) -> None:
    assert ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000) is not None
    ledger.leases.give_up(GATEWAY_LEASE, "a", 1)
    assert ledger.leases.look(GATEWAY_LEASE) is None
    taken = ledger.leases.take(GATEWAY_LEASE, "b", ttl_ms=60_000)
    assert taken is not None
    assert (taken.epoch, taken.before) == (2, None)
    ledger.leases.give_up(GATEWAY_LEASE, "a", 1)
    assert ledger.leases.look(GATEWAY_LEASE) is not None


def test_the_first_epoch_of_a_lease_is_above_every_epoch_that_has_claimed(
    ledger: SqlLedger, make_intent: MakeIntent
) -> None:
    with ledger.write() as write:
        write.add_intent(make_intent(1))
        assert write.claim(make_intent(1), epoch=7, now=START) is not None
    taken = ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000)
    assert taken is not None
    assert taken.epoch == 8


def test_a_beat_is_no_change_that_would_wake_anybody(ledger: SqlLedger) -> None:
    assert ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000) is not None
    before = ledger.revision()
    assert ledger.leases.renew(GATEWAY_LEASE, "a", 1, ttl_ms=60_000)
    assert ledger.revision() == before


def test_the_claiming_statement_asks_for_epoch_and_end_of_the_lease(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    with ledger.write() as write:
        for number in (1, 2, 3):
            assert write.add_intent(make_intent(number, position=number))
    assert ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000) is not None
    with ledger.write() as write:
        claimed = write.claim(make_intent(1, position=1), epoch=1, now=START, lease=GATEWAY_LEASE)
    assert claimed is not None
    assert (claimed.state, claimed.epoch) == (IntentState.SENDING, 1)
    with pytest.raises(FencedError, match="epoch 2 has ended"), ledger.write() as write:
        write.claim(make_intent(2, position=2), epoch=2, now=START, lease=GATEWAY_LEASE)
    assert ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=0) is not None
    with pytest.raises(FencedError, match="epoch 2 has ended"), ledger.write() as write:
        write.claim(make_intent(3, position=3), epoch=2, now=START, lease=GATEWAY_LEASE)
    with ledger.read() as read:
        assert [i.intent_id for i in read.planned()] == [make_intent(n, position=n).intent_id for n in (2, 3)]


def test_a_taken_resource_under_a_lease_is_no_fencing(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    assert ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000) is not None
    with ledger.write() as write:
        for number in (1, 2):
            write.add_intent(make_intent(number, position=1))
        assert write.claim(make_intent(1, position=1), epoch=1, now=START, lease=GATEWAY_LEASE) is not None
        assert write.claim(make_intent(2, position=1), epoch=1, now=START, lease=GATEWAY_LEASE) is None


def test_of_many_that_race_for_a_free_lease_one_has_it(shared_url: str, opened: Opener) -> None:
    racing = [opened(shared_url) for _ in range(4)]

    def take(number: int) -> int | None:
        taken = racing[number].leases.take(GATEWAY_LEASE, f"owner {number}", ttl_ms=60_000)
        return None if taken is None else taken.epoch

    with ThreadPoolExecutor(4) as pool:
        epochs = list(pool.map(take, range(4)))
    assert sorted(str(epoch) for epoch in epochs) == ["1", "None", "None", "None"]


def test_whoever_lost_the_lease_writes_nothing_any_more(shared_url: str, opened: Opener) -> None:
    old, new, reader = opened(shared_url), opened(shared_url), opened(shared_url)
    assert old.leases.take(GATEWAY_LEASE, "a", ttl_ms=0) is not None
    with old.write() as write:
        write.set_fact("by", "a")
    assert new.leases.take(GATEWAY_LEASE, "b", ttl_ms=60_000) is not None
    with pytest.raises(FencedError, match="epoch 1 is over, epoch 2 has taken its place"), old.write() as write:
        write.set_fact("by", "a again")
    with new.write() as write:
        assert write.fact("by") == "a"
    # Who never had a lease (the DTMS server, the API) is not fenced by it.
    with reader.write() as write:
        write.set_fact("by", "the server")


def test_the_server_reads_its_own_clock_whatever_the_host_says(postgres_url: str, opened: Opener, time: Time) -> None:
    time.ms = 1
    ledger = open_ledger(postgres_url, account=ACCOUNT, clock=lambda: Millis(1), lease_time=time)
    assert ledger.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000) is not None
    ledger.close()
    view = opened(postgres_url).leases.look(GATEWAY_LEASE)
    assert view is not None
    assert 50_000 < view.left_ms <= 60_000
    assert view.quiet_ms is not None
    assert 0 <= view.quiet_ms < 10_000


# ----- the holder, on a clock that is moved by hand


def test_the_terms_must_leave_time_for_a_send() -> None:
    assert LeaseTerms().window_ns == 4_000_000_000
    with pytest.raises(SettingsError, match=r"a lease of 12 s leaves no time to send; make it 13 s or longer"):
        LeaseTerms(ttl_s=12.0)


def test_a_holder_sends_until_the_longest_send_would_outlive_its_lease(
    ledgers: tuple[SqlLedger, SqlLedger], time: Time
) -> None:
    mine = holder(ledgers[0], time, "a")
    assert not mine.may_send()
    assert mine.hold()
    answers = []
    for at in (0, 399, 400, 999, 1_000):
        time.ms = 1_000_000 + at
        answers.append(mine.may_send())
    assert answers == [True, True, False, False, False]


def test_a_beat_prolongs_the_right_to_send(ledgers: tuple[SqlLedger, SqlLedger], time: Time) -> None:
    mine = holder(ledgers[0], time, "a")
    assert mine.hold()
    for _ in range(50):
        time.ms += 300
        mine.beat()
        assert mine.may_send()
    assert mine.epoch == 1


def test_a_lease_that_lapsed_while_nobody_wanted_it_is_taken_anew_with_a_new_epoch(
    ledgers: tuple[SqlLedger, SqlLedger], time: Time
) -> None:
    mine = holder(ledgers[0], time, "a")
    assert mine.hold()
    time.ms += 5_000
    mine.beat()
    assert not mine.may_send()
    assert mine.hold()
    assert (mine.epoch, mine.may_send()) == (2, True)


def test_a_new_owner_waits_until_nothing_of_the_old_one_can_arrive(
    ledgers: tuple[SqlLedger, SqlLedger], time: Time
) -> None:
    old, new = holder(ledgers[0], time, "a"), holder(ledgers[1], time, "b")
    assert old.hold()
    waited: list[int] = []
    while not new.hold():
        waited.append(time.ms - 1_000_000)
        assert not (old.may_send() and new.may_send())
        time.ms += 10
    # The lease (1 s), the longest send (0.5 s) and the settle time (0.5 s) after the old owner's last sign of life.
    assert time.ms - 1_000_000 == 2_000
    assert (new.epoch, new.may_send()) == (2, False)
    new.beat()
    assert new.hold()
    old.beat()
    with pytest.raises(
        FencedError, match=r"another gateway has taken the lease; this gateway \(epoch 1\) sends nothing"
    ):
        old.hold()
    assert (old.fenced, old.may_send()) == (True, False)


def test_a_restart_of_the_same_installation_waits_for_nothing(ledgers: tuple[SqlLedger, SqlLedger], time: Time) -> None:
    assert holder(ledgers[0], time, "a").hold()
    again = holder(ledgers[1], time, "a")
    assert again.hold()
    assert (again.epoch, again.may_send()) == (2, True)


def test_a_release_lets_the_next_one_in_at_once(ledgers: tuple[SqlLedger, SqlLedger], time: Time) -> None:
    place = Here()
    first = holder(ledgers[0], time, "a", place)
    assert first.hold()
    first.release()
    assert (place.released, first.may_send()) == (True, False)
    second = holder(ledgers[1], time, "b")
    assert second.hold()
    assert second.may_send()


@pytest.mark.parametrize("step_s", [-3_600.0, 3_600.0, 10 * 365 * 86_400.0])
def test_a_step_of_the_wall_clock_changes_no_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    wall = time_of_day.time
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    first, second = (open_ledger(url, account=ACCOUNT, clock=lambda: START) for _ in range(2))
    assert first.leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000) is not None
    before = first.leases.look(GATEWAY_LEASE)
    # The machine's clock of the day is the one thing here that no fake can stand for: the product must not read it.
    monkeypatch.setattr(time_of_day, "time", lambda: wall() + step_s)
    monkeypatch.setattr(time_of_day, "time_ns", lambda: int((wall() + step_s) * 1e9))
    after = second.leases.look(GATEWAY_LEASE)
    assert before is not None
    assert after is not None
    assert 0 < after.left_ms <= before.left_ms <= 60_000
    assert second.leases.take(GATEWAY_LEASE, "b", ttl_ms=60_000) is None
    assert first.leases.renew(GATEWAY_LEASE, "a", 1, ttl_ms=60_000)
    first.close()
    second.close()


def test_the_leases_time_is_the_boot_clocks() -> None:
    before = boot_ns() // 1_000_000
    told = machine_time()["lease_now"]
    assert isinstance(told, int)
    assert before <= told <= boot_ns() // 1_000_000


def test_a_lease_of_another_boot_is_renewed_for_nobody_and_claims_nothing(
    ledgers: tuple[SqlLedger, SqlLedger], time: Time
) -> None:
    assert ledgers[0].leases.take(GATEWAY_LEASE, "a", ttl_ms=60_000) is not None
    time.boot = "second boot"
    time.ms = 1_000  # a boot clock begins anew
    assert not ledgers[0].leases.renew(GATEWAY_LEASE, "a", 1, ttl_ms=60_000)


def test_another_boot_of_the_machine_ends_every_lease(ledgers: tuple[SqlLedger, SqlLedger], time: Time) -> None:
    assert holder(ledgers[0], time, "a").hold()
    time.boot, time.ms = "second boot", 5
    after = holder(ledgers[1], time, "b")
    assert after.hold()
    assert (after.epoch, after.may_send()) == (2, True)


def test_whoever_lost_its_place_sends_nothing_though_its_lease_still_runs(
    ledgers: tuple[SqlLedger, SqlLedger], time: Time
) -> None:
    place = Here()
    mine = holder(ledgers[0], time, "a", place)
    assert mine.hold()
    place.lost = FencedError("another gateway works on the ledger")
    with pytest.raises(FencedError, match="another gateway works on the ledger; this gateway"):
        mine.beat()
    assert not mine.may_send()
    with pytest.raises(FencedError):
        mine.hold()


def test_a_ledger_that_is_away_lets_the_right_run_out_and_come_back(
    ledgers: tuple[SqlLedger, SqlLedger], time: Time
) -> None:
    place = Here()
    mine = holder(ledgers[0], time, "a", place)
    assert mine.hold()
    place.lost = LedgerUnavailableError("away")
    time.ms += 600
    with pytest.raises(LedgerUnavailableError):
        mine.beat()
    assert not mine.may_send()
    place.lost = None
    mine.beat()
    assert (mine.may_send(), mine.epoch) == (True, 1)


def test_what_is_refused_for_want_of_a_lease_never_left(ledgers: tuple[SqlLedger, SqlLedger], time: Time) -> None:
    mine, broker = holder(ledgers[0], time, "a"), Sent()
    writes = LeasedWrites(broker, mine)
    assert mine.hold()
    assert writes.send(TIGHTEN, position=None, tag="one").outcome is Outcome.APPLIED
    time.ms += 400
    with pytest.raises(BrokerUnavailableError, match="not sent: the gateway's lease has ended or ends too soon"):
        writes.send(TIGHTEN, position=None, tag="two")
    assert broker.tags == ["one"]


@pytest.mark.posix
def test_boot_time_does_not_go_back_and_has_a_name() -> None:
    first, second = machine_time(), machine_time()
    assert int(str(second["lease_now"])) >= int(str(first["lease_now"]))
    assert first["lease_boot"] == second["lease_boot"] != ""


# ----- the place


HOLD_A_PLACE = """
import sys
from dtms.adapters.sql import open_ledger
ledger = open_ledger(sys.argv[1], account=sys.argv[2], clock=lambda: 0)
place = ledger.leases.place("gateway", sys.argv[3])
ttl = int(sys.argv[4])
if ttl:
    ledger.leases.take("gateway", sys.argv[3], ttl_ms=ttl)
print("held", flush=True)
sys.stdin.readline()
"""


def start(url: str, owner: str, ttl_ms: int = 0) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_PLACE, url, ACCOUNT, owner, str(ttl_ms)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate(timeout=30)


@pytest.mark.parametrize("role", ["gateway", "server", "api"])
def test_the_second_process_of_a_role_on_one_ledger_is_refused_and_told_who_has_it(
    shared_url: str, opened: Opener, role: str
) -> None:
    first, second = opened(shared_url), opened(shared_url)
    place = first.leases.place(role, "host-a/1")
    with pytest.raises(SettingsError, match=f"another {role} works on ledger .*; stop it, or give this one a ledger"):
        second.leases.place(role, "host-b/2")
    other = second.leases.place("another role", "host-b/2")
    place.release()
    second.leases.place(role, "host-b/2").release()
    other.release()


def test_a_killed_process_leaves_its_place(shared_url: str, opened: Opener) -> None:
    child = start(shared_url, "host-a/1")
    ledger = opened(shared_url)
    with pytest.raises(SettingsError, match="another gateway works"):
        ledger.leases.place("gateway", "host-b/2")
    end(child)
    _eventually(lambda: ledger.leases.place("gateway", "host-b/2")).release()


def _eventually(take: Callable[[], Place]) -> Place:
    """The server notices a closed socket within moments, not at once."""
    for _ in range(200):
        try:
            return take()
        except SettingsError:
            time_of_day.sleep(0.02)
    return take()


def test_a_stopped_gateway_keeps_its_place_as_long_as_its_lease_runs(postgres_url: str, opened: Opener) -> None:
    child = start(postgres_url, "host-a/1", ttl_ms=60_000)
    freeze(child.pid)
    with pytest.raises(SettingsError, match=r"another gateway works .*dtms gateway host-a/1"):
        opened(postgres_url).leases.place("gateway", "host-b/2")
    end(child)


def test_a_gateway_that_is_stopped_past_its_lease_loses_its_place(postgres_url: str, opened: Opener) -> None:
    child = start(postgres_url, "host-a/1", ttl_ms=1)
    freeze(child.pid)
    place = opened(postgres_url).leases.place("gateway", "host-b/2")
    place.ensure()
    place.release()
    end(child)


def test_a_lost_session_is_taken_again_and_one_that_another_took_is_lost_for_good(
    postgres_url: str, opened: Opener
) -> None:
    first, second = opened(postgres_url), opened(postgres_url)
    place = first.leases.place("server", "host-a/1")
    _cut_off(postgres_url, "dtms server host-a/1")
    place.ensure()
    with pytest.raises(SettingsError):
        second.leases.place("server", "host-b/2")
    _cut_off(postgres_url, "dtms server host-a/1")
    taken = second.leases.place("server", "host-b/2")
    with pytest.raises(FencedError, match=r"another server works on ledger .*; this one ends"):
        place.ensure()
    taken.release()
    place.release()


def test_a_restart_ends_the_session_that_its_own_dead_process_left(postgres_url: str, opened: Opener) -> None:
    left_behind = opened(postgres_url).leases.place("gateway", "host-a/1")
    place = opened(postgres_url).leases.place("gateway", "host-a/1")
    place.ensure()
    with pytest.raises(SettingsError):
        opened(postgres_url).leases.place("gateway", "host-b/2")
    left_behind.release()
    place.release()


def _cut_off(url: str, name: str) -> None:
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        assert admin.execute(sql, (name,)).fetchall() == [(True,)]


def test_a_place_in_a_servers_schema_is_another_place(postgres_url: str, opened: Opener) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("CREATE SCHEMA IF NOT EXISTS second_account")
    first = opened(postgres_url).leases.place("gateway", "host-a/1")
    elsewhere = opened(f"{postgres_url}&options=-csearch_path%3Dsecond_account", account="Demo:2")
    place = elsewhere.leases.place("gateway", "host-b/2")
    place.release()
    first.release()
    elsewhere.close()
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("DROP SCHEMA second_account CASCADE")


def test_a_row_that_somebody_else_holds_is_passed_over_instead_of_holding_up_everybody(
    postgres_url: str, opened: Opener, make_intent: MakeIntent
) -> None:
    ledger = opened(postgres_url)
    with ledger.write() as write:
        for number in (1, 2):
            write.add_intent(make_intent(number, position=number))
    held = make_intent(1, position=1)
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as person:
        person.execute("SELECT * FROM intents WHERE intent_id = %s FOR UPDATE", (held.intent_id,))
        with ledger.write() as write:
            assert write.claim(held, epoch=1, now=START) is None
            assert write.claim(make_intent(2, position=2), epoch=1, now=START) is not None
        person.rollback()
    with ledger.write() as write:
        assert write.claim(held, epoch=1, now=START) is not None
