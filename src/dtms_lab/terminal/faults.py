"""A pipe to a terminal that fails as a plan says: calls are lost, late, doubled, hang, or change what they find.

With an empty plan it is the plain link, to the last bit. The system under test never sees this module; it sees the
package's answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn, assert_never

from dtms_lab.mt5_constants import RETCODE_TEXT, Mt5
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.fault_kinds import (
    Answer,
    Crossed,
    Doubled,
    Empty,
    Failed,
    Hang,
    Late,
    PipeFault,
    Previous,
    WorldFault,
)
from dtms_lab.terminal.fault_plan import OPEN_LINK, ORDER_SEND, Injector, sent_kind
from dtms_lab.terminal.fault_world import FaultyWorld
from dtms_lab.terminal.link import IpcError, Reply, out_of_step, reply_lost
from dtms_lab.terminal.records import Outcome, Request
from dtms_lab.terminal.rows import Row
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.under_way import FIRST_TICKET, order_under_way

_TEXTS = {
    Mt5.RES_E_FAIL: "Terminal: Call failed",
    Mt5.RES_E_INVALID_PARAMS: "Terminal: Invalid params",
    Mt5.RES_E_NO_MEMORY: "No memory",
    Mt5.RES_E_NOT_FOUND: "Terminal: Not found",
    Mt5.RES_E_INVALID_VERSION: "Invalid version",
    Mt5.RES_E_AUTH_FAILED: "Terminal: Authorization failed",
    Mt5.RES_E_UNSUPPORTED: "Unsupported",
    Mt5.RES_E_AUTO_TRADING_DISABLED: "Auto-Trading using Python API disabled in Terminal",
    Mt5.RES_E_INTERNAL_FAIL: "IPC call failed",
    Mt5.RES_E_INTERNAL_FAIL_SEND: "IPC send failed",
    Mt5.RES_E_INTERNAL_FAIL_RECEIVE: "IPC recv failed",
    Mt5.RES_E_INTERNAL_FAIL_INIT: "IPC initialize failed",
    Mt5.RES_E_INTERNAL_FAIL_CONNECT: "No IPC connection",
    Mt5.RES_E_INTERNAL_FAIL_TIMEOUT: "IPC timeout",
}
_DONE = (Mt5.TRADE_RETCODE_DONE, Mt5.TRADE_RETCODE_DONE_PARTIAL)
_EVERY_ORDER = (None, None, None)
"""The filters of `orders_get` where everything is asked for."""
_TEXT_PLACE = 7
"""Where the text stands in an `OrderSendResult`, behind the seven fields of an outcome."""


class HangError(BaseException):
    """A call that would never return: only the death of its process ends it, so no handler of the program catches it."""


def hang() -> NoReturn:
    """Hang, in a process that is not to be blocked."""
    msg = "the terminal does not answer any more; the process that asked it has to be killed"
    raise HangError(msg)


@dataclass(slots=True)
class _Waiting:
    """An order that will be applied later; `listed` once the broker has accepted it: the list of orders shows it then."""

    args: tuple[Any, ...]
    at: int
    reads: int
    listed: bool


class FaultyLink:
    """Fulfils `Link` to a terminal in the same process.

    Args:
        backend: The terminal.
        injector: The run of the plan, the same as the dealer's.
        on_hang: What a call that hangs does; in a child process it may really hang. Where it returns, the reply is lost.
    """

    def __init__(self, backend: TerminalBackend, injector: Injector, *, on_hang: Callable[[], object] = hang) -> None:
        self.injector = injector
        self._backend = backend
        self._on_hang = on_hang
        self._world = FaultyWorld(backend)
        self._pipe: deque[tuple[str, Reply]] = deque()
        self._waiting: list[_Waiting] = []
        self._last_order: Reply | None = None
        self._crossed = 0
        self._stranger: TerminalBackend | None = None

    @property
    def waiting(self) -> int:
        """How many orders have still to be applied late."""
        return len(self._waiting)

    @property
    def stranger(self) -> TerminalBackend:
        """The other terminal, with another account, to which a crossed pipe leads."""
        if self._stranger is None:
            ours = self._backend.server
            account = replace(ours.state.account, login=ours.state.account.login + 1, name="Somebody Else")
            server = SimServer(now=ours.now, account=account, specs=ours.state.specs, offset=ours.state.offset)
            self._stranger = TerminalBackend(server)
        self._stranger.server.state.quotes.update(self._backend.server.state.quotes)
        return self._stranger

    def open(self) -> None:
        """Connect anew: replies that were left in the pipe are gone."""
        self._pipe.clear()
        for fault in self.injector.draw(OPEN_LINK, None):
            if isinstance(fault, Failed):
                self.injector.count(fault)
                raise _error(fault.code)

    def close(self) -> None:
        """Disconnect."""
        self._pipe.clear()

    def pump(self) -> None:
        """Apply what is due and end what has come to its end; a world calls it as its clock moves, each call does."""
        now = self._backend.server.now()
        waiting, self._waiting = self._waiting, []
        for late in waiting:
            if now >= late.at and late.reads <= 0:
                self._backend.call(ORDER_SEND, late.args)
            else:
                self._waiting.append(late)
        self._world.pump(now)

    def heal(self) -> None:
        """End every fault; an order that is late is applied all the same when it is due."""
        self.injector.heal()
        self._crossed = 0
        self._world.heal()

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Perform one call, or fail at it."""
        self.pump()
        request = Request._make(args[0]) if op == ORDER_SEND else None
        pipe: PipeFault | None = None
        for fault in self.injector.draw(op, None if request is None else sent_kind(request)):
            if isinstance(fault, WorldFault):
                if self._world.apply(fault, request):
                    self.injector.count(fault)
            elif isinstance(fault, PipeFault) and pipe is None:
                pipe = fault
        reply = self._carried(pipe, op, args)
        self._pipe.append((op, reply))
        answered, first = self._pipe.popleft()
        if answered != op:
            raise out_of_step()
        if op == "positions_get" and first.code == Mt5.RES_S_OK:
            for late in self._waiting:
                late.reads -= 1
        return first

    def _carried(self, fault: PipeFault | None, op: str, args: tuple[Any, ...]) -> Reply:
        if isinstance(fault, Crossed):
            self.injector.count(fault)
            self._crossed = fault.calls
        if self._crossed > 0:
            self._crossed -= 1
            return self.stranger.call(op, args)
        match fault:
            case None | Crossed():
                return self._forward(op, args)
            case Empty():
                return self._emptied(fault, op, args)
            case Answer():
                return self._answered(fault, args)
            case _:
                self.injector.count(fault)
                return self._broken(fault, op, args)

    def _broken(self, fault: Failed | Hang | Late | Doubled | Previous, op: str, args: tuple[Any, ...]) -> Reply:
        match fault:
            case Failed(applied=applied, code=code):
                if applied:
                    self._forward(op, args)
                raise _error(code)
            case Hang(applied=applied):
                if applied:
                    self._forward(op, args)
                self._on_hang()
                raise reply_lost()
            case Late():
                at = self._backend.server.now() + fault.delay_ms
                listed = fault.code == Mt5.TRADE_RETCODE_PLACED
                self._waiting.append(_Waiting(args, at, fault.after_reads, listed))
                if fault.code is None:
                    raise reply_lost()
                return self._backend.answered(args[0], Outcome(fault.code))
            case Doubled():
                reply = self._forward(op, args)
                self._pipe.append((op, reply))
                return reply
            case Previous(applied=applied):
                before = self._last_order
                if applied:
                    self._forward(op, args)
                if before is None:
                    raise out_of_step()
                return before
            case _:
                assert_never(fault)

    def _emptied(self, fault: Empty, op: str, args: tuple[Any, ...]) -> Reply:
        reply = self._forward(op, args)
        if not reply.data:
            return reply
        self.injector.count(fault)
        return reply._replace(data=[])

    def _answered(self, fault: Answer, args: tuple[Any, ...]) -> Reply:
        """Return a reply with another retcode and no figures; an order that was refused keeps its own."""
        if not fault.applied:
            self.injector.count(fault)
            return self._backend.answered(args[0], Outcome(fault.code))
        reply = self._forward(ORDER_SEND, args)
        if reply.data is None or reply.data[0] not in _DONE:
            return reply
        self.injector.count(fault)
        order = reply.data[2] if fault.code == Mt5.TRADE_RETCODE_PLACED else 0
        row = (*Outcome(fault.code, order=order), RETCODE_TEXT.get(fault.code, ""), *reply.data[_TEXT_PLACE + 1 :])
        return reply._replace(data=row)

    def _forward(self, op: str, args: tuple[Any, ...]) -> Reply:
        reply = self._backend.call(op, args)
        if op == "orders_get" and reply.data is not None and args == _EVERY_ORDER:
            return reply._replace(data=[*reply.data, *self._under_way()])
        if op == ORDER_SEND and reply.data is not None:
            self._last_order = reply
        return reply

    def _under_way(self) -> list[Row]:
        """Return what the list of orders shows of those that are late."""
        server = self._backend.server
        listed = (Request._make(late.args[0]) for late in self._waiting if late.listed)
        rows = (order_under_way(server, request, FIRST_TICKET + place) for place, request in enumerate(listed))
        return [row for row in rows if row is not None]


def _error(code: int) -> IpcError:
    return IpcError(code, _TEXTS.get(code, f"Unknown error {code}"))
