"""What one seed is: account, policy, start, and a random subset of all troubles at random intensities.

Source:
    Groce et al., Swarm Testing (ISSTA 2012): leaving features out at random finds more than turning all of them on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Final

from dtms.domain.instrument import AssetClass
from dtms.domain.policy import DefencePolicy, MachinePolicy, OperationPolicy, Policy, RailsPolicy
from dtms.domain.policy.exits import DEFAULT_PROFILE, ExitPolicy, ExitProfile
from dtms.domain.units import MINUTE, Millis, from_utc
from dtms_lab.drill.broker_faults import broker_plan
from dtms_lab.drill.instruments import CURRENCIES, LISTINGS, Listing, dealt
from dtms_lab.drill.kinds import Kind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.closures import Closure
from dtms_lab.terminal.fault_plan import FaultPlan
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.server_time import NEW_YORK_PLUS_7
from dtms_lab.terminal.traits import RUNNING, Traits

_TUESDAY = from_utc(datetime(2025, 6, 17, 12, 0, tzinfo=UTC))
_BEFORE_OVERLAP = from_utc(datetime(2025, 6, 17, 12, 50, tzinfo=UTC))
_BEFORE_BREAK = from_utc(datetime(2025, 6, 17, 20, 20, tzinfo=UTC))
_FRIDAY = from_utc(datetime(2025, 6, 20, 20, 5, tzinfo=UTC))
_CLOSING = from_utc(datetime(2025, 6, 20, 20, 33, tzinfo=UTC))
_WINDOW = from_utc(datetime(2025, 6, 20, 20, 50, tzinfo=UTC))
"""Ten minutes before gold and currencies close for the weekend."""
_EARLIER_FRIDAY = from_utc(datetime(2025, 6, 20, 18, 30, tzinfo=UTC))

_CHANGES: Final = tuple(
    from_utc(datetime(year, month, day, hour, minute, tzinfo=UTC))
    for year, month, day, hour, minute in (
        (2025, 3, 9, 21, 5),  # the first evening of New York's summer time; London's begins three weeks later
        (2025, 3, 14, 20, 5),  # a Friday between the two
        (2025, 3, 28, 20, 5),  # the last Friday before London's
        (2025, 3, 30, 21, 5),
        (2025, 10, 26, 21, 5),  # London has ended its summer time, New York not
        (2025, 10, 31, 20, 5),
        (2025, 11, 2, 22, 5),
        (2025, 12, 31, 23, 30),  # the year ends within the run
    )
)
_NIGHTS: Final = tuple(
    from_utc(datetime(2025, month, day, hour, 40, tzinfo=UTC))
    for month, day, hour in ((3, 9, 6), (3, 30, 0), (10, 26, 0), (11, 2, 5))
)
"""Twenty minutes before the clocks change in New York or London: Sundays, on which coins are traded alone."""

_RATES: Final[Mapping[Kind, tuple[float, float]]] = {
    Kind.WALL_JUMP: (0.002, 0.02),
    Kind.SUSPEND: (0.001, 0.006),
    Kind.REBOOT: (0.001, 0.005),
    Kind.READS_LOST: (0.002, 0.03),
    Kind.READS_CUT: (0.002, 0.01),
    Kind.DTMS_LOST: (0.02, 0.3),
    Kind.DTMS_REPLY_LOST: (0.02, 0.3),
    Kind.DTMS_SLOW: (0.01, 0.1),
    Kind.DTMS_GARBLED: (0.02, 0.3),
    Kind.DTMS_CUT: (0.002, 0.02),
    Kind.FEED_GAP: (0.005, 0.05),
    Kind.LEDGER_BUSY: (0.002, 0.02),
    Kind.LEDGER_FULL: (0.002, 0.02),
    Kind.LEDGER_TORN: (0.002, 0.02),
    Kind.POWER_LOSS: (0.0002, 0.002),
    Kind.CRASH_GATEWAY: (0.0005, 0.008),
    Kind.CRASH_SERVER: (0.0005, 0.004),
    Kind.CRASH_API: (0.0005, 0.004),
    Kind.CRASH_LOOP: (0.05, 0.5),
    Kind.PAUSE: (0.002, 0.02),
    Kind.RACE: (0.01, 0.1),
    Kind.ZOMBIE: (0.004, 0.03),
    Kind.HAND_STOP: (0.005, 0.03),
    Kind.HAND_TARGET: (0.003, 0.02),
    Kind.HAND_PARTIAL: (0.002, 0.01),
    Kind.HAND_CLOSE: (0.001, 0.006),
    Kind.HAND_HEDGE_CLOSED: (0.01, 0.1),
    Kind.HAND_TRAILING: (0.005, 0.03),
    Kind.HAND_CLOSE_BY: (0.01, 0.1),
    Kind.FOREIGN: (0.002, 0.01),
    Kind.OUR_MAGIC: (0.002, 0.01),
    Kind.MONEY: (0.005, 0.03),
    Kind.KILL_SWITCH: (0.002, 0.012),
    Kind.RELEASE: (0.001, 0.005),
    Kind.REPEATED: (0.1, 0.5),
    Kind.EXITS: (0.005, 0.02),
    Kind.MARGIN: (0.001, 0.01),
    Kind.SLOW_CALL: (0.001, 0.02),
    Kind.CONTRACT: (0.001, 0.01),
    Kind.CORRECTED: (0.0005, 0.005),
    Kind.RENAMED: (0.0005, 0.003),
    Kind.RENUMBERED: (0.0005, 0.003),
    Kind.BAD_TICK: (0.002, 0.02),
    Kind.GAP: (0.002, 0.02),
    Kind.SPREAD: (0.002, 0.02),
    Kind.SILENCE: (0.002, 0.01),
}
"""The least and greatest share of opportunities of each kind."""

_CALM_SHARE: Final = 0.05
"""Of the seeds, without any trouble at all."""
_HOLIDAY_SHARE: Final = 0.2
"""Of the seeds, with a closure of the broker's own."""
_ON_NETTING: Final = 0.01
"""The least share of steps in which others deal on a netting account."""
_MOST_TRADES: Final = (3, 3, 3, 3, 3, 8, 20)
"""Positions that the operator holds at most."""
_CHANGE_SHARE: Final = 0.2
"""Of the others, around a change of summer time or at the year's end."""
_CLOSING_SHARE: Final = 0.12
"""Of the seeds, with trades that are hedged when the market closes for the weekend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPlan:
    """One seed, complete: the same plan gives the same run."""

    seed: int
    steps: int
    start: Millis
    account: AccountSpec
    listings: tuple[Listing, ...]
    policy: Policy
    rates: Mapping[Kind, float]
    broker: FaultPlan
    deep_until: Millis | None = None
    closures: tuple[Closure, ...] = ()
    most_trades: int = 3
    traits: Traits = RUNNING

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the broker's names of what is traded."""
        return tuple(listing.name for listing in self.listings)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the names of all kinds of trouble in it."""
        return (*(kind.value for kind in self.rates), *self.broker.names)

    def without(self, name: str) -> SeedPlan:
        """Return the plan without one kind of trouble."""
        rates = {kind: rate for kind, rate in self.rates.items() if kind.value != name}
        return replace(self, rates=rates, broker=self.broker.without(name))

    def only(self, names: Sequence[str]) -> SeedPlan:
        """Return the plan with these kinds of trouble and no others."""
        plan = self
        for name in self.kinds:
            if name not in names:
                plan = plan.without(name)
        return plan

    def shortened(self, steps: int) -> SeedPlan:
        """Return the plan with another number of steps."""
        return replace(self, steps=steps)


def make_plan(seed: int, steps: int) -> SeedPlan:
    """Return the plan of a seed; its terminal's traits are drawn apart, so that the rest stays what it was."""
    return replace(_plan(seed, steps), traits=_traits(Random(f"{seed}:terminal")))  # noqa: S311 - a drill


