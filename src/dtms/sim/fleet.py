"""The product's processes on one machine: which there are, how they find each other, and the tape's clock that they share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import requests

from dtms.adapters.clocks import TapeTime, boot_ns, write_tape_time
from dtms.adapters.files.tape import Tape, write_tape
from dtms.adapters.instruments import InstrumentBook, open_book
from dtms.adapters.terminal.remote import HostControl
from dtms.domain.units import SECOND, Millis, to_iso
from dtms.errors import BrokerUnavailableError
from dtms.ports.notifier import Notifier
from dtms.services.web.health import API_NAME, GATEWAY_NAME, SERVER_NAME
from dtms.settings import Settings
from dtms.sim.supervisor import Role, Supervisor
from dtms.sim.tapes import covering

READY_WITHIN_S: Final = 60.0
_ASK_S: Final = 2.0
_SETTLE: Final = 5 * SECOND
"""The tape's clock goes on so long behind its last bar, so that the bar closes and what follows from it is done."""

_LEAD_NS: Final = 100_000_000
"""The tape begins so much later than it is said, so that no process hears of it too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeRun:
    """A tape that the simulated terminal plays: from `start` on, `speed` times as fast as the machine's clock.

    `balance` is the account's first deposit; `instruments` are files of specifications beside the shipped ones.
    """

    tape: Tape
    start: Millis
    speed: float
    balance: float = 10_000.0
    instruments: tuple[Path, ...] = ()

    @property
    def book(self) -> InstrumentBook:
        """The specifications of the run, its own symbol's among them."""
        return covering(self.tape, open_book(self.instruments))

    @property
    def end(self) -> Millis:
        """The instant at which the clock stands again."""
        last = self.tape.last if self.tape.quotes is not None else Millis(self.tape.last + self.tape.timeframe.value)
        return Millis(last + _SETTLE)


class Fleet:
    """The processes of one installation, supervised.

    Args:
        settings: The installation; its data folder exists.
        notifier: Told of deaths.
        run: The tape; None where the broker is a real one.
    """

    def __init__(self, settings: Settings, notifier: Notifier, run: TapeRun | None) -> None:
        self.settings = settings
        self.run = run
        self._session = requests.Session()
        self._session.trust_env = False
        self.supervisor = Supervisor(
            log_dir=settings.data_dir / "log", environment=environment_of(settings), notifier=notifier
        )

    @property
    def oracle_path(self) -> Path:
        """Where the simulated broker records what it applied."""
        return self.settings.data_dir / "oracle.jsonl"

    def start(self) -> None:
        """Start everything and wait until it is ready; a tape stands at its start.

        Raises:
            SettingsError: A setting or the tape cannot be used.
            ProcessFailedError: A process ended or did not become ready.
        """
        broker = []
        if self.run is not None:
            self._tell_time(None)
            self._tape_path.unlink(missing_ok=True)  # what lies under its name is replaced, not written through
            write_tape(self.run.tape, self._tape_path)
            broker.append(self._terminal())
        settings = self.settings
        gateway = self._service("gateway", settings.gateway_url, GATEWAY_NAME)
        server = self._service("server", settings.server_url, SERVER_NAME)
        api = self._service("api", settings.api_url, API_NAME)
        # All at once: each waits for what it stands on, and most of a start is importing.
        self.supervisor.start([*broker, gateway, server, api], timeout_s=READY_WITHIN_S)
        self.supervisor.watch()

    def begin(self) -> None:
        """Let the tape run."""
        origin = boot_ns() + _LEAD_NS
        HostControl(self.settings.socket).start(origin)
        self._tell_time(origin)

    def terminal_status(self) -> dict[str, Any]:
        """Return what the simulated terminal says of its tape.

        Raises:
            BrokerUnavailableError: It does not answer.
        """
        return HostControl(self.settings.socket).status()

    def stop(self) -> None:
        """End every process."""
        self.supervisor.stop()
        self._session.close()

    def _tell_time(self, origin_ns: int | None) -> None:
        if self.run is None or self.settings.clock_file is None:
            return
        time = TapeTime(start=self.run.start, end=self.run.end, speed=self.run.speed, origin_ns=origin_ns)
        write_tape_time(self.settings.clock_file, time)

    @property
    def _tape_path(self) -> Path:
        return self.settings.data_dir / "tape.csv"

    def _terminal(self) -> Role:
        assert self.run is not None, "only a tape has a terminal of ours"  # noqa: S101 - narrows the type
        control = HostControl(self.settings.socket, timeout=_ASK_S)

        def answers() -> bool:
            try:
                return bool(control.status())
            except BrokerUnavailableError:
                return False

        arguments = (
            "terminal",
            *("--tape", str(self._tape_path), "--symbol", self.run.tape.symbol),
            *("--from", to_iso(self.run.start), "--speed", repr(self.run.speed)),
            *("--balance", repr(self.run.balance), "--oracle", str(self.oracle_path)),
            *(word for path in self.run.instruments for word in ("--instrument", str(path))),
            *("--frame", self.run.tape.timeframe.name),
        )
        return Role(name="terminal", arguments=arguments, ready=answers, alive=answers, restarts=False)

    def _service(self, name: str, url: str, service: str) -> Role:
        return Role(
            name=name,
            arguments=(name,),
            ready=lambda: self._answers(f"{url}/health/ready"),
            alive=lambda: self._names_itself(f"{url}/health/live", service),
        )

    def _answers(self, url: str) -> bool:
        try:
            return self._session.get(url, timeout=_ASK_S).status_code == HTTPStatus.OK
        except requests.RequestException:
            return False

    def _names_itself(self, url: str, service: str) -> bool:
        try:
            return bool(self._session.get(url, timeout=_ASK_S).json()["service"] == service)
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return False


def environment_of(settings: Settings) -> Mapping[str, str]:
    """Return the settings as the variables from which another process makes the same ones."""
    given: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        variable = f"DTMS_{name.upper()}"
        if value is None:
            continue
        secret = getattr(value, "get_secret_value", None)
        given[variable] = str(value if secret is None else secret())
    # The file has been read: what it says is in the values above.
    given["DTMS_CONFIG"] = ""
    return {name: os.path.abspath(value) if name == "DTMS_DATA_DIR" else value for name, value in given.items()}  # noqa: PTH100 - a text
