"""The trade machine under a market and a broker that do what they like, at this folder's sizes.

The machine itself, with its laws (declared rows only, CLOSED absorbs, the version never falls, no stop loosens without a
grant, no more closed than was opened, one hedge), stands with the tests of the core.
"""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test
from tests.core_machine.bench import make_trade
from tests.core_machine.test_laws import Defence
from tests.machines.sizes import sized

from dtms.core import settle
from dtms.domain.trade import TradeState


class Watched(Defence):
    """The same, and what was closed stays as it was."""

    def teardown(self) -> None:
        if hasattr(self, "trade") and self.trade.state is TradeState.CLOSED:
            assert settle.present_step(self.trade, self.snap.now) is None


def test_whatever_market_and_broker_do_the_trade_keeps_its_laws() -> None:
    run_state_machine_as_test(Watched, settings=sized(60, 50))


@pytest.mark.parametrize("state", [state for state in TradeState if state is not TradeState.CLOSED])
def test_every_open_state_is_a_start_of_the_machine(state: TradeState) -> None:
    assert make_trade(state).is_open
