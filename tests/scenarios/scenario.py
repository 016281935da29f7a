"""What one scenario of reliability.md 11.2 is, and by what it is shown: tests, faults of the simulator, or nothing yet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """The groups of scenarios, in the specification's order."""

    CRASH = "Crash and journal"
    BROKER = "Broker"
    NETWORK = "Network between services, messaging"
    TIME = "Time and data"
    HTTP = "HTTP and operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario.

    Attributes:
        number: As in the specification.
        group: Where it stands there.
        words: What happens, and what must come of it.
        tests: Node ids of the tests that make it happen.
        kinds: Names of the simulator's faults that make it happen, as its report counts them.
        later: What of it is not shown yet, and why; "" where nothing is left.
    """

    number: int
    group: Group
    words: str
    tests: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    later: str = ""

    @property
    def shown(self) -> bool:
        """Say whether anything shows it."""
        return bool(self.tests or self.kinds)


def at(file: str, *names: str) -> tuple[str, ...]:
    """Return the node ids of tests in one file below `tests/`."""
    return tuple(f"tests/{file}::{name}" for name in names)
