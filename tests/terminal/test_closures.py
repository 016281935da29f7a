"""A simulated broker with holidays and early closes of its own: no order passes, no level triggers, quotes as it is told."""

from __future__ import annotations

import pytest
from tests.app.rig import SYMBOL, Rig

from dtms.domain.units import MINUTE, Millis
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.closures import Closure


def closing(rig: Rig, minutes: int, *, quoted: bool, symbols: frozenset[str] = frozenset()) -> None:
    rig.sim.close(
        Closure(start=rig.clock.now, end=Millis(rig.clock.now + minutes * MINUTE), symbols=symbols, quoted=quoted)
    )


@pytest.mark.parametrize("quoted", [True, False])
def test_in_a_closure_no_order_passes_and_no_stop_triggers(*, quoted: bool) -> None:
    rig = Rig()
    position = rig.open(stop=1_990.0)
    closing(rig, 10, quoted=quoted)
    rig.wait(60)
    rig.price(1_980.0)
    done = rig.order(action=Mt5.TRADE_ACTION_SLTP, position=position.ticket, sl=1_985.0)
    assert done.retcode == Mt5.TRADE_RETCODE_MARKET_CLOSED
    assert rig.position(position.identifier) is not None
    assert rig.broker.quote(SYMBOL).bid == (1_980.0 if quoted else 2_000.0)
    rig.wait(540)
    rig.price(1_980.0)
    assert rig.position(position.identifier) is None


def test_a_closure_of_other_symbols_closes_only_those() -> None:
    rig = Rig()
    closing(rig, 10, quoted=False, symbols=frozenset({"EURUSD"}))
    rig.wait(1)
    rig.price(2_001.0)
    assert rig.open().entry == 2_001.2
