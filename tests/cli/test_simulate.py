from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command

KEYS = {
    "symbol",
    "bars",
    "trades",
    "closed",
    "transitions",
    "actions",
    "refusals",
    "rails",
    "deferrals",
    "fallbacks",
    "naked_ms_max",
    "invariant_violations",
    "net_profit",
    "unmanaged_net_profit",
    "managed_minus_unmanaged_r",
    "states_visited",
    "assumptions",
    "verdict_hash",
}


def test_simulate_prints_one_object_on_the_last_line(dtms: Command, weather_tape: Path) -> None:
    ended = dtms("simulate", "--tape", str(weather_tape), "--symbol", "XAUUSD", "--entries", "every:30,3", "--json")

    assert ended.code == 0
    assert len(ended.out.splitlines()) == 1
    assert set(ended.answer) >= KEYS
    assert ended.answer["trades"] > 0
    assert (ended.answer["symbol"], ended.answer["invariant_violations"]) == ("XAUUSD", 0)


def test_the_same_simulation_twice_says_the_same(dtms: Command, weather_tape: Path) -> None:
    arguments = ("simulate", "--tape", str(weather_tape), "--entries", "every:30,3", "--bars", "600", "--json")

    assert dtms(*arguments).answer == dtms(*arguments).answer


def test_what_lies_before_from_is_history(dtms: Command, weather_tape: Path) -> None:
    ended = dtms(
        *("simulate", "--tape", str(weather_tape), "--from", "2024-05-09T12:00", "--bars", "120"),
        *("--entries", "every:30,3", "--json"),
    )

    assert ended.code == 0
    assert ended.answer["trades"] == 4


def test_a_person_gets_a_table_and_the_assumptions(dtms: Command, weather_tape: Path) -> None:
    ended = dtms("simulate", "--tape", str(weather_tape), "--bars", "300")

    assert ended.code == 0
    assert "laws broken" in ended.out
    assert "assumed: " in ended.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--tape", "nowhere.csv"), "nowhere.csv"),
        (("--entries", "hope:1,2"), "entries 'hope:1,2' are not known; write sma-cross:20,50"),
        (("--from", "yesterday"), "--from 'yesterday' is no instant; write it as 2025-05-20T12:00:00+00:00"),
        (("--from", "2030-01-01"), "lies behind the tape of XAUUSD"),
        (("--policy", "none.toml"), "policy file none.toml cannot be read"),
        (("--config", "none.toml"), "settings file none.toml does not exist"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_ends_with_2(
    arguments: tuple[str, ...], sentence: str, dtms: Command, weather_tape: Path
) -> None:
    ended = dtms("simulate", "--tape", str(weather_tape), "--json", *arguments)

    assert ended.code == 2
    assert sentence in ended.err
    assert (ended.out, "Traceback" in ended.err, len(ended.err.splitlines())) == ("", False, 1)


def test_a_tape_that_is_none_is_named(dtms: Command, tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("buy low\nsell high\n", encoding="utf-8")

    ended = dtms("simulate", "--tape", str(path), "--symbol", "XAUUSD")

    assert ended.code == 2
    assert str(path) in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_policy_with_thresholds_out_of_order_starts_nothing(
    dtms: Command, weather_tape: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[machine]\nunheard_of = 3\n", encoding="utf-8")

    ended = dtms("simulate", "--tape", str(weather_tape), "--policy", str(policy))

    assert ended.code == 2
    assert "policy has no machine.unheard_of; known here are" in ended.err


def test_a_tape_of_quotes_reports_the_minutes_it_was_decided_on(dtms: Command, tmp_path: Path) -> None:
    path = tmp_path / "XAUUSD_ticks.csv"
    seconds = range(0, 6 * 3_600, 7)
    rows = [
        f"2025-05-20T{6 + s // 3_600:02}:{s // 60 % 60:02}:{s % 60:02}Z,{3_200 + s % 97 / 50:.2f},{3_200.2 + s % 97 / 50:.2f}"
        for s in seconds
    ]
    path.write_text("\n".join(["timestamp,bid,ask", *rows]))

    whole = dtms("simulate", "--tape", str(path), "--entries", "every:60,2", "--json")
    piece = dtms("simulate", "--tape", str(path), "--entries", "every:60,2", "--bars", "90", "--json")

    assert (whole.answer["bars"], piece.answer["bars"]) == (360, 90)
    assert whole.answer["trades"] > 0


def _rows(minutes: int, step: int, price: float) -> list[str]:
    """Return bars of a market that goes up and down by itself, `step` minutes each, in the London session of a Tuesday."""
    rows = ["time,open,high,low,close"]
    for i in range(minutes // step):
        at = i * step
        opened, close = (price * (1 + 0.002 * ((x * 7) % 13 - 6) / 6) for x in (i, i + 1))
        wide = 0.0003 * price
        prices = (opened, max(opened, close) + wide, min(opened, close) - wide, close)
        rows.append(f"2025-03-04T{at // 60:02}:{at % 60:02}:00Z," + ",".join(f"{each:.5f}" for each in prices))
    return rows


def test_a_symbol_that_nobody_described_is_simulated_and_that_is_said(dtms: Command, tmp_path: Path) -> None:
    (tmp_path / "AUDCAD.csv").write_text("\n".join(_rows(480, 1, 0.9)))

    ended = dtms("simulate", "--tape", str(tmp_path / "AUDCAD.csv"), "--entries", "every:60,2", "--json")

    assert (ended.code, ended.answer["symbol"], ended.answer["bars"]) == (0, "AUDCAD", 480)
    assert ended.answer["trades"] > 0
    assert [doubt["code"] for doubt in ended.answer["doubts"]] == ["derived_instrument"]
    assert "in doubt (derived_instrument)" in ended.err


def test_an_instrument_file_says_what_a_symbol_is(dtms: Command, tmp_path: Path) -> None:
    (tmp_path / "AUDCAD.csv").write_text("\n".join(_rows(480, 1, 0.9)))
    (tmp_path / "mine.toml").write_text("[instrument.AUDCAD]\ndigits = 5\nspread_typical = 0.0010\n")

    ended = dtms(
        *("simulate", "--tape", str(tmp_path / "AUDCAD.csv"), "--entries", "every:60,2", "--json"),
        *("--instrument", str(tmp_path / "mine.toml")),
    )

    assert (ended.code, ended.answer["doubts"]) == (0, [])
    assert any("ask = bid + 0.001" in assumed for assumed in ended.answer["assumptions"])


def test_a_tape_of_long_bars_runs_only_where_a_person_says_so(dtms: Command, tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text("\n".join(_rows(1_320, 15, 1.08)))

    refused = dtms("simulate", "--tape", str(path), "--entries", "every:60,2", "--json")
    ended = dtms("simulate", "--tape", str(path), "--entries", "every:60,2", "--frame", "M15", "--json")
    wrong = dtms("simulate", "--tape", str(path), "--frame", "H1", "--json")

    assert (refused.code, wrong.code) == (2, 2)
    assert "say --frame M15" in refused.err
    assert "has M15 bars; say --frame M15" in wrong.err
    assert (ended.code, ended.answer["bars"]) == (0, 1_320)
    assert ended.answer["trades"] > 0
    assert [doubt["code"] for doubt in ended.answer["doubts"]] == ["frame"]
