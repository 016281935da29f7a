"""What runs live loads nothing of the lab."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIVE = (
    "dtms.cli.main",
    "dtms.services.gateway.main",
    "dtms.services.server.main",
    "dtms.services.api.main",
    "dtms.services.supervise.process_group",
    "dtms.services.broker_child",
    "dtms.adapters.worker.child",
    "dtms.client",
)


@pytest.mark.parametrize("entry", LIVE)
def test_a_live_entry_point_loads_nothing_of_the_lab(entry: str) -> None:
    script = f"import sys, {entry}\nprint(sorted(name for name in sys.modules if name.startswith('dtms_lab')))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
