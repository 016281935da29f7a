"""From settings to parts: what the processes of an installation have in common. Each wires its own rest in its `main`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from dtms.adapters.clocks import AnchoredClock, FileAnchor, TapeClock, TapeTime
from dtms.adapters.files.news import read_calendar
from dtms.adapters.files.vix import VixFile
from dtms.adapters.gateway_client import GatewayClient
from dtms.adapters.notify import LogTarget, QueueNotifier, Target, apprise_target
from dtms.adapters.worker.methods import SEND
from dtms.app.defence.cycle import PASS_EVERY_S
from dtms.bootstrap import Parts
from dtms.domain.position import Account, AccountKind
from dtms.errors import BrokerUnavailableError, SettingsError
from dtms.ports.clock import Clock
from dtms.ports.crash import CrashPoints, NoCrash
from dtms.ports.ledger import Ledger
from dtms.ports.news import NewsCalendar, NoCalendar
from dtms.ports.notifier import Notifier
from dtms.ports.vix import NoVix, VixHistory
from dtms.services.armed import CrashLedger, crash_points_of
from dtms.services.web.access import OneToken, load_or_make_token
from dtms.services.web.guard import Gate, loopback_policy
from dtms.settings import Settings, load_policy

GATEWAY_PATIENCE_S: Final = 30.0
"""How long a starting service waits for the gateway: it may be starting too, or be restarted."""

FASTEST_WAKE_S: Final = 0.03
"""On a tape a loop is woken this often at most: each pass asks the gateway a few times."""

_POLL_S: Final = 0.05

_log = structlog.get_logger("dtms.wiring")


def clock_of(settings: Settings) -> Clock:
    """Return the market's clock: a tape's where one is told, else the one that all processes here anchor to boot-time.

    Raises:
        SettingsError: The tape's clock cannot be read.
    """
    if settings.clock_file is None:
        return AnchoredClock(FileAnchor(anchor_of(settings)))
    _tape_time(settings.clock_file)
    return TapeClock(settings.clock_file)


def anchor_of(settings: Settings) -> Path:
    """Return the file of the anchor that the processes of this installation share."""
    return settings.data_dir / "clock-anchor.json"


def _tape_time(path: Path) -> TapeTime:
    try:
        return TapeTime(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        msg = f"clock file {path} tells no tape's time ({error}); dtms up writes it, or unset DTMS_CLOCK_FILE"
        raise SettingsError(msg) from error


def notifier_of(settings: Settings, clock: Clock, *more: Target) -> QueueNotifier:
    """Return where alerts go: always the log and what `more` names, and the owner's own target where there is one.

    Raises:
        SettingsError: The target's URL is none.
    """
    targets: list[Target] = [LogTarget(), *more]
    if settings.alerts_url is not None:
        targets.append(apprise_target(settings.alerts_url.get_secret_value()))
    return QueueNotifier(tuple(targets), now_ns=clock.boot_ns)


def parts_of(settings: Settings, clock: Clock, ledger: Ledger, notifier: Notifier, *, role: str) -> Parts:
    """Return what every service is made of. A drill arms its crash points here, in the code and around the commits.

    Raises:
        SettingsError: The policy file, the economic calendar or the crash points cannot be used.
    """
    news: NewsCalendar = NoCalendar() if settings.news_file is None else read_calendar(settings.news_file)
    vix: VixHistory = NoVix() if settings.vix_file is None else VixFile(settings.vix_file)
    crash: CrashPoints = NoCrash()
    policies = load_policy(settings.policy_file)
    if settings.crash_point:
        crash = crash_points_of(settings.crash_point, settings.data_dir, clock.market_now)
        ledger = CrashLedger(ledger, crash, role)
        crash.reach(f"{role}.starting")
    anchor = clock if isinstance(clock, AnchoredClock) else None
    return Parts(
        ledger=ledger,
        clock=clock,
        policies=policies,
        notifier=notifier,
        news=news,
        vix=vix,
        crash=crash,
        anchor=anchor,
    )


def on_carried(settings: Settings, clock: Clock) -> Callable[[str, str], None]:
    """Return what is told of each call on its way to the broker's child and back: a drill ends the process there."""
    if not settings.crash_point:
        return lambda _method, _place: None
    crash = crash_points_of(settings.crash_point, settings.data_dir, clock.market_now)
    return lambda method, place: crash.reach(f"gateway.{place}") if method == SEND else None


def is_advisory(settings: Settings, kind: AccountKind) -> bool:
    """Say whether this installation may send nothing: every account but a simulated one, until it is armed."""
    return kind is not AccountKind.SIMULATED and not settings.armed


def token_of(settings: Settings) -> str:
    """Return the installation's token, made at the first start.

    Raises:
        SettingsError: Its file is not private, or holds none.
    """
    return load_or_make_token(settings.token_file)


def sentinel_of(settings: Settings) -> Path:
    """Return the kill switch's file: a person with nothing but a shell writes `flatten` into it."""
    return settings.data_dir / "kill-switch"


def pacemaker(settings: Settings, wake: Callable[[], None]) -> Callable[[], object]:
    """Wake a loop as often in the tape's time as it wakes in the market's; return what ends that.

    A loop that wakes each 250 ms would on a tape of sixty times the speed see the market each 15 s.
    """
    speed = 1.0 if settings.clock_file is None else _tape_time(settings.clock_file).speed
    if speed <= 1.0:
        return lambda: None
    every_s = max(FASTEST_WAKE_S, PASS_EVERY_S / speed)
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(every_s):
            wake()

    thread = threading.Thread(target=run, name="dtms-pacemaker", daemon=True)
    thread.start()

    def stop() -> None:
        ending.set()
        thread.join(1.0)

    return stop


def gate_of(settings: Settings, port: int) -> Gate:
    """Return what decides who may do what at one service."""
    return Gate(loopback_policy(port), OneToken(token_of(settings)))


def account_through_gateway(settings: Settings, gateway: GatewayClient) -> Account:
    """Return the account behind the gateway, waiting for a gateway that is starting.

    Raises:
        BrokerUnavailableError: The gateway does not answer in time, or another service does.
    """
    end = time.monotonic() + GATEWAY_PATIENCE_S
    while True:
        try:
            account = gateway.account()
            gateway.check_service()
        except BrokerUnavailableError as error:
            if time.monotonic() >= end:
                msg = f"the gateway at {settings.gateway_url} gives no account ({error}); start it with: dtms gateway"
                raise BrokerUnavailableError(msg) from error
            time.sleep(_POLL_S)
        else:
            return account
