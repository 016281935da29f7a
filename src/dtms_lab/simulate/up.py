"""`dtms up --tape`: the product as real processes over a tape, the other program's trades in it, and the same report.

The laws are checked against the oracle that the simulated broker writes, the figures read from the ledger: nothing here
asks the services what they believe.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import structlog

from dtms.adapters.clocks import TapeClock
from dtms.adapters.sql import open_ledger
from dtms.core._jit import compile_all
from dtms.domain.intent import IntentState
from dtms.domain.policy import Policies
from dtms.domain.units import SECOND, Millis
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import Notifier
from dtms.services.run_log import read_exit_counts, read_verdicts
from dtms.services.supervise.process_group import ProcessGroup
from dtms.services.supervise.supervisor import ProcessFailedError
from dtms.services.wiring import token_of
from dtms.settings import Settings
from dtms_lab.laws.invariants import Books, check, naked_ms, read_books
from dtms_lab.simulate.entries import Entries
from dtms_lab.simulate.entry import Entry, money_of
from dtms_lab.simulate.report import Findings, TradeResult, report_of
from dtms_lab.simulate.tape_terminal import TapeRun, TapeTerminal
from dtms_lab.simulate.tapes import bars_run
from dtms_lab.simulate.trader import Trader, make_trader
from dtms_lab.terminal.oracle import OracleEntry, read_oracle

STEP_S: Final = 0.02
SHADOW_EVERY_S: Final = 1.0
DRAIN_S: Final = 10.0
"""How long the end waits for intents that are under way."""

REACTION_S: Final = 1.0
"""What the processes may take for a reaction on the machine's clock; the laws' own windows run on the tape's."""

_ALL: Final = 10_000_000
_UNDER_WAY: Final = frozenset({IntentState.PLANNED, IntentState.SENDING, IntentState.ACKED})

_log = structlog.get_logger("dtms.up")


class BrokerDiedError(ProcessFailedError):
    """The simulated terminal's process has been given up: there is no market to go on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpPlan:
    """What is to be run. `settings` name a data folder that exists and holds no ledger; `alternate` is the trader's."""

    settings: Settings
    policies: Policies
    run: TapeRun
    signals: Entries
    alternate: bool = False


