"""`dtms kill` with every service down: the file and the ledger alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from dtms.adapters.clocks import wall_ms
from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.app.modes.kill_switch import KillSource, kill_state
from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.verdict import KillLevel

ACCOUNT = "demo:1"
WORDS = {"pause": KillLevel.PAUSE, "protect-only": KillLevel.PROTECT_ONLY, "flatten": KillLevel.FLATTEN}


@pytest.fixture
def ledger(dtms: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlLedger]:
    """The installation's ledger; no service runs."""
    assert callable(dtms)
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path))
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    monkeypatch.setenv("DTMS_LEDGER_URL", url)
    made = open_ledger(url, account=ACCOUNT, clock=wall_ms)
    yield made
    made.close()


def level(ledger: SqlLedger) -> str | None:
    with ledger.read() as tx:
        return tx.fact(KILL_FACT)


@pytest.mark.parametrize("word", list(WORDS))
def test_each_level_is_pressed_and_let_go_with_no_service_alive(
    ledger: SqlLedger, dtms: Command, tmp_path: Path, word: str
) -> None:
    pressed = dtms("kill", word, "--json")
    assert (pressed.code, pressed.answer["file"], level(ledger)) == (0, WORDS[word], WORDS[word])
    assert (tmp_path / "kill-switch").read_text().splitlines()[1].endswith("(dtms kill)")
    with ledger.read() as tx:
        assert kill_state(tx).source is KillSource.REQUEST
    let_go = dtms("kill", "release")
    assert (let_go.code, let_go.out.splitlines()[:2]) == (0, ["file: none", "ledger: not pressed"])
    assert (level(ledger), (tmp_path / "kill-switch").exists()) == (None, False)


def test_who_pressed_and_who_let_go_stand_in_the_audit_and_are_alerted(ledger: SqlLedger, dtms: Command) -> None:
    pressed, let_go = dtms("kill", "pause"), dtms("kill", "release")
    with ledger.read() as tx:
        told = [(each.what, json.loads(each.body)["level"], "(dtms kill)" in each.actor) for each in tx.audit()]
    assert told == [("kill_switch_pressed", "pause", True), ("kill_switch_released", "pause", True)]
    assert ("pressed by" in pressed.err, "let go of by" in let_go.err) == (True, True)


def test_release_lets_go_of_what_another_has_pressed(ledger: SqlLedger, dtms: Command) -> None:
    with ledger.write() as tx:
        tx.set_fact(KILL_FACT, "flatten")
    assert dtms("kill", "release").code == 0
    assert level(ledger) is None


def test_without_a_ledger_the_file_is_written_all_the_same(
    dtms: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path))
    ended = dtms("kill", "flatten")
    assert (ended.code, ended.out) == (0, "file: flatten\n")
    assert "the gateway takes the file over" in ended.err
    assert dtms("kill", "release").code == 3
    assert not (tmp_path / "kill-switch").exists()


def test_a_file_that_cannot_be_written_leaves_the_ledger_to_hold_it(
    ledger: SqlLedger, dtms: Command, tmp_path: Path
) -> None:
    (tmp_path / "kill-switch").mkdir()
    ended = dtms("kill", "pause")
    assert (ended.code, level(ledger)) == (0, "pause")
    assert "pressed in the ledger alone" in ended.err


def test_what_is_pressed_is_shown(ledger: SqlLedger, dtms: Command) -> None:
    assert level(ledger) is None
    dtms("kill", "protect-only")
    first, second, third = dtms("kill").out.splitlines()
    assert (first, third) == (
        "file: protect_only",
        "open: 0 managed, 0 in dtms's name and not managed, an unknown number of others",
    )
    assert second.startswith("ledger: protect_only, pressed by ")


def test_pressing_where_no_dtms_works_says_where_to_look_and_makes_nothing(
    dtms: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "elsewhere"
    monkeypatch.setenv("DTMS_DATA_DIR", str(folder))
    ended = dtms("kill", "flatten")
    assert (ended.code, folder.exists()) == (2, False)
    assert f"there is no folder {folder}, so no dtms works on it" in ended.err
    assert "set DTMS_DATA_DIR to the data folder of the running dtms" in ended.err
