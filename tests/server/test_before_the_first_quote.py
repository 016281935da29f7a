"""A registration at a terminal that was just started: nothing can be told of the symbol yet, and the answer says so."""

from __future__ import annotations

from typing import Any

import pytest

from dtms_lab.terminal.traits import FRESH, Traits

ENABLE = "/dtms/trade/enable"
WAITS = "they come soon after the first question, or as its market opens; try again"


@pytest.mark.parametrize(
    ("traits", "s"),
    [
        (FRESH, 4),
        (Traits(history_after=0), 2),
        (Traits(last_ticks=True, quotes_after=0), 4),
        (Traits(last_ticks=True, history_after=0), 2),
        (Traits(history_after=60_000, history_first=1), 61),
    ],
    ids=["just started", "no quote yet", "no history yet", "a late quote", "a very late history"],
)
def test_a_registration_before_the_first_quotes_is_503_with_a_remedy_and_then_succeeds(
    make_world: Any, traits: Traits, s: int
) -> None:
    world = make_world(traits=traits)
    ticket = world.opened(stop=1.0901)
    before = world.written()

    told = world.ask("POST", ENABLE, world.order(ticket))

    assert (told.status, told.code, told.headers["retry-after"]) == (503, "not_ready", "1")
    assert WAITS in told.json["detail"]
    assert world.written() == before
    for _ in range(3):  # a second question for the rest, and as many looks as it takes to see the server's clock
        world.later(s)
        done = world.ask("POST", ENABLE, world.order(ticket))
    assert done.status in {200, 201}, done.body
    assert world.trade(ticket).is_open
