"""The connection to one terminal and the certainty about whose account it is; no order is sent here.

The package keeps one link a process, and a reply on a link that broke may belong to an older question: so a broken link
is opened anew before the next call, and nothing is repeated on it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from dtms.adapters.mt5 import retcodes
from dtms.adapters.mt5.surface import AccountInfo, Mt5Module, TerminalInfo
from dtms.errors import BrokerUnavailableError, WrongAccountError

Answer = TypeVar("Answer")

LINK_EXCEPTIONS = (OSError, EOFError, SystemError)
"""What a bridge, a worker's pipe or the extension itself raises; the package's own failures are None."""

ABSENT = frozenset({retcodes.NOT_FOUND, retcodes.INVALID_PARAMS})
"""Values of `last_error` by which the terminal says that it has no such symbol."""

ABSENT_OR_FAILED = ABSENT | {retcodes.CALL_FAILED}
"""The same for bars, where the terminal gives no better reason: whoever asks looks the symbol up before believing it."""


class Mt5Link:
    """One terminal and one account.

    Without an expected login or server the first account seen is the expected one: a later login as somebody else is
    refused all the same.
    """

    def __init__(
        self,
        mt5: Mt5Module,
        *,
        expected_login: int | None,
        expected_server: str | None,
        initialize: Callable[[], bool] | None = None,
    ) -> None:
        self.mt5 = mt5
        self._login = expected_login
        self._server = expected_server
        self._initialize = mt5.initialize if initialize is None else initialize
        self._open = False

    def connect(self) -> tuple[AccountInfo, TerminalInfo]:
        """Open the link anew and verify the account behind it."""
        self._reopen()
        return self.verify()

    def close(self) -> None:
        """Close the link."""
        self._open = False
        self.mt5.shutdown()

    def drop(self) -> None:
        """Mark the link as broken: the next call opens it anew."""
        self._open = False

    def verify(self) -> tuple[AccountInfo, TerminalInfo]:
        """Return account and terminal, sure that they are ours and that the trade server is connected.

        Raises:
            BrokerUnavailableError: No link, or no connection to the trade server.
            WrongAccountError: Another account than expected is behind the terminal.
        """
        terminal = self.ask("terminal_info", self.mt5.terminal_info)
        if not terminal.connected:
            msg = "the terminal has no connection to its trade server; its answers may be old, wait until it is back"
            raise BrokerUnavailableError(msg)
        account = self.ask("account_info", self.mt5.account_info)
        self._check_identity(account)
        return account, terminal

    def ask(self, name: str, call: Callable[[], Answer | None]) -> Answer:
        """Return the answer to a read; an empty tuple is one, None is not.

        Raises:
            BrokerUnavailableError: There was no answer; the sentence holds the terminal's own reason.
        """
        if not self._open:
            self._reopen()
        answer = self._call(name, call)
        if answer is None:
            raise self._unavailable(name)
        return answer

    def ask_known(self, name: str, call: Callable[[], Answer | None], absent: frozenset[int] = ABSENT) -> Answer | None:
        """Return the answer to a question about one symbol; None only for the errors by which the terminal means "none"."""
        if not self._open:
            self._reopen()
        answer = self._call(name, call)
        if answer is not None:
            return answer
        code, text = self.last_error()
        if code in absent:
            return None
        raise self._unavailable(name, code, text)

    def last_error(self) -> tuple[int, str]:
        """Return the reason of the call just made; a link that broke on it is marked."""
        try:
            code, text = self.mt5.last_error()
        except LINK_EXCEPTIONS as error:
            self.drop()
            return 0, f"last_error itself failed: {error!r}"
        if code in retcodes.BROKEN_LINK:
            self.drop()
        return code, text

    def _reopen(self) -> None:
        with suppress(*LINK_EXCEPTIONS):  # there may be nothing left to shut down
            self.mt5.shutdown()
        if not self._call("initialize", self._initialize):
            raise self._unavailable("initialize")
        self._open = True

    def _call(self, name: str, call: Callable[[], Answer | None]) -> Answer | None:
        try:
            return call()
        except LINK_EXCEPTIONS as error:
            self.drop()
            msg = f"{name} of the terminal failed with {error!r}; the link is opened anew at the next call"
            raise BrokerUnavailableError(msg) from error

    def _unavailable(self, name: str, code: int | None = None, text: str = "") -> BrokerUnavailableError:
        if code is None:
            code, text = self.last_error()
        return BrokerUnavailableError(
            f"{name} of the terminal gave no answer: last_error {code} ({text}); nothing was sent"
        )

    def _check_identity(self, account: AccountInfo) -> None:
        if self._login is None:
            self._login = account.login
        if self._server is None:
            self._server = account.server
        if (account.login, account.server) != (self._login, self._server):
            # The pipe may have been crossed with another terminal's, or somebody logged in as another account.
            self.drop()
            msg = (
                f"the terminal is logged in to account {account.login} on {account.server}, expected is {self._login} "
                f"on {self._server}; nothing was sent, log the terminal in to the expected account"
            )
            found, expected = f"{account.server}:{account.login}", f"{self._server}:{self._login}"
            raise WrongAccountError(msg, found=found, expected=expected)
