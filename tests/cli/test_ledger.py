"""`dtms ledger`: backup, restore and renew, as an operator types them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dtms.adapters.sql import open_ledger
from dtms.domain.units import Millis

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ACCOUNT = "DTMS-Simulated:10000042"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger where the commands look for it, with something in it."""
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path / "data"))
    path = tmp_path / "data" / "ledger.sqlite3"
    made = open_ledger(f"sqlite:///{path}", account=ACCOUNT, clock=lambda: Millis(0), epoch="first")
    with made.write() as tx:
        tx.set_fact("x", "before")
        tx.add_audit(at=Millis(1), actor="test", what="began", trade_id=None, body="{}")
    made.close()
    return path


def fact(path: Path) -> str | None:
    made = open_ledger(f"sqlite:///{path}", account=ACCOUNT, clock=lambda: Millis(0), create=False)
    with made.read() as tx:
        found = tx.fact("x")
    made.close()
    return found


def write(path: Path, value: str) -> None:
    made = open_ledger(f"sqlite:///{path}", account=ACCOUNT, clock=lambda: Millis(0), create=False)
    with made.write() as tx:
        tx.set_fact("x", value)
    made.close()


def test_what_was_backed_up_is_what_is_restored(dtms: Command, ledger: Path) -> None:
    made = dtms("ledger", "backup", "monday.sqlite3", "--json")
    assert (made.code, made.answer["account"], made.answer["audit_links"]) == (0, ACCOUNT, 1)
    write(ledger, "after")
    back = dtms("ledger", "restore", "monday.sqlite3", "--json")
    assert back.code == 0
    assert back.answer["epoch"] != "first"
    assert (back.answer["audit_links"], back.answer["in_doubt"]) == (2, 0)
    assert fact(ledger) == "before"
    assert fact(Path(back.answer["replaced"])) == "after"
    assert "Next: start dtms. It compares the broker with the ledger before it sends anything" in back.err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("backup", "monday.sqlite3"), "ledger.sqlite3 does not exist; name the right data folder"),
        (("restore", "monday.sqlite3"), "backup monday.sqlite3 does not exist; name the file that"),
        (("renew",), "ledger.sqlite3 does not exist; name the right file"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_is_not_there_is_one_sentence(dtms: Command, command: tuple[str, ...], sentence: str) -> None:
    ended = dtms("ledger", *command)
    assert ended.code == 2
    assert sentence in ended.err
    assert "Traceback" not in ended.err


def test_a_ledger_is_not_replaced_under_a_running_gateway(dtms: Command, ledger: Path) -> None:
    assert dtms("ledger", "backup", "monday.sqlite3").code == 0
    running = open_ledger(f"sqlite:///{ledger}", account=ACCOUNT, clock=lambda: Millis(0))
    place = running.leases.place("gateway", "host-a/1")
    for command in (("restore", "monday.sqlite3"), ("renew",)):
        ended = dtms("ledger", *command)
        assert ended.code == 2
        assert "another gateway works on ledger" in ended.err
    place.release()
    running.close()
    assert fact(ledger) == "before"


def test_a_renewed_ledger_has_a_new_epoch_and_says_so_in_its_audit(dtms: Command, ledger: Path) -> None:
    ended = dtms("ledger", "renew", "--json")
    assert (ended.code, ended.answer["account"], ended.answer["in_doubt"]) == (0, ACCOUNT, 0)
    made = open_ledger(f"sqlite:///{ledger}", account=ACCOUNT, clock=lambda: Millis(0), create=False)
    assert made.epoch == ended.answer["epoch"] != "first"
    with made.read() as tx:
        assert [link.what for link in tx.audit()] == ["began", "ledger restored"]
    made.close()
