"""`dtms demo`: a piece of generated weather in which trades meet everything, opened by a person and by a program in turn."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from dtms.domain.score import MarketView
from dtms.domain.units import MINUTE, Millis, Side
from dtms.errors import SettingsError
from dtms.services.host import bind_port
from dtms.settings import Settings
from dtms_lab.simulate.tape_terminal import TapeRun
from dtms_lab.simulate.tapes import cut
from dtms_lab.tapes.weather import make_tape

SPEED: Final = 160.0
BARS: Final = 150
_SEED: Final = 1
_DAYS: Final = 6
_START: Final = Millis(1_715_621_400_000)
"""A fall with half of it taken back: warned, partly closed, hedged, recovered. Found by looking at many such places."""

_EVERY = 10 * MINUTE
_WIDE, _NARROW = 8.0, 3.0
"""Stops in ATR(M15): a wide one leaves room for the defence to hedge and recover, a near one lets profit be taken."""


@dataclass(slots=True)
class DemoEntries:
    """A trade every ten minutes: both sides, with wide and near stops in turn."""

    stop_atr: float = _WIDE
    target_atr: float = 2 * _WIDE
    max_open: int = 10
    balance: float = 100_000.0
    _turn: int = -1

    def on_bar(self, view: MarketView) -> Side | None:
        """Return the next side when its time has come."""
        if view.at % _EVERY != 0:
            return None
        self._turn += 1
        self.stop_atr = _WIDE if self._turn % 4 < 2 else _NARROW  # noqa: PLR2004 - two wide ones, two near ones
        self.target_atr = 2 * self.stop_atr
        return Side.BUY if self._turn % 2 == 0 else Side.SELL


def demo_run(signals: DemoEntries) -> TapeRun:
    """Return the piece of weather: days of history, then two and a half hours in less than a minute."""
    tape = cut(make_tape(_SEED, _DAYS), start=_START, bars=BARS)
    return TapeRun(tape=tape, start=_START, speed=SPEED, balance=signals.balance)


def with_free_ports(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return settings in which each port is free, and a sentence for each that had to be another one."""
    changes: dict[str, int] = {}
    said = []
    for role in ("gateway", "server", "api"):
        name = f"{role}_port"
        wanted = getattr(settings, name)
        try:
            bind_port(settings.host, wanted, role=role, variable=f"DTMS_{name.upper()}").close()
        except SettingsError:
            changes[name] = _free_port(settings.host, frozenset(changes.values()))
            said.append(f"port {wanted} of the {role} is in use; this demo takes {changes[name]}")
    return settings.model_copy(update=changes), tuple(said)


def _free_port(host: str, taken: frozenset[int]) -> int:
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
