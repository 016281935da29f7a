"""The audit chain shows what was changed behind its back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from dtms.adapters.sql import SqlLedger, verify_chain
from dtms.adapters.sql.audit import digest
from dtms.domain.units import Millis, TradeId
from dtms.errors import LedgerError

Opener = Callable[..., SqlLedger]


def add(ledger: SqlLedger, count: int) -> None:
    with ledger.write() as write:
        for number in range(count):
            write.add_audit(
                at=Millis(number),
                actor="gateway",
                what="sent",
                trade_id=TradeId("1") if number % 2 else None,
                body="{}",
            )


def tamper(ledger: SqlLedger, sql: str) -> None:
    with closing(ledger._backend.engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert connection is not None
        connection.execute(sql)


def test_an_untouched_chain_verifies(ledger: SqlLedger) -> None:
    assert verify_chain(ledger) == 0
    add(ledger, 3)
    add(ledger, 1_001)
    assert verify_chain(ledger) == 1_004


def test_links_come_in_order_each_over_the_one_before(ledger: SqlLedger) -> None:
    add(ledger, 3)
    with ledger.read() as read:
        links = read.audit()
        assert [(link.seq, link.at, link.actor, link.what, link.trade_id, link.body) for link in links] == [
            (1, 0, "gateway", "sent", None, "{}"),
            (2, 1, "gateway", "sent", "1", "{}"),
            (3, 2, "gateway", "sent", None, "{}"),
        ]
        assert len({link.digest for link in links}) == 3
        assert read.audit(after=1, limit=1) == links[1:2]


def test_a_block_that_raised_leaves_no_link(ledger: SqlLedger) -> None:
    add(ledger, 1)

    def interrupted() -> None:
        with ledger.write() as write:
            write.add_audit(at=Millis(1), actor="a", what="w", trade_id=None, body="{}")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    add(ledger, 1)
    assert verify_chain(ledger) == 2


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("UPDATE audit SET body = '{\"x\":1}' WHERE seq = 3", "audit link 3 is not what was written"),
        ("UPDATE audit SET at = at + 1 WHERE seq = 1", "audit link 1 is not what was written"),
        ("UPDATE audit SET trade_id = '2' WHERE seq = 2", "audit link 2 is not what was written"),
        ("DELETE FROM audit WHERE seq = 2", "audit link 2 is not what was written"),
        ("DELETE FROM audit WHERE seq > 3", "ends at link 3 instead of 5"),
        ("DELETE FROM audit", "ends at link 0 instead of 5"),
        (
            "INSERT INTO audit (seq, at, actor, what, trade_id, body, digest) VALUES (6, 0, 'a', 'w', NULL, '{}', 'x')",
            "audit link 6 is not what was written",
        ),
    ],
)
def test_a_link_that_was_changed_removed_or_inserted_shows(ledger: SqlLedger, sql: str, sentence: str) -> None:
    add(ledger, 5)
    tamper(ledger, sql)
    with pytest.raises(LedgerError, match=sentence):
        verify_chain(ledger)


def test_a_link_that_was_forged_with_its_digest_breaks_the_next(ledger: SqlLedger) -> None:
    add(ledger, 4)
    with ledger.read() as read:
        first, second, *_ = read.audit()
    forged = digest(first.digest, seq=2, at=second.at, actor="nobody", what="sent", trade_id=second.trade_id, body="{}")
    tamper(ledger, f"UPDATE audit SET actor = 'nobody', digest = '{forged}' WHERE seq = 2")  # noqa: S608 - ours
    with pytest.raises(LedgerError, match="audit link 3 is not what was written"):
        verify_chain(ledger)


def test_the_newest_links_are_verified_from_the_one_before_them(ledger: SqlLedger) -> None:
    add(ledger, 1_500)
    tamper(ledger, "UPDATE audit SET body = 'x' WHERE seq = 400")
    assert verify_chain(ledger, newest=1_000) == 1_500
    with pytest.raises(LedgerError, match="audit link 400 is not what was written"):
        verify_chain(ledger)
    with pytest.raises(LedgerError, match="audit link 400 is not what was written"):
        verify_chain(ledger, newest=5_000)


@pytest.mark.parametrize("seq", [500, 501, 1_499, 1_500])
def test_a_removed_link_among_the_newest_shows_and_so_does_the_one_before_them(ledger: SqlLedger, seq: int) -> None:
    add(ledger, 1_500)
    tamper(ledger, f"DELETE FROM audit WHERE seq = {seq}")  # noqa: S608 - a number of the test's own
    with pytest.raises(LedgerError):
        verify_chain(ledger, newest=1_000)
