"""Commands that run the product: `simulate` in one process, `up` and `demo` with real ones."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtms.cli import options, tapes
from dtms.cli.output import Exit, emit, say

if TYPE_CHECKING:
    from dtms.adapters.notify.targets import Alert
    from dtms.cli.live import Screen
    from dtms.domain.policy import Policies
    from dtms.ports.notifier import Notifier
    from dtms.settings import Settings
    from dtms_lab.simulate.entries import Entries
    from dtms_lab.simulate.tape_terminal import TapeRun
    from dtms_lab.simulate.tapes import TapeSource
    from dtms_lab.simulate.up import Up
    from dtms_lab.tapes.tape import Tape

Speed = Annotated[
    float,
    typer.Option(
        "--speed", min=0.01, max=1_000, help="How many times faster than the clock the tape runs; 1 without a tape."
    ),
]

_SERVICES = ("gateway", "server", "api")
_LOOK_S = 0.2
_WEATHER_SEED = 3
_WEATHER_DAYS = 12
_HISTORY_DAYS = 5


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(demo)
    app.command()(simulate)


def simulate(
    tape: options.TapeFile,
    symbol: options.Symbol = None,
    tape_tz: options.TapeZone = None,
    columns: tapes.Columns = None,
    spread_unit: tapes.SpreadUnit = None,
    frame: tapes.Frame = None,
    instrument: tapes.Instruments = None,
    entries: options.EntriesText = "sma-cross:20,50",
    start: options.From = None,
    bars: options.Bars = None,
    policy: options.Policy = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Run a tape through the whole system on virtual time, beside the same entries left alone.

    Ends with 1 where a law was broken.
    """
    from dtms_lab.simulate.entries import parse_entries
    from dtms_lab.simulate.report import report_of
    from dtms_lab.simulate.run import findings, make_run
    from dtms_lab.simulate.tapes import load_piece

    signals = parse_entries(entries)
    settings = options.settings_of(config)
    policies = _policies(policy, settings)
    begin = options.instant_of(start)
    source = tapes.source_of(
        tape,
        settings,
        symbol=symbol,
        tz=tape_tz,
        columns=columns,
        spread_unit=spread_unit,
        frame=frame,
        instruments=instrument,
    )
    piece = load_piece(source, start=begin, bars=bars)
    _say_of(piece)
    with _logs_on_stderr():
        run = make_run(piece, policies=policies, signals=signals, start=begin, instruments=source.instruments)
        run.run()
    _finish(report_of(findings(run)), as_json=as_json)


@contextmanager
def _logs_on_stderr() -> Iterator[None]:
    """Keep stdout for the answer: what the product logs meanwhile goes to stderr."""
    import structlog

    before = structlog.get_config()["logger_factory"]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(logger_factory=before)


