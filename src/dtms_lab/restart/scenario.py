"""One run of the drill: an hour of weather in half a minute, trades that go through everything, processes that are killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.services.wiring import token_of
from dtms.settings import Settings
from dtms_lab.restart.judge import Finding, judge
from dtms_lab.restart.nursery import Nursery
from dtms_lab.restart.person import Person, orders_over
from dtms_lab.restart.site import Folder, Site, settings_in
from dtms_lab.simulate.tape_terminal import TapeRun
from dtms_lab.simulate.tapes import cut
from dtms_lab.tapes.tape import Tape
from dtms_lab.tapes.weather import make_tape
from dtms_lab.terminal.oracle import read_oracle
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.remote import RemoteTerminal

START: Final = Millis(1_715_622_600_000)
"""A fall with half of it taken back, in the weather below: SELLs are warned, reduced and hedged within the hour."""

SYMBOL: Final = "XAUUSD"
MINUTES: Final = 60
TROUBLE_MINUTES: Final = 42
"""Nobody is killed after that: the rest of the hour is for healing (T = 60 s, reliability.md section 1, rule 9)."""

FINDINGS_FILE: Final = "findings.txt"
FLATTEN_AT: Final = Millis(START + 37 * MINUTE)
TROUBLE_ENDS: Final = Millis(START + TROUBLE_MINUTES * MINUTE)

SPEED: Final = 240.0
REST_WITHIN_S: Final = 30.0
_WEATHER: Final = (1, 6)
_LOOK_S: Final = 0.02
_REST_LOOK_S: Final = 0.2
_BALANCE: Final = 100_000.0
_REACTION_S: Final = 1.0
_DEATH_S: Final = 3.0
"""What a death may cost the laws that are counted in time, on the machine's clock: the process starts again within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run showed."""

    planned: tuple[str, ...]
    struck: dict[int, str]
    """The entries of the plan that were done, with their points."""
    reached: frozenset[str]
    findings: tuple[Finding, ...]
    applied: dict[str, int]
    wishes: tuple[int, int]
    """How many were made, and how many were answered for good."""
    deaths: dict[str, int]
    seconds: float
    kept: str = ""
    """The folder with everything in it, where something was broken."""


@dataclass(slots=True, kw_only=True)
class Staged:
    """A run under way: its processes and its person."""

    site: Site
    person: Person
    settings: Settings
    until: Millis

    def play(self, each: Callable[[Millis], None] = lambda _now: None, *, until: Millis | None = None) -> None:
        """Let the tape run, starting again what dies.

        Args:
            each: Called some fifty times a second with the tape's instant.
            until: Where to stop looking; the tape's end without it.
        """
        clock, end = self.site.clock, self.until if until is None else until
        while (now := clock.market_now()) < end:
            self.site.look()
            each(now)
            time.sleep(_LOOK_S)


def weather(start: Millis = START, minutes: int = MINUTES) -> Tape:
    """Return the piece of weather with its history."""
    return cut(_weather(), start=start, bars=minutes)


@cache
def _weather() -> Tape:
    return make_tape(*_WEATHER)


