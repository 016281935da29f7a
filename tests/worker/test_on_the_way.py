"""The places that an order passes on its way to the child and back: what is surely true of it at each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtms.domain.action import Close
from dtms.domain.units import Ticket

if TYPE_CHECKING:
    from tests.worker.conftest import Bench


def test_an_order_has_not_left_at_sending_and_is_carried_out_at_answered(bench: Bench) -> None:
    passed: list[tuple[str, list[str]]] = []
    worker = bench.worker(
        on_carried=lambda method, place: passed.append((place, bench.orders())) if method == "send" else None
    )

    worker.send(Close(ticket=Ticket(1)), position=None, tag="tag1")

    assert [place for place, _ in passed] == ["sending", "delivered", "answered"]
    assert passed[0][1] == []
    assert passed[2][1] == ["tag1"]
