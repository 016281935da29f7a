"""The simulated terminal's process of a run over a tape: the tape that it plays, and the clock that all processes share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dtms.adapters.clocks import TapeTime, write_tape_time
from dtms.domain.units import SECOND, Millis, to_iso
from dtms.errors import BrokerUnavailableError
from dtms.platforms.clock import boot_ns
from dtms.private_files import make_private
from dtms.services.supervise.supervisor import Role
from dtms.settings import Settings
from dtms_lab.instruments import InstrumentBook, open_book
from dtms_lab.simulate.tapes import covering
from dtms_lab.tapes.tape import Tape, write_tape
from dtms_lab.terminal.remote import HostControl
from dtms_lab.terminal.traits import FRESH, Traits, traits_text

_ASK_S: Final = 2.0
_SETTLE: Final = 5 * SECOND
"""The tape's clock goes on so long behind its last bar, so that the bar closes and what follows from it is done."""

_LEAD_NS: Final = 100_000_000
"""The tape begins so much later than it is said, so that no process hears of it too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeRun:
    """A tape that the simulated terminal plays: from `start` on, `speed` times as fast as the machine's clock.

    `balance` is the account's first deposit; `instruments` are files of specifications beside the shipped ones; `traits` are
    the terminal's.
    """

    tape: Tape
    start: Millis
    speed: float
    balance: float = 10_000.0
    instruments: tuple[Path, ...] = ()
    traits: Traits = FRESH

    @property
    def book(self) -> InstrumentBook:
        """The specifications of the run, its own symbol's among them."""
        return covering(self.tape, open_book(self.instruments))

    @property
    def end(self) -> Millis:
        """The instant at which the clock stands again."""
        last = self.tape.last if self.tape.quotes is not None else Millis(self.tape.last + self.tape.timeframe.value)
        return Millis(last + _SETTLE)


class TapeTerminal:
    """A process that plays the broker over a tape.

    Args:
        settings: The installation that it is the broker of; its data folder exists.
        run: The tape.
    """

    def __init__(self, settings: Settings, run: TapeRun) -> None:
        self.run = run
        self._settings = settings

    @property
    def oracle_path(self) -> Path:
        """Where the simulated broker records what it applied."""
        return self._settings.data_dir / "oracle.jsonl"

    def lay_out(self) -> None:
        """Write the tape and its clock, which stands at the start, before any process looks for them.

        Raises:
            SettingsError: The tape cannot be used.
        """
        self._tell_time(None)
        self._tape_path.unlink(missing_ok=True)  # what lies under its name is replaced, not written through
        make_private(self._tape_path)
        write_tape(self.run.tape, self._tape_path)

    def begin(self) -> None:
        """Let the tape run."""
        origin = boot_ns() + _LEAD_NS
        HostControl(self._settings.address_file).start(origin)
        self._tell_time(origin)

    def status(self) -> dict[str, Any]:
        """Return what the simulated terminal says of its tape.

        Raises:
            BrokerUnavailableError: It does not answer.
        """
        return HostControl(self._settings.address_file).status()

    def role(self) -> Role:
        """Return the process, for the supervisor: started again it goes on with the account and the tape."""
        control = HostControl(self._settings.address_file, timeout=_ASK_S)

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
            *("--books", str(self._settings.data_dir / "broker.json")),
            *(word for path in self.run.instruments for word in ("--instrument", str(path))),
            *("--frame", self.run.tape.timeframe.name, "--traits", traits_text(self.run.traits)),
        )
        return Role(name="terminal", arguments=arguments, ready=answers, alive=answers)

    @property
    def _tape_path(self) -> Path:
        return self._settings.data_dir / "tape.csv"

    def _tell_time(self, origin_ns: int | None) -> None:
        if self._settings.clock_file is None:
            return
        time = TapeTime(start=self.run.start, end=self.run.end, speed=self.run.speed, origin_ns=origin_ns)
        write_tape_time(self._settings.clock_file, time)
