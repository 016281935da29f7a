"""How many examples the machines of this folder run, and for how many steps.

Few and always the same ones with each change; `DTMS_EXAMPLES=10000` runs so many random ones of 50 steps, for a night.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

NIGHTLY_STEPS = 50


def sized(examples: int, steps: int = 30) -> settings:
    """Return the settings of one machine: these, or the night's."""
    wanted = os.environ.get("DTMS_EXAMPLES", "")
    given: dict[str, Any] = {
        "max_examples": int(wanted) if wanted else examples,
        "stateful_step_count": NIGHTLY_STEPS if wanted else steps,
        "derandomize": not wanted,
        "deadline": None,
        "suppress_health_check": list(HealthCheck),
    }
    return settings(**given)


def in_memory() -> str | None:
    """Return a folder whose files are in memory, where the machine has one: no machine here needs a disk that turns."""
    shared = Path("/dev/shm")  # noqa: S108 - a fresh folder is made in it
    return str(shared) if os.access(shared, os.W_OK) else None
