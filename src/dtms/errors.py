"""Every error that dtms raises on purpose, and what its catcher should do.

    DtmsError
      SettingsError             the operator must fix it; nothing starts
      MarketDataError           no decision now; the trade keeps its state
        StaleDataError, NotEnoughBarsError, InvalidDataError
      BrokerError
        BrokerUnavailableError  provably not sent; may be retried with back-off
          NotPricedError        a symbol has no price yet (a StaleDataError too): it alone waits
          WrongAccountError     another account answered; believe nothing of it, after three running stop sending
        OutcomeUnknownError     sent, or maybe sent; reconcile, never resend blind
        BrokerRejectedError     an answer: carries our Rejection and the raw code
          PositionGoneError
      LedgerError
        LedgerUnavailableError  stop acting, keep watching, alarm
        StaleWriteError         someone else wrote; reload and decide again
      NotifyError               recorded; never delays a decision
      InvariantError            our bug: this ticket becomes observe-only, loudly
        IllegalTransitionError

A port raises when it does not know: it never returns ``None``, an empty list or zero for "could not tell".
"""

from __future__ import annotations


class DtmsError(Exception):
    """The root of the tree; never raised itself."""


class SettingsError(DtmsError):
    """A setting, policy, tape or database is not usable; nothing starts until the operator fixes it."""


class MarketDataError(DtmsError):
    """No decision can be made now; the trade keeps its state."""


class StaleDataError(MarketDataError):
    """The newest quote or bar is older than its limit; only what reduces risk may go on."""


class NotEnoughBarsError(MarketDataError):
    """An indicator has not seen enough bars yet; it is unavailable, not zero."""


class InvalidDataError(MarketDataError):
    """A quote, bar or tape row cannot be true; it is dropped and counted."""


class BrokerError(DtmsError):
    """The broker, or the way to it, failed."""


class BrokerUnavailableError(BrokerError):
    """The request provably never left; it may be tried again with back-off."""


class NotPricedError(StaleDataError, BrokerUnavailableError):
    """The terminal has no price of a symbol yet; nothing was sent, this symbol waits for its first quote, no other does."""


class WrongAccountError(BrokerUnavailableError):
    """Another account than the expected one answered; nothing of its answer is believed, and nothing was sent.

    Attributes:
        found: The account that answered.
        expected: The account that should have.
    """

    def __init__(self, message: str, *, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected


class OutcomeUnknownError(BrokerError):
    """The request left, or may have; reconcile against the broker, never send it again blindly.

    Attributes:
        order: The number that the broker gave the order, where it told one: it finds deals whose comment was rewritten.
        code: The broker's own number for its answer, 0 where there was none.
    """

    def __init__(self, message: str, *, order: int | None = None, code: int = 0) -> None:
        super().__init__(message)
        self.order = order
        self.code = code


class BrokerRejectedError(BrokerError):
    """The broker answered no.

    Attributes:
        rejection: Our word for the reason, a value of ``dtms.domain.receipt.Rejection``.
        code: The broker's own number for it.
    """

    def __init__(self, message: str, *, rejection: str, code: int) -> None:
        super().__init__(message)
        self.rejection = rejection
        self.code = code


class PositionGoneError(BrokerRejectedError):
    """The position is no longer open; a close has met its goal, anything else is void."""


class LedgerError(DtmsError):
    """The ledger failed."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be read or written; stop acting, keep watching, alarm."""


class StaleWriteError(LedgerError):
    """Somebody else wrote first; reload and decide again."""


class NotifyError(DtmsError):
    """An alert could not be delivered; record it, never delay a decision for it."""


class InvariantError(DtmsError):
    """A law of dtms was broken by dtms: this ticket becomes observe-only, loudly."""


class IllegalTransitionError(InvariantError):
    """A transition that the table does not hold."""