@contextmanager
def staged(
    nursery: Nursery,
    settings: Settings,
    *,
    speed: float = SPEED,
    flatten: bool = False,
    minutes: int = MINUTES,
    api_url: str | None = None,
    apart: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[Staged]:
    """Start an installation; the tape stands and the person waits, who finds the main API at `api_url`."""
    run = TapeRun(tape=weather(minutes=minutes), start=START, speed=speed, balance=_BALANCE)
    with Site(nursery=nursery, settings=settings, run=run, apart=apart or {}) as site:
        site.start()
        terminal = RemoteTerminal(settings.address_file, timeout=5.0)
        terminal.initialize()
        person = Person(
            orders_over(START, min(minutes, TROUBLE_MINUTES)),
            api_url=settings.api_url if api_url is None else api_url,
            token=token_of(settings),
            symbol=SYMBOL,
            now=site.clock.market_now,
            bid=lambda: _bid(terminal),
            flatten_at=FLATTEN_AT if flatten else None,
        )
        try:
            yield Staged(site=site, person=person, settings=settings, until=Millis(START + minutes * MINUTE))
        finally:
            person.stop()
            terminal.shutdown()


def _bid(terminal: RemoteTerminal) -> float:
    terminal.symbol_select(SYMBOL, True)
    tick = terminal.symbol_info_tick(SYMBOL)
    if tick is None:
        msg = "the simulated terminal tells no price"
        raise ConnectionError(msg)
    return float(tick.bid)


def run_killed(
    nursery: Nursery, crash: str, *, ledger_url: str = "", speed: float = SPEED, flatten: bool = False
) -> Outcome:
    """Run the scenario with a plan of deaths and judge it; with `flatten` the kill switch is pressed late in the trouble.

    Raises:
        SiteFailedError: The run could not be made; it says nothing.
    """
    began = time.monotonic()
    with Folder() as folder:
        settings = settings_in(folder.path, ledger_url=ledger_url, crash=crash)
        with staged(nursery, settings, speed=speed, flatten=flatten) as stage:
            stage.site.begin()
            stage.person.start()
            stage.play()
            outcome = concluded(stage, crash, began=began)
        return kept(outcome, folder)


def kept(outcome: Outcome, folder: Folder) -> Outcome:
    """Keep the folder of a run in which something was broken, and name it."""
    if not outcome.findings:
        return outcome
    folder.keep = True
    (folder.path / FINDINGS_FILE).write_text("\n".join(map(str, outcome.findings)) + "\n", encoding="utf-8")
    return replace(outcome, kept=str(folder.path))


def concluded(stage: Staged, planned: str, *, began: float, pauses_s: float = 0.0) -> Outcome:
    """Wait until a run has come to rest and judge it; `pauses_s` is how long processes stood still or were cut off."""
    site, settings = stage.site, stage.settings
    stage.person.finish(REST_WITHIN_S)
    with_ledger = _open(settings, site)
    try:
        findings = _judged(stage, with_ledger, pauses_s)
        end = time.monotonic() + REST_WITHIN_S
        while findings and time.monotonic() < end:
            # What is under way is not lost: the market's clock goes on, and so do the processes. What is lost stays so.
            site.look()
            time.sleep(_REST_LOOK_S)
            findings = _judged(stage, with_ledger, pauses_s)
        entries, struck = read_oracle(site.oracle_path), site.strikes_done()
    finally:
        with_ledger.close()
    applied: dict[str, int] = {}
    for entry in entries:
        if entry.kind is not AppliedKind.POSITION:
            applied[entry.kind.value] = applied.get(entry.kind.value, 0) + 1
    wishes = stage.person.wishes
    return Outcome(
        planned=tuple(planned.split(",")) if planned else (),
        reached=site.reached(),
        struck=struck,
        findings=findings,
        applied=applied,
        wishes=(len(wishes), sum(wish.settled for wish in wishes)),
        deaths=dict(site.deaths),
        seconds=time.monotonic() - began,
    )


def _open(settings: Settings, site: Site) -> SqlLedger:
    terminal = RemoteTerminal(settings.address_file, timeout=5.0)
    terminal.initialize()
    account = terminal.account_info()
    terminal.shutdown()
    assert account is not None, "the simulated terminal has an account"  # noqa: S101 - narrows the type
    key = f"{account.server}:{account.login}"
    return open_ledger(settings.ledger, account=key, clock=site.clock.market_now, create=False)


def _judged(stage: Staged, ledger: SqlLedger, pauses_s: float) -> tuple[Finding, ...]:
    site = stage.site
    lost_s = _REACTION_S + _DEATH_S * sum(site.deaths.values()) + pauses_s
    return judge(
        read_oracle(site.oracle_path),
        ledger,
        magic=stage.settings.magic,
        wishes=stage.person.wishes,
        said=site.logs(),
        until=site.clock.market_now(),
        reaction=round(lost_s * SECOND * site.run.speed),
    )
