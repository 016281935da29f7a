"""A refusal that can be put another way costs no action: the required step is done at the broker, with the same order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.app.rig import Rig

from dtms.domain.trade import TradeState
from dtms.domain.units import Lots, Millis, Side
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec, Request

_S = TradeState
_NETTING = AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING, balance=100_000.0)


def _deal(request: Request) -> bool:
    return request.action == Mt5.TRADE_ACTION_DEAL and request.magic == 77


def filling(*modes: int) -> Callable[[Request], int | None]:
    return lambda request: 10030 if _deal(request) and request.type_filling in modes else None


def lifetime(request: Request) -> int | None:
    return 10022 if _deal(request) and request.type_time == Mt5.ORDER_TIME_GTC else None


def once(code: int) -> Callable[[Request], int | None]:
    """Refuse each order's first request."""
    seen: set[str] = set()

    def refuses(request: Request) -> int | None:
        if not _deal(request) or request.comment in seen:
            return None
        seen.add(request.comment)
        return code

    return refuses


_WAYS = {
    "ioc": filling(Mt5.ORDER_FILLING_IOC),
    "fok": filling(Mt5.ORDER_FILLING_FOK),
    "lifetime": lifetime,
    "requote": once(10004),
    "price changed": once(10020),
    "no price": once(10021),
    "invalid price": once(10015),
}


@pytest.mark.parametrize("account", [AccountSpec(), _NETTING], ids=["hedging", "netting"])
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("way", _WAYS)
def test_a_required_partial_is_done_although_its_first_request_was_refused(
    account: AccountSpec, side: Side, way: str
) -> None:
    rig = Rig(account=account)
    trade = rig.managed(side)
    rig.dealer.refuses = _WAYS[way]
    trade = rig.fall(trade, -2.0, -4.0)
    held = rig.position(trade.identifier)
    assert held is not None
    assert (trade.state, trade.volume, held.volume) == (_S.WARNING_L2, Lots(0.5), 0.5)
    assert rig.applied(AppliedKind.PARTIAL) == 1
    with rig.ledger.read() as tx:
        assert [record.fallbacks for record in tx.transitions(trade.trade_id)] == [(), ()]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("way", _WAYS)
def test_a_hedge_and_the_closing_of_everything_are_done_all_the_same(side: Side, way: str) -> None:
    rig = Rig()
    rig.dealer.refuses = _WAYS[way]
    trade = rig.hedged(side)
    assert (rig.applied(AppliedKind.OPEN), trade.legs[0].volume) == (2, Lots(0.25))
    assert trade.deadline is not None
    rig.clock.now = trade.deadline
    rig.price(2_000.0)
    rig.pass_time(20)
    assert (rig.broker.positions().positions, rig.trade(trade.ticket).state) == ((), _S.CLOSED)


def test_a_coarser_step_than_the_symbol_tells_costs_the_rest_and_not_the_reduction() -> None:
    rig = Rig()
    trade = rig.managed(volume=0.9)  # half of it is 0.45
    rig.dealer.refuses = lambda request: (
        10014 if _deal(request) and round(request.volume * 10, 6) != round(request.volume * 10) else None
    )
    trade = rig.fall(trade, -2.0, -4.0)
    rig.pass_time(90)
    held = rig.position(trade.identifier)
    assert held is not None
    assert (rig.trade(trade.ticket).state, held.volume) == (_S.WARNING_L2, 0.5)


def test_each_request_of_an_order_counts_in_the_days_budget_and_in_the_journal() -> None:
    rig = Rig()
    trade = rig.managed()
    rig.dealer.refuses = filling(Mt5.ORDER_FILLING_IOC)
    trade = rig.fall(trade, -2.0)
    before = rig.executor.gate.limits.today
    trade = rig.fall(trade, -4.0)
    partial = next(intent for intent in rig.intents(trade) if intent.rule == "defence.partial")
    assert partial.receipt is not None
    sent = sum(1 if i.receipt is None else i.receipt.tries for i in rig.intents(trade) if i.sent_at is not None)
    assert (partial.receipt.tries, rig.executor.gate.limits.today > before) == (2, True)
    rig.start(epoch=2)
    rig.executor.gate.limits.recall(Millis(rig.clock.now))
    assert rig.executor.gate.limits.today == sent


def test_a_restart_learns_the_filling_again_at_one_refused_request() -> None:
    rig = Rig()
    trade = rig.managed()
    rig.dealer.refuses = filling(Mt5.ORDER_FILLING_IOC)
    trade = rig.fall(trade, -2.0, -4.0)
    rig.writes.sender = type(rig.writes.sender)(rig.broker)
    rig.start(epoch=2)
    rig.next_bar()
    rig.turned(rig.trade(trade.ticket))
    rig.pass_time(20)
    assert (rig.broker.positions().positions, rig.trade(trade.ticket).state) == ((), _S.CLOSED)