def _traits(stream: Random) -> Traits:
    """Return what the terminal is like: as it is just after its start, of brokers of several kinds."""
    return Traits(
        quotes_after=stream.choice((0, 500, 3_000)),
        history_after=stream.choice((0, 2_000, 20_000, 90_000)),
        history_first=stream.choice((1, 60, 2_000)),
        last_ticks=stream.choice((True, False)),
        watches_positions=stream.choice((True, False)),
        zone=stream.choice((NEW_YORK_PLUS_7, NEW_YORK_PLUS_7, "Europe/Athens", "UTC")),
    )


def _plan(seed: int, steps: int) -> SeedPlan:
    stream = Random(f"{seed}:plan")  # noqa: S311 - a drill, no secret
    account = _account(stream)
    names = stream.sample(tuple(LISTINGS), stream.choice((1, 1, 2)) if account.hedging else 3)
    listings = tuple(dealt(LISTINGS[name], stream) for name in names)
    policy = _policy(stream)
    calm = stream.random() < _CALM_SHARE
    rates = {} if calm else _rates(stream, account)
    broker = FaultPlan(seed=seed) if calm else broker_plan(seed, stream, policy.operation.settle_s)
    if stream.random() < _CLOSING_SHARE:
        machine = replace(policy.machine, before_close_minutes=10.0, no_hedge_before_close_minutes=1.0, grace_s=0.0)
        return SeedPlan(
            seed=seed,
            steps=steps,
            start=Millis(_CLOSING + stream.randrange(0, 6) * MINUTE),
            account=AccountSpec(balance=1_000_000.0),
            listings=(LISTINGS[stream.choice(("XAUUSD", "EURUSD"))],),
            policy=replace(
                policy,
                machine=replace(machine, dwell_bars=1, hedged_minutes=75.0),
                defence=replace(policy.defence, defence="hedge"),
                rails=RailsPolicy(day_loss=0.5, hour_loss=0.5, losing_trades=50),
            ),
            rates=rates,
            broker=broker,
            deep_until=Millis(_WINDOW - stream.choice((0, MINUTE))),
        )
    start = stream.choice((_TUESDAY, _TUESDAY, _BEFORE_OVERLAP, _BEFORE_BREAK, _FRIDAY, _EARLIER_FRIDAY))
    if stream.random() < _CHANGE_SHARE:
        coins = all(each.spec.asset is AssetClass.CRYPTO for each in listings)
        start = stream.choice(_NIGHTS if coins else _CHANGES)
    return SeedPlan(
        seed=seed,
        steps=steps,
        start=Millis(start + stream.randrange(0, 10) * MINUTE),
        account=account,
        listings=listings,
        policy=policy,
        rates=rates,
        broker=broker,
        closures=() if calm else _closures(stream, start, listings),
        most_trades=stream.choice(_MOST_TRADES),
    )


