"""What a run shows while it goes on: plain lines, or a live table on a terminal."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dtms.cli.http import ask
from dtms.cli.output import FailedError, NotFoundError, UnreachableError, say
from dtms.cli.show import TRADE_COLUMNS, trade_row, words
from dtms.domain.records import Event, EventKind
from dtms.domain.units import Millis, to_utc
from dtms.errors import LedgerError

if TYPE_CHECKING:
    from dtms_lab.simulate.up import Up

REFRESH_S: Final = 0.5
_NEWEST: Final = 10
_SHOWN: Final = 12
_SILENT_ROWS: Final = frozenset({"", "rules"})
"""Events that are steps of what another line tells."""

_STYLES: Final = {
    "HEALTHY": "green",
    "WARNING_L1": "yellow",
    "WARNING_L2": "dark_orange",
    "HEDGED": "magenta",
    "RECOVERING": "cyan",
    "CLOSED": "dim",
}


class Screen(Protocol):
    """Shows a run."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *exception: object) -> None:
        """Leave the terminal as it was."""
        ...

    def show(self, now: Millis) -> None:
        """Show what is new; called often."""
        ...


class _Story:
    """The ledger's events as sentences, each once."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self._seen = 0

    def news(self) -> list[str]:
        """Return what has happened since the last time."""
        try:
            with self._up.ledger.read() as tx:
                events = tx.events_since(self._seen)
        except LedgerError:
            return []  # the ledger is busy or failing: the services tell of that, a screen does not
        found = []
        for event in events:
            self._seen = event.seq
            sentence = _sentence(event, json.loads(event.body))
            if sentence:
                found.append(f"{to_utc(event.at):%H:%M:%S}  {sentence}")
        return found


def _sentence(event: Event, body: Mapping[str, Any]) -> str:
    if event.kind is EventKind.STATE:
        if body["row"] in _SILENT_ROWS:
            return ""
        if body["row"] == "registered":
            return f"{body['ticket']}  under management"
        return f"{body['ticket']}  {body['state']} ({body['row']})"
    if event.kind is EventKind.ACTION:
        return f"{body['ticket'] or 'new trade'}  {body['kind']} by {body['rule']}: {body['state'].lower()}"
    return ""


class PlainScreen:
    """One line on stderr for each thing that happens."""

    def __init__(self, up: Up) -> None:
        self._story = _Story(up)
        self._next = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Say what is still to be said."""
        for line in self._story.news():
            say(line)

    def show(self, now: Millis) -> None:
        """Say what is new, twice a second."""
        del now
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH_S
            for line in self._story.news():
                say(line)


class LiveScreen:
    """A table of the trades, the last things that happened, and counters; redrawn twice a second."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self._settings = up.plan.settings
        self._story = _Story(up)
        self._lines: deque[str] = deque(maxlen=_NEWEST)
        self._live = Live(console=Console(), auto_refresh=False)
        self._next = 0.0

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Leave the last picture standing."""
        self._live.stop()

    def show(self, now: Millis) -> None:
        """Redraw, twice a second."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REFRESH_S
        self._lines.extend(self._story.news())
        self._live.update(Group(self._head(now), self._trades(), Text(""), *self._tail()), refresh=True)

    def _head(self, now: Millis) -> Text:
        run = self._up.plan.run
        done = (now - run.start) / (run.end - run.start)
        head = f"{run.tape.symbol}  {to_utc(now):%Y-%m-%d %H:%M:%S} UTC on the tape, {done:.0%}, {run.speed:g} x"
        return Text.assemble((head, "bold"), f"   {self._settings.api_url}/ui")

    def _trades(self) -> Table | Text:
        answer = self._asked("/dtms/trades?limit=500")
        if answer is None:
            return Text("the DTMS server does not answer; it is started again", style="red")
        table = Table(box=None, pad_edge=False)
        for column in TRADE_COLUMNS:
            table.add_column(column, no_wrap=column != TRADE_COLUMNS[-1])
        trades = sorted(answer["trades"], key=lambda trade: (trade["state"] == "CLOSED", -trade["ticket"]))
        for trade in trades[:_SHOWN]:
            table.add_row(*(Text(words(cell)) for cell in trade_row(trade)), style=_STYLES.get(trade["state"], ""))
        if len(trades) > _SHOWN:
            table.caption = f"and {len(trades) - _SHOWN} more"
        return table

    def _tail(self) -> list[Text]:
        lines = [Text(line) for line in self._lines]
        status = self._asked("/dtms/status")
        if status is not None:
            counters = {"open": status["active_trades"], **status["checks"], **status["actions"]}
            lines.append(Text(words(counters), style="dim"))
        supervisor = self._up.processes.supervisor
        restarts = {role: supervisor.restarts(role) for role in ("gateway", "server", "api")}
        if any(restarts.values()):
            lines.append(Text(f"started again: {words(restarts)}", style="red"))
        return lines

    def _asked(self, path: str) -> dict[str, Any] | None:
        try:
            return ask("GET", f"{self._settings.server_url}{path}", service="DTMS server")
        except (UnreachableError, NotFoundError, FailedError):
            return None
