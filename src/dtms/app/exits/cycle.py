"""The exit manager's cycle with what its failures mean: what the main API's thread runs, and a drill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from dtms.app.exits.manager import IntelligentExitManager
from dtms.app.modes.pass_health import PassHealth

_Cache = TypeVar("_Cache")


@dataclass(slots=True, kw_only=True)
class ExitPass(Generic[_Cache]):
    """Runs the manager once a call; whoever runs it calls somebody for what it returns."""

    manager: IntelligentExitManager[_Cache]
    health: PassHealth
    started: bool = False

    def run(self) -> Exception | None:
        """Make one cycle; return what it failed on, None where it was whole."""
        try:
            self.health.ledger.look()
            self.manager.cycle()
        except Exception as error:  # noqa: BLE001 - the supervisor's loop: a cycle that dies silently takes no profit
            return self._ended(error)
        return self._ended(self.manager.broke)

    def _ended(self, error: Exception | None) -> Exception | None:
        if error is None:
            self.started = True
            self.health.passed()
        else:
            self.health.failed(error, started=self.started)
        return error
