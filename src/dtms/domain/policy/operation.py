"""The numbers of carrying out: waits, windows and limits of gateway and services (reliability.md section 1)."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.policy import checks


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPolicy:
    """How intents are carried out and settled.

    Attributes:
        settle_s: An unknown outcome is "not applied" at the earliest so long after it was sent.
        quarantine_s: An outcome that is unknown so long is quarantined and the operator called.
        priced_expiry_s: An intent whose target came from a price is cancelled when so old.
        deals_s: A position that is gone without closing deals for so long is quarantined.
        naked_alarm_s: A managed position without a stop for so long raises the alarm.
        hedge_poll_s: How often an open hedge and its parent are read.
        hedge_missing_s: Wait between the two clean reads that prove a hedge or its parent gone.
        dtms_unreachable: What the exit manager believes where DTMS is silent: `not_defensive` or `ledger`.
        account_commission_per_lot: Account currency per lot for opening and closing together, where deals do not tell.
    """

    settle_s: float = 10.0
    quarantine_s: float = 60.0
    priced_expiry_s: float = 60.0
    deals_s: float = 60.0
    naked_alarm_s: float = 2.0
    hedge_poll_s: float = 1.0
    hedge_missing_s: float = 2.0
    dtms_unreachable: str = "not_defensive"
    account_commission_per_lot: float = 0.0

    def __post_init__(self) -> None:
        checks.number("operation.settle_s", self.settle_s, 0.05, 600, "s")
        checks.number("operation.quarantine_s", self.quarantine_s, self.settle_s, 3_600, "s")
        checks.number("operation.priced_expiry_s", self.priced_expiry_s, 1, 3_600, "s")
        checks.number("operation.deals_s", self.deals_s, 1, 3_600, "s")
        checks.number("operation.naked_alarm_s", self.naked_alarm_s, 0.1, 60, "s")
        checks.number("operation.hedge_poll_s", self.hedge_poll_s, 0.1, 60, "s")
        checks.number("operation.hedge_missing_s", self.hedge_missing_s, 0.1, 60, "s")
        checks.one_of("operation.dtms_unreachable", self.dtms_unreachable, ("not_defensive", "ledger"))
        checks.number("operation.account_commission_per_lot", self.account_commission_per_lot, 0, 1_000, "money")
