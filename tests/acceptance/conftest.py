"""One run of each recorded M1 tape through the whole system, shared by the tests that look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dtms.settings import load_policy
from dtms_lab.simulate.entries import parse_entries
from dtms_lab.simulate.report import report_of
from dtms_lab.simulate.run import findings, make_run
from dtms_lab.tapes.tape import read_tape

TAPES = {
    "mt5_XAUUSD": "mt5_XAUUSD_M1_20250515_20250604.csv.gz",
    "mt5_BTCUSD": "mt5_BTCUSD_M1_20250521_20250604.csv.gz",
    "fxcm_GBPUSD": "fxcm_GBPUSD_M1_bid_201202.csv.gz",
    "fxcm_USDJPY": "fxcm_USDJPY_M1_bid_201302.csv.gz",
    "oanda_EURUSD": "oanda_EURUSD_M1_quote_20140501_20140515.csv.gz",
    "oanda_XAUUSD": "oanda_XAUUSD_M1_quote_20140501_20140515.csv.gz",
}
"""The six tapes of bars_m1; bid and ask of a pair are one."""


def simulate(path: Path, entries: str = "sma-cross:20,50") -> dict[str, Any]:
    """Run one tape and return its report."""
    run = make_run(read_tape(path), policies=load_policy(), signals=parse_entries(entries))
    run.run()
    return report_of(findings(run))


@pytest.fixture(scope="session")
def reports(shared_data: Path) -> dict[str, dict[str, Any]]:
    """The report of every recorded tape, by name."""
    found = {name: simulate(shared_data / "bars_m1" / file) for name, file in TAPES.items()}
    for name, report in found.items():
        print(name, report["managed_minus_unmanaged_r"], report["transitions"])
    return found
