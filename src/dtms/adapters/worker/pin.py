"""The account that was first seen, held across restarts: a fresh child believes whatever its library is logged in to."""

from __future__ import annotations

import threading

from dtms.domain.position import Account
from dtms.errors import WrongAccountError


class AccountPin:
    """One for all workers of one account.

    Args:
        key: The `Account.key` that must be found; None takes the first one seen.
    """

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self._lock = threading.Lock()

    def check(self, account: Account) -> None:
        """Hold on to the account, or refuse another one.

        Raises:
            WrongAccountError: It is another account; nothing was sent.
        """
        with self._lock:
            if self._key is None:
                self._key = account.key
            expected = self._key
        if account.key != expected:
            msg = (
                f"the broker's process is logged in to {account.key}, expected is {expected}; nothing was sent, log in "
                "to the expected account"
            )
            raise WrongAccountError(msg, found=account.key, expected=expected)