def up(
    tape: Annotated[
        Path | None, typer.Option("--tape", help="Play this market tape; generated weather at normal speed without it.")
    ] = None,
    symbol: options.Symbol = None,
    tape_tz: options.TapeZone = None,
    columns: tapes.Columns = None,
    spread_unit: tapes.SpreadUnit = None,
    frame: tapes.Frame = None,
    instrument: tapes.Instruments = None,
    entries: Annotated[
        str,
        typer.Option(
            "--entries", help="Whose trades are protected: none, sma-cross:FAST,SLOW or every:MINUTES,STOP_ATR."
        ),
    ] = "none",
    start: options.From = None,
    bars: options.Bars = None,
    speed: Speed = 1.0,
    policy: options.Policy = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Run gateway, DTMS server and main API as supervised processes.

    With a tape, or without a broker of your own, a fourth process plays the broker, and the run ends with the report of
    `simulate`. Ends with 1 where a law was broken or a process could not be kept running.
    """
    from dataclasses import replace

    from dtms_lab.instruments import files_of
    from dtms_lab.simulate.entries import parse_entries
    from dtms_lab.simulate.trader import NoEntries

    settings = options.settings_of(config, policy_file=policy)
    signals: Entries = NoEntries() if entries == "none" else parse_entries(entries)
    policies = _policies(None, settings)
    if settings.broker != "simulated" and tape is None:
        _up_live(settings)
        return
    if tape is None:
        run = _weather_run(symbol, start, bars, speed, signals.balance)
    else:
        source = tapes.source_of(
            tape,
            settings,
            symbol=symbol,
            tz=tape_tz,
            columns=columns,
            spread_unit=spread_unit,
            frame=frame,
            instruments=instrument,
        )
        files = files_of(settings.data_dir, instrument or ())
        run = replace(_tape_run(source, start, bars, speed, signals.balance), instruments=files)
    report = _up_tape(settings, policies, run, signals, quiet=as_json)
    _finish(report, as_json=as_json)


def demo(config: options.Config = None, as_json: options.Json = False) -> None:
    """Show the whole product at work: real processes over a piece of generated weather, in about a minute."""
    from dtms_lab.simulate.demo import DemoEntries, demo_run, with_free_ports

    settings, said = with_free_ports(options.settings_of(config))
    for sentence in said:
        say(sentence)
    signals = DemoEntries()
    say("Simulated broker, generated weather: no recorded prices, no real account. Starting four processes ...")
    report = _up_tape(settings, _policies(None, settings), demo_run(signals), signals, quiet=as_json, alternate=True)
    if not as_json:
        from dtms.cli.show import show_summary

        show_summary(report)
    _finish(report, as_json=as_json, shown=not as_json)


def _tape_run(source: TapeSource, start: str | None, bars: int | None, speed: float, balance: float) -> TapeRun:
    """Return the given tape as the simulated broker plays it."""
    from dtms.domain.units import MINUTE, Millis
    from dtms_lab.simulate.tape_terminal import TapeRun
    from dtms_lab.simulate.tapes import load_piece

    begin = options.instant_of(start)
    piece = load_piece(source, start=begin, bars=bars)
    first = Millis(piece.first + MINUTE) if begin is None else begin
    return TapeRun(tape=piece, start=first, speed=speed, balance=balance)


def _weather_run(symbol: str | None, start: str | None, bars: int | None, speed: float, balance: float) -> TapeRun:
    """Return generated weather after days of history, as the simulated broker plays it."""
    from dtms.domain.units import DAY, Millis
    from dtms_lab.simulate.tape_terminal import TapeRun
    from dtms_lab.simulate.tapes import cut
    from dtms_lab.tapes.weather import DEFAULT_START, make_tape

    given = options.instant_of(start)
    begin = Millis(DEFAULT_START + _HISTORY_DAYS * DAY) if given is None else given
    weather = make_tape(_WEATHER_SEED, _WEATHER_DAYS, "XAUUSD" if symbol is None else symbol)
    return TapeRun(tape=cut(weather, start=begin, bars=bars), start=begin, speed=speed, balance=balance)


def _up_tape(
    settings: Settings,
    policies: Policies,
    run: TapeRun,
    signals: Entries,
    *,
    quiet: bool,
    alternate: bool = False,
) -> dict[str, Any]:
    """Play a tape through real processes and return the report."""
    from dtms.domain.units import to_iso
    from dtms.services.host import alone
    from dtms.services.preflight import THROW_AWAY, require_ports, require_startable
    from dtms_lab.simulate.install import run_folder
    from dtms_lab.simulate.up import Up, UpPlan

    _say_of(run.tape)
    require_startable(settings, THROW_AWAY)
    require_ports(settings)
    ended = _Ending()
    with run_folder(settings) as placed, ExitStack() as ending:
        ending.enter_context(alone(placed.data_dir))
        notifier = _notifier(placed, ending)
        plan = UpPlan(settings=placed, policies=policies, run=run, signals=signals, alternate=alternate)
        begun = time.monotonic()
        started = ending.enter_context(Up(plan, notifier))
        started.start()
        ended.gently = True
        _say_where(placed, time.monotonic() - begun)
        screen = ending.enter_context(_screen(started, quiet=quiet))
        started.play(screen.show, ended=lambda: ended.asked)
        if ended.asked:
            say(f"stopped at {to_iso(started.trader.clock.market_now())} of the tape")
        return started.report()


def _up_live(settings: Settings) -> None:
    """Supervise the services over a broker of one's own until SIGTERM or Ctrl-C."""
    from dtms.core._jit import compile_all
    from dtms.services.host import alone
    from dtms.services.preflight import ALL, require_startable
    from dtms.services.supervise.process_group import ProcessGroup

    require_startable(settings, ALL)
    ended = _Ending()
    with ExitStack() as ending:
        ending.enter_context(alone(settings.data_dir))
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        processes = ProcessGroup(settings, _notifier(settings, ending))
        ending.callback(processes.stop)
        begun = time.monotonic()
        compile_all()
        processes.start()
        ended.gently = True
        _say_where(settings, time.monotonic() - begun)
        while len(processes.supervisor.given_up()) < len(_SERVICES):
            if ended.asked:
                say("stopping")
                return
            time.sleep(_LOOK_S)
    say("dtms: every service died again and again and was given up; see the logs")
    raise typer.Exit(Exit.FAILED)


class _OnScreen:
    """The supervisor's alerts for whoever looks at its terminal: what died, and whether it is started again."""

    def deliver(self, alert: Alert) -> None:
        """Print one line."""
        say(f"{datetime.now(UTC):%H:%M:%S} UTC  {alert.subject}: {alert.detail}")


def _notifier(settings: Settings, ending: ExitStack) -> Notifier:
    """Return where the supervisor's own alarms and log lines go: the owner's target, and a file beside the others."""
    import os

    from dtms.adapters.clocks import SystemClock
    from dtms.private_files import open_to_append
    from dtms.services.host import configure_logs
    from dtms.services.wiring import notifier_of

    folder = settings.data_dir / "log"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = ending.enter_context(os.fdopen(open_to_append(folder / "up.log"), "a", encoding="utf-8", buffering=1))
    configure_logs("up", file)
    notifier = notifier_of(settings, SystemClock(), _OnScreen())
    ending.callback(notifier.close)
    return notifier


def _say_where(settings: Settings, took_s: float) -> None:
    from dtms.platforms.shell import setting_of

    say(f"ready after {took_s:.1f} s")
    say(f"  dashboard and API  {settings.api_url}/ui")
    say(f"  DTMS server        {settings.server_url}/dtms/status")
    say(f"  order gateway      {settings.gateway_url}/health/ready")
    said = setting_of("DTMS_DATA_DIR", str(settings.data_dir))
    say(f"  data and logs      {settings.data_dir}  (for adopt, release, confirm and kill: {said})")


def _screen(started: Up, *, quiet: bool) -> Screen:
    from dtms.cli.live import LiveScreen, PlainScreen

    if quiet or not sys.stdout.isatty():
        return PlainScreen(started)
    return LiveScreen(started)


class _Ending:
    """Ctrl-C, SIGTERM and the end of our terminal: each ends us through every `finally`, so that no process stays behind.

    While a tape plays the first one only asks for the end, so that nothing is cut in the middle and the report is true.
    """

    def __init__(self) -> None:
        self.asked = False
        self.gently = False
        from dtms.platforms.processes import ENDING_SIGNALS

        for number in ENDING_SIGNALS:
            signal.signal(number, self._take)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if not self.gently or self.asked:
            say("dtms: interrupted")
            raise SystemExit(Exit.FAILED)  # no library takes it for its own
        self.asked = True


def _policies(policy: Path | None, settings: Settings) -> Policies:
    """Return the policy that an option names, else the settings' one, else the shipped numbers."""
    from dtms.settings import load_policy

    return load_policy(policy if policy is not None else settings.policy_file)


def _say_of(tape: Tape) -> None:
    for note in tape.notes:
        say(f"tape: {note}")
    for doubt in tape.doubts:
        say(f"tape, in doubt ({doubt.code}): {doubt.text}")


def _finish(report: dict[str, Any], *, as_json: bool, shown: bool = False) -> None:
    """Print a run's report and end: 1 where a law was broken or a process was given up."""
    if as_json:
        emit(report)
    elif not shown:
        from dtms.cli.show import show_report

        show_report(report)
    if report["invariant_violations"]:
        say(f"dtms: {report['invariant_violations']} laws were broken; see violations in the report")
        raise typer.Exit(Exit.FAILED)
    if report.get("given_up"):
        say(f"dtms: {', '.join(report['given_up'])} died again and again and was given up; see its log")
        raise typer.Exit(Exit.FAILED)
