"""Seeds that once broke a law or came late to rest: they are run for ever, as far as the same seed makes the same world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtms_lab.drill.report import HEALING_MS
from dtms_lab.drill.run import run_seed

_FILE = Path(__file__).with_name("regressions.json")
_SEEDS: list[dict[str, object]] = json.loads(_FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", _SEEDS, ids=lambda entry: f"{entry['seed']}-{entry['steps']}")
def test_a_seed_that_once_broke_a_law_breaks_none_and_comes_to_rest(entry: dict[str, object]) -> None:
    seed, steps = entry["seed"], entry["steps"]
    assert isinstance(seed, int)
    assert isinstance(steps, int)
    result = run_seed(seed, steps)
    assert result.violations == ()
    assert result.healed_ms <= HEALING_MS
