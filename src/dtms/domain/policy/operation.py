"""The numbers of carrying out: waits, windows and limits of gateway and services (reliability.md section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dtms.domain.policy import checks

_LEDGER: Final = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPolicy:
    """How intents are carried out and settled.

    Attributes:
        settle_s: An unknown outcome is "not applied" at the earliest so long after it was sent.
        quarantine_s: An outcome that is unknown so long is quarantined and the operator called.
        priced_expiry_s: An intent whose target came from a price is cancelled when so old.
        deals_s: A position that is gone without closing deals for so long is quarantined.
        naked_alarm_s: A managed position without a stop for so long raises the alarm.
        hedge_missing_s: Wait between the two clean reads that prove a hedge or its parent gone.
        dtms_unreachable: What the exit manager believes where DTMS is silent: `not_defensive`, or what the `ledger` has.
        account_commission_per_lot: Account currency per lot for opening and closing together, where deals do not tell.
        sends_per_second: Orders an account may send within a second; more wait.
        sends_per_day: Orders an account may send within a day, UTC; more wait. The kill switch's closings are not counted.
        protective_share: Share of both budgets, and of the next two, that only what protects may use.
        sends_per_trade_hour: Orders for one trade within an hour; more wait. Full closes that protect are not counted.
        refusals_per_hour: Orders of one trade and purpose that the broker may refuse within an hour; more wait.
        max_lots_per_action: An action that adds risk is refused above so many lots.
        max_lots_account: An action that adds risk is refused where the account would then hold more lots, both sides added.
        max_planned: More actions than this waiting to be sent raise an alarm.
        max_lag_s: An action that waits longer than this raises an alarm; at a reopening closes wait for ten minutes.
        backoff_first_s: After "too many requests" the first wait is random and at most so long; each next one doubles.
        backoff_most_s: The longest such wait.
        breaker_rejects: So many refusals for good running, of different decisions, open the breaker.
        breaker_cooldown_s: An open breaker lets a probe through after so long.
    """

    settle_s: float = 10.0
    quarantine_s: float = 60.0
    priced_expiry_s: float = 60.0
    deals_s: float = 60.0
    naked_alarm_s: float = 2.0
    hedge_missing_s: float = 2.0
    dtms_unreachable: str = "not_defensive"
    account_commission_per_lot: float = 0.0
    sends_per_second: float = 20.0
    sends_per_day: int = 2_000
    protective_share: float = 0.25
    sends_per_trade_hour: int = 240
    refusals_per_hour: int = 30
    max_lots_per_action: float = 100.0
    max_lots_account: float = 1_000.0
    max_planned: int = 500
    max_lag_s: float = 900.0
    backoff_first_s: float = 1.0
    backoff_most_s: float = 60.0
    breaker_rejects: int = 3
    breaker_cooldown_s: float = 60.0

    def __post_init__(self) -> None:
        checks.number("operation.settle_s", self.settle_s, 0.05, 600, "s")
        checks.number("operation.quarantine_s", self.quarantine_s, self.settle_s, 3_600, "s")
        checks.number("operation.priced_expiry_s", self.priced_expiry_s, 1, 3_600, "s")
        checks.number("operation.deals_s", self.deals_s, 1, 3_600, "s")
        checks.number("operation.naked_alarm_s", self.naked_alarm_s, 0.1, 60, "s")
        checks.number("operation.hedge_missing_s", self.hedge_missing_s, 0.1, 60, "s")
        checks.one_of("operation.dtms_unreachable", self.dtms_unreachable, ("not_defensive", _LEDGER))
        checks.number("operation.account_commission_per_lot", self.account_commission_per_lot, 0, 1_000, "money")
        checks.number("operation.sends_per_second", self.sends_per_second, 1, 1_000, "a second")
        checks.number("operation.sends_per_day", self.sends_per_day, 10, 1_000_000, "a day")
        checks.number("operation.protective_share", self.protective_share, 0.05, 0.9)
        checks.number("operation.sends_per_trade_hour", self.sends_per_trade_hour, 4, 10_000, "an hour")
        checks.number("operation.refusals_per_hour", self.refusals_per_hour, 2, 10_000, "an hour")
        checks.number("operation.max_lots_per_action", self.max_lots_per_action, 0.001, 1_000_000, "lots")
        checks.number("operation.max_lots_account", self.max_lots_account, 0.001, 10_000_000, "lots")
        checks.number("operation.max_planned", self.max_planned, 1, 100_000)
        checks.number("operation.max_lag_s", self.max_lag_s, 1, 86_400, "s")
        checks.number("operation.backoff_first_s", self.backoff_first_s, 0.05, 60, "s")
        checks.number("operation.backoff_most_s", self.backoff_most_s, self.backoff_first_s, 3_600, "s")
        checks.number("operation.breaker_rejects", self.breaker_rejects, 2, 100)
        checks.number("operation.breaker_cooldown_s", self.breaker_cooldown_s, 1, 3_600, "s")

    @property
    def asks_ledger(self) -> bool:
        """Whether the ledger answers at once where DTMS is silent."""
        return self.dtms_unreachable == _LEDGER
