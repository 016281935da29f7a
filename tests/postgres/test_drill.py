"""`dtms drill simulate` on a PostgreSQL server: the same seeds come to the same as on SQLite, and nothing is left behind."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from tests.drill.planted import omit_the_target, planted

from dtms.adapters.sql.statements import REVISION
from dtms.cli.main import main
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms_lab.drill.batch import run_drill
from dtms_lab.drill.disk import MemoryDisk, NewDisk
from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.portions import appending, read_portions
from dtms_lab.drill.server_disk import ServerDisks, disks, own_databases

_STEPS = 200
ACCOUNT = "Demo:1001"


@pytest.fixture(scope="module")
def server_url(postgres_server: Callable[[str], str]) -> str:
    return postgres_server("postgres")


def _databases(server_url: str) -> list[str]:
    with psycopg.connect(server_url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'dtms_drill%'").fetchall()
    return [str(name) for (name,) in found]


@pytest.fixture
def new_disk(server_url: str) -> Iterator[NewDisk]:
    with disks(server_url) as made:
        yield made


@pytest.mark.parametrize(
    ("seed", "kinds"), [(51, (Kind.LEDGER_FULL, Kind.LEDGER_TORN, Kind.LEDGER_BUSY)), (47, (Kind.POWER_LOSS,))]
)
def test_the_same_seed_comes_to_the_same_on_both_ledgers(server_url: str, seed: int, kinds: tuple[Kind, ...]) -> None:
    on_server, in_memory = (
        run_drill(seeds=1, steps=_STEPS, first_seed=seed, ledger_url=url) for url in (server_url, None)
    )
    assert on_server.failed == ()
    assert on_server.results == in_memory.results  # with the hash over each transition and each order
    struck = on_server.as_json()["faults_by_kind"]
    assert [kind for kind in kinds if not struck.get(kind)] == []
    assert _databases(server_url) == []


def test_a_power_cut_ends_every_session_and_loses_no_commit(server_url: str) -> None:
    with own_databases(server_url, 1) as (url,), closing(ServerDisks(url)) as made:
        disk = made(ACCOUNT, lambda: Millis(1))
        before = disk.ledger
        with before.write() as tx:
            tx.set_fact("drill", "kept")
        writer = psycopg.connect(url.replace("+psycopg", ""))
        writer.execute("UPDATE facts SET value = 'begun'")
        assert disk.cut() is False
        with disk.ledger.read() as view:
            assert view.fact("drill") == "kept"
        with pytest.raises(psycopg.errors.AdminShutdown):
            writer.commit()
        with pytest.raises(LedgerUnavailableError):
            before.revision()
        disk.close()


def test_each_seed_finds_an_empty_ledger_of_its_own_account(new_disk: NewDisk) -> None:
    first = new_disk(ACCOUNT, lambda: Millis(1))
    with first.ledger.write() as tx:
        tx.set_fact("drill", "of the first")
    assert first.rows(REVISION) != [(0,)]
    first.close()
    second = new_disk("Demo:2002", lambda: Millis(1))
    assert second.rows(REVISION) == [(0,)]
    assert second.ledger.epoch == MemoryDisk(ACCOUNT, lambda: Millis(1)).ledger.epoch
    with second.ledger.read() as view:
        assert view.fact("drill") is None
    second.close()


def _answer(
    patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[object, dict[str, Any]]:
    """Return the exit code of `dtms drill simulate` and its last line."""
    patch.setattr(sys, "argv", ["dtms", "drill", "simulate", *words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_command_says_on_which_ledger_and_leaves_no_database(
    server_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--seeds", "1", "--steps", "20", "--jobs", "1", "--ledger-url", server_url)
    code, answer = _answer(monkeypatch, capsys, *words)
    assert (code, answer["ledger"], answer["seeds"], answer["violations"]) == (0, "postgresql", 1, 0)
    assert _databases(server_url) == []


def test_what_repeats_a_broken_law_names_the_server(
    server_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--seeds", "1", "--steps", "300", "--first-seed", "20000", "--no-shrink", "--ledger-url", server_url)
    with planted(omit_the_target):
        code, answer = _answer(monkeypatch, capsys, *words)
        (command,) = answer["repeat"]
        again_code, again = _answer(monkeypatch, capsys, *shlex.split(command)[3:])
    assert make_url(shlex.split(command)[-1]) == make_url(server_url)
    assert (code, again_code) == (1, 1)
    assert answer["violated"][0]["law"] == again["violated"][0]["law"] == "I6 target kept"
    assert _databases(server_url) == []


def test_results_of_one_ledger_are_not_taken_for_the_other(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    with appending(file, commit="aaa", steps=_STEPS):
        pass
    with pytest.raises(SettingsError, match="on sqlite, this is commit aaa with 200 steps on postgresql"):
        read_portions(file, commit="aaa", steps=_STEPS, ledger="postgresql")


def test_databases_are_dropped_where_the_drill_fails(server_url: str) -> None:
    with pytest.raises(KeyError), own_databases(server_url, 2):  # noqa: PT012 - what fails is the block
        assert len(_databases(server_url)) == 2
        raise KeyError
    assert _databases(server_url) == []


@pytest.mark.parametrize("url", ["sqlite:///ledger.sqlite3", "no url"])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="--ledger-url"), disks(url):
        pass


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(LedgerUnavailableError, match=r"nobody:\*\*\*@127\.0\.0\.1:1/x") as found:  # noqa: SIM117
        with disks("postgresql://nobody:secret@127.0.0.1:1/x"):
            pass
    assert "secret" not in str(found.value)
