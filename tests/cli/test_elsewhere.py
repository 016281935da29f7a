"""What a system other than Linux is told."""

from __future__ import annotations

import platform

import pytest
from tests.cli.conftest import Command

from dtms.cli.output import Exit


@pytest.mark.parametrize("system", ["Windows", "Darwin"])
def test_the_restart_drill_says_in_one_sentence_that_it_runs_on_linux_alone(
    dtms: Command, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)

    ended = dtms("drill", "restart", "--sample", "1")

    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert ended.err.startswith("dtms: dtms drill restart runs on Linux alone")
    assert ended.err.count("\n") == 1
