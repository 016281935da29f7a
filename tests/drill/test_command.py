"""`dtms drill simulate`: what it prints, and how it ends."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from tests.drill.planted import omit_the_target, planted

from dtms.cli.main import main


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return answer


def _drill(patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> _Ended:
    patch.setattr(sys, "argv", ["dtms", "drill", "simulate", *arguments])
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    printed = capsys.readouterr()
    return _Ended(code, printed.out, printed.err)


def test_the_last_line_is_one_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended = _drill(monkeypatch, capsys, "--seeds", "2", "--steps", "40", "--first-seed", "7", "--jobs", "1", "--json")
    assert ended.code == 0
    assert len(ended.out.splitlines()) == 1
    assert (ended.answer["seeds"], ended.answer["steps"], ended.answer["first_seed"]) == (2, 40, 7)
    assert ended.answer["repeat"] == []


def test_a_person_gets_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended = _drill(monkeypatch, capsys, "--seeds", "1", "--steps", "40", "--jobs", "1")
    assert ended.code == 0
    assert "trace hash" in ended.out
    assert "transitions" in ended.out


def test_a_broken_law_ends_it_with_1_and_the_command_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with planted(omit_the_target):
        ended = _drill(
            monkeypatch, capsys, "--seeds", "1", "--steps", "300", "--first-seed", "20000", "--jobs", "1", "--json"
        )
        assert ended.code == 1
        assert ended.answer["violated"][0]["law"] == "I6 target kept"
        (command,) = ended.answer["repeat"]
        again = _drill(monkeypatch, capsys, *_words(command), "--json")
    assert again.code == 1
    assert again.answer["violated"][0]["law"] == "I6 target kept"


def test_one_seed_is_told_step_by_step(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended = _drill(monkeypatch, capsys, "--seed", "3", "--steps", "40")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0].startswith("seed 3, 40 steps: ")
    assert lines[-1].startswith("trace hash ")


def _words(command: str) -> list[str]:
    """Return the arguments behind `dtms drill simulate`, as a shell would."""
    return shlex.split(command)[3:]
