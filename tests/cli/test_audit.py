"""`dtms audit`: whether the chain is whole, told with an exit code, on both ledgers, and nothing is changed by looking."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.ledger.servers import emptied_postgres, empty_postgres, postgres_server

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.domain.units import Millis, TradeId

if TYPE_CHECKING:
    from tests.cli.conftest import Command

__all__ = ["emptied_postgres", "empty_postgres", "postgres_server"]

ACCOUNT = "Demo:1001"
LINKS = 5


@pytest.fixture(params=["file", "postgres"])
def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtms: Command
) -> Iterator[SqlLedger]:
    """A ledger with five links, named by the settings; made after `dtms`, which clears them."""
    del dtms
    if request.param == "postgres":
        make: Callable[[str], str] = request.getfixturevalue("emptied_postgres")
        url = make(ACCOUNT)
        monkeypatch.setenv("DTMS_LEDGER_URL", url)
    else:
        monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path))
        url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    found = open_ledger(url, account=ACCOUNT, clock=lambda: Millis(0))
    with found.write() as tx:
        for number in range(LINKS):
            tx.add_audit(
                at=Millis(number), actor="gateway", what="sent", trade_id=TradeId("1"), body=f'{{"n":{number}}}'
            )
    yield found
    found.close()


def tamper(ledger: SqlLedger, sql: str) -> None:
    with closing(ledger._backend.engine.raw_connection()) as pooled:
        connection: Any = pooled.driver_connection
        connection.execute(sql)
        connection.commit()


def test_a_whole_chain_ends_with_0_and_the_number_of_its_links(ledger: SqlLedger, dtms: Command) -> None:
    told, shown = dtms("audit", "verify", "--json"), dtms("audit", "verify")

    assert (told.code, told.answer) == (0, {"ok": True, "account": ACCOUNT, "links": LINKS})
    assert (shown.code, shown.out.strip()) == (0, f"the audit chain of {ACCOUNT} is whole: {LINKS} links")
    assert ledger.epoch


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("UPDATE audit SET body = '{}' WHERE seq = 3", "audit link 3 is not what was written"),
        ("DELETE FROM audit WHERE seq = 2", "audit link 2 is not what was written"),
        ("DELETE FROM audit WHERE seq > 3", "ends at link 3 instead of 5"),
    ],
    ids=["changed", "removed", "truncated"],
)
def test_a_damaged_chain_ends_with_1_and_names_the_first_bad_link_and_the_remedy(
    ledger: SqlLedger, dtms: Command, sql: str, sentence: str
) -> None:
    tamper(ledger, sql)

    told, shown = dtms("audit", "verify", "--json"), dtms("audit", "verify")

    assert (told.code, told.answer["ok"], told.answer["account"]) == (1, False, ACCOUNT)
    assert sentence in told.answer["error"]
    assert "compare with a backup and find out who wrote" in told.answer["error"]
    assert (shown.code, shown.out, sentence in shown.err) == (1, "", True)


def test_show_tells_the_newest_links_oldest_first(ledger: SqlLedger, dtms: Command) -> None:
    told = dtms("audit", "show", "--limit", "2", "--json")

    assert (told.code, [link["seq"] for link in told.answer["links"]]) == (0, [4, 5])
    assert told.answer["links"][0] == {
        "seq": 4,
        "at": "1970-01-01T00:00:00.003+00:00",
        "actor": "gateway",
        "what": "sent",
        "trade_id": "1",
        "body": '{"n":3}',
    }
    unknown = dtms("audit", "show", "--ticket", "9")
    assert (unknown.code, "ticket 9 was never managed" in unknown.err, ledger.epoch != "") == (4, True, True)


def test_without_a_ledger_it_ends_with_2_and_makes_none(dtms: Command, tmp_path: Path) -> None:
    ended = dtms("audit", "verify")

    assert (ended.code, "does not exist; name the right file, or set DTMS_DATA_DIR" in ended.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_ledger_is_named_and_left_alone(
    dtms: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path))
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"not a database" * 100)
    before = hashlib.sha256(path.read_bytes()).hexdigest()

    ended = dtms("audit", "verify")

    assert (ended.code, "is not a database or is damaged" in ended.err) == (2, True)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_control_characters_in_the_chain_are_written_out(ledger: SqlLedger, dtms: Command) -> None:
    with ledger.write() as tx:
        tx.add_audit(at=Millis(9), actor="person", what="said", trade_id=None, body="\x1b[2Jall is well\x9b1m\u202e")

    told, shown = dtms("audit", "show", "--limit", "1", "--json"), dtms("audit", "show", "--limit", "1")

    assert told.answer["links"][0]["body"] == "\x1b[2Jall is well\x9b1m\u202e"
    assert "\\u001b[2Jall is well\\u009b1m\\u202e" in shown.out
    assert all(character.isprintable() or character == "\n" for character in shown.out + told.out)