class Up:
    """One run over a tape. Use as a context: whatever happens, no process is left behind."""

    def __init__(self, plan: UpPlan, notifier: Notifier) -> None:
        self.plan = plan
        self.broker = TapeTerminal(plan.settings, plan.run)
        self.processes = ProcessGroup(plan.settings, notifier, (self.broker.role(),))
        self._trader: Trader | None = None
        self._ledger: Ledger | None = None
        self._begun = False

    def __enter__(self) -> Self:
        """Return the run; nothing is started yet."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """End every process."""
        if self._trader is not None:
            self._trader.close()
        if self._ledger is not None:
            self._ledger.close()
        self.processes.stop()

    def start(self) -> None:
        """Compile once, start every process and wait until all are ready; the tape stands at its start.

        Raises:
            SettingsError: A setting or the tape cannot be used.
            ProcessFailedError: A process ended or did not become ready.
        """
        compile_all()
        self.broker.lay_out()
        self.processes.start()
        plan = self.plan
        self._trader = make_trader(
            plan.settings,
            symbol=plan.run.tape.symbol,
            signals=plan.signals,
            policies=plan.policies,
            instruments=plan.run.book,
            clock=self._clock,
            token=token_of(plan.settings),
            alternate=plan.alternate,
        )
        key = self._trader.broker.account().key
        self._ledger = open_ledger(plan.settings.ledger, account=key, clock=self._clock.market_now, create=False)

    @property
    def _clock(self) -> TapeClock:
        path = self.plan.settings.clock_file
        assert path is not None, "a run over a tape has a clock file"  # noqa: S101 - narrows the type
        return TapeClock(path)

    @property
    def trader(self) -> Trader:
        """The other program."""
        assert self._trader is not None, "start first"  # noqa: S101 - narrows the type
        return self._trader

    @property
    def ledger(self) -> Ledger:
        """The ledger of the run, for reading."""
        assert self._ledger is not None, "start first"  # noqa: S101 - narrows the type
        return self._ledger

    def begin(self) -> None:
        """Let the tape run, where it does not yet: without `play` the other program does nothing."""
        if not self._begun:
            self.broker.begin()
            self._begun = True

    def play(
        self, each: Callable[[Millis], None] = lambda _now: None, *, ended: Callable[[], bool] = lambda: False
    ) -> None:
        """Let the tape run to its end, then let what is under way end.

        Args:
            each: Called some fifty times a second with the tape's instant.
            ended: Whether to stop before the tape's end.

        Raises:
            BrokerDiedError: The simulated terminal's process has been given up.
        """
        self.begin()
        end = self.plan.run.end
        fed = time.monotonic()
        while (now := self.trader.clock.market_now()) < end and not ended():
            self._beat(each, now)
            if time.monotonic() - fed >= SHADOW_EVERY_S:
                fed = time.monotonic()
                self.trader.feed_shadow()
        drained = time.monotonic() + DRAIN_S
        while self._under_way() and time.monotonic() < drained:
            self._beat(each, now)
        self.trader.finish()

    def _beat(self, each: Callable[[Millis], None], now: Millis) -> None:
        if "terminal" in self.processes.supervisor.given_up():
            said = self.processes.supervisor.said_last("terminal")
            msg = f"the simulated broker's process ended again and again and was given up: {said or 'it said nothing'}"
            raise BrokerDiedError(msg)
        self.trader.step()
        each(now)
        time.sleep(STEP_S)

    def _under_way(self) -> bool:
        with self.ledger.read() as tx:
            return any(intent.state in _UNDER_WAY for intent in tx.unfinished())

    def oracle(self) -> tuple[OracleEntry, ...]:
        """Return what the broker has applied so far."""
        return read_oracle(self.broker.oracle_path)

    def report(self) -> dict[str, Any]:
        """Return the report: the fields of `simulate`, and how often each process was started again."""
        counts = read_exit_counts(self.plan.settings.data_dir)
        found = self._findings(counts.deferrals, counts.fallbacks)
        report = report_of(found)
        refusals = Counter({rule: int(count) for rule, count in _counts(report["refusals"])})
        if counts.refusals:
            refusals["exits"] = counts.refusals
        supervisor = self.processes.supervisor
        roles = ("gateway", "server", "api")
        return {
            **report,
            "refusals": dict(sorted(refusals.items())),
            "restarts": {role: supervisor.restarts(role) for role in roles},
            "given_up": list(supervisor.given_up()),
        }

    def _findings(self, deferrals: int, fallbacks: int) -> Findings:
        plan, trader = self.plan, self.trader
        books = read_books(self.ledger, magic=plan.settings.magic)
        entries = self.oracle()
        verdicts = read_verdicts(plan.settings.data_dir)
        now = self.trader.clock.market_now()
        with self.ledger.read() as tx:
            transitions = tx.transitions(limit=_ALL)
        return Findings(
            symbol=trader.symbol,
            bars=bars_run(plan.run.tape, plan.run.start),
            results=tuple(self._result(entry, books) for entry in trader.entries),
            trades=books.trades,
            transitions=transitions,
            intents=books.intents,
            refusals=tuple(refusal for verdict in verdicts for refusal in verdict.refusals),
            rails=Counter(rail for verdict in verdicts for rail in verdict.rails),
            deferrals=deferrals,
            fallbacks=fallbacks,
            naked_ms=naked_ms(entries, books, now),
            violations=check(entries, books, until=now, reaction=round(REACTION_S * SECOND * plan.run.speed)),
            verdicts=verdicts,
            views=tuple(trader.views),
            assumptions=self._assumptions(),
            doubts=plan.run.tape.doubts,
            refused_entries=tuple(entry.refused for entry in trader.entries if entry.refused),
        )

    def _assumptions(self) -> tuple[str, ...]:
        status = self.broker.status()
        return (*self.plan.run.tape.notes, *(str(each) for each in status["assumptions"]))

    def _result(self, entry: Entry, books: Books) -> TradeResult:
        trade = next((t for t in books.trades if t.identifier == entry.identifier), None)
        children = () if trade is None else trade.children
        managed = money_of(self.trader.terminal, (entry.identifier, *children))
        unmanaged = money_of(self.trader.shadow.terminal, (entry.twin,))
        return TradeResult(
            ticket=entry.ticket,
            risk_money=entry.risk_money,
            managed=managed.net,
            unmanaged=unmanaged.net,
            costs=managed.costs + entry.spread_money,
            closed=not managed.is_open,
        )


def _counts(table: object) -> list[tuple[str, int]]:
    return list(table.items()) if isinstance(table, dict) else []
