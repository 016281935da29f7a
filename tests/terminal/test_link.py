"""The pipe as a place for faults: what is lost before the terminal, and what after it."""

from __future__ import annotations

from typing import Any

import pytest

from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.link import IpcError, Reply, no_connection, out_of_step, reply_lost, send_failed
from dtms_lab.terminal.terminal import SimTerminal


class _FaultyLink:
    """Fails each order once, before or after the terminal had it."""

    def __init__(self, backend: TerminalBackend, failure: IpcError, *, applied: bool) -> None:
        self._backend = backend
        self._failure: IpcError | None = failure
        self._applied = applied

    def open(self) -> None:
        """Connect."""

    def close(self) -> None:
        """Disconnect."""

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Call, or fail."""
        failure = self._failure
        if op != "order_send" or failure is None:
            return self._backend.call(op, args)
        self._failure = None
        if self._applied:
            self._backend.call(op, args)
        raise failure


@pytest.mark.parametrize(
    ("failure", "applied", "code"),
    [
        (no_connection(), False, -10004),
        (send_failed(), False, -10001),
        (send_failed(), True, -10001),
        (reply_lost(), True, -10002),
        (out_of_step(), True, -10000),
    ],
)
def test_a_failed_call_is_none_whether_or_not_the_server_applied_it(
    failure: IpcError, applied: bool, code: int
) -> None:
    desk = SimDesk()
    desk.quote("EURUSD", 1.1)
    backend = desk.terminal.backend
    terminal = SimTerminal(desk.server, backend=backend, link=_FaultyLink(backend, failure, applied=applied))
    assert terminal.initialize()
    order = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1, "comment": "tag"}
    assert terminal.order_send(order) is None
    assert terminal.last_error()[0] == code
    assert len(desk.oracle.tagged("tag")) == int(applied)
    again = terminal.order_send(order)
    assert again is not None
    assert again.retcode == 10009