def _closures(stream: Random, start: Millis, listings: Sequence[Listing]) -> tuple[Closure, ...]:
    """Return the broker's own holidays and early closes of one seed, which stand in no calendar."""
    if stream.random() >= _HOLIDAY_SHARE:
        return ()
    begins = start + stream.randrange(3, 40) * MINUTE
    some = frozenset({stream.choice(listings).name}) if stream.random() < 0.5 else frozenset[str]()  # noqa: PLR2004
    length = stream.choice((4, 20, 120)) * MINUTE
    quoted = stream.random() < 0.3  # noqa: PLR2004 - a share
    return (Closure(start=Millis(begins), end=Millis(begins + length), symbols=some, quoted=quoted),)


def _rates(stream: Random, account: AccountSpec) -> dict[Kind, float]:
    share = stream.choice((0.15, 0.3, 0.5))
    rates: dict[Kind, float] = {}
    for kind, (low, high) in _RATES.items():
        chosen, rate = stream.random() < share, low * (high / low) ** stream.random()
        if chosen:
            rates[kind] = rate
    if not account.hedging:  # whoever deals on the symbol changes our position
        rates[Kind.FOREIGN] = max(_ON_NETTING, rates.get(Kind.FOREIGN, 0.0))
    return rates


def _account(stream: Random) -> AccountSpec:
    kind = stream.choice(("hedging",) * 7 + ("netting", "fifo", "prohibited"))
    balance = stream.choice((1_000_000.0, 1_000_000.0, 200_000.0))
    currency = stream.choice(("USD", "USD", *CURRENCIES))
    worth, digits = CURRENCIES[currency]
    account = AccountSpec(balance=balance * worth, currency=currency, currency_digits=digits)
    if kind == "netting":
        return replace(account, margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)
    if kind == "fifo":
        return replace(account, fifo_close=True)
    return replace(account, hedge_prohibited=kind == "prohibited")


def _policy(stream: Random) -> Policy:
    pick = stream.choice
    exits = ExitPolicy(
        profiles=(
            (DEFAULT_PROFILE, ExitProfile(trail_every_s=pick((5.0, 30.0)))),
            ("early", ExitProfile(breakeven_r=0.2, partial_r=0.4, partial_share=0.33, trail_every_s=5.0)),
            ("short", ExitProfile(breakeven_r=0.4, max_age=True, max_age_hours=pick((0.2, 0.5)))),
            ("stall", ExitProfile(breakeven_r=0.6, stall=True, stall_bars=3, stall_r=0.3)),
        ),
        default_profile=pick((DEFAULT_PROFILE, "early")),
    )
    return Policy(
        machine=MachinePolicy(
            dwell_bars=pick((1, 2)),
            grace_bars=pick((0, 1, 3)),
            grace_s=pick((0.0, 60.0, 180.0)),
            l1_minutes=pick((3.0, 6.0, 150.0)),
            l2_minutes=pick((3.0, 6.0, 120.0)),
            hedged_minutes=pick((3.0, 6.0, 75.0)),
            recovering_minutes=pick((2.0, 5.0, 30.0)),
            before_close_minutes=pick((10.0, 30.0)),
            no_hedge_before_close_minutes=pick((1.0, 15.0, 120.0)),
        ),
        defence=DefencePolicy(
            defence=pick(("hedge", "hedge", "hedge", "reduce")),
            small_lot=pick(("skip", "close_all")),
            re_add=pick(("off", "on")),
            by_hand=pick(("floor", "floor", "yield", "reassert", "ask")),
        ),
        rails=RailsPolicy(
            day_loss=pick((0.02, 0.5)),
            hour_loss=pick((0.01, 0.5)),
            losing_trades=pick((3, 50)),
        ),
        exits=exits,
        operation=OperationPolicy(settle_s=pick((3.0, 10.0))),
    )


def with_spread(policy: Policy, listing: Listing) -> Policy:
    """Return the policy of one symbol: it knows the usual spread."""
    return replace(policy, spread_typical=listing.spec.spread_typical)
