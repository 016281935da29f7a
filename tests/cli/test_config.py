from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command

POLICY = """
[aliases]
"Spot Gold!" = "XAUUSD"
[symbol.XAUUSD]
spread_typical = 0.4
"""


@pytest.fixture
def free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings with which a start would go on."""
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path / "data"))
    for number, name in enumerate(("GATEWAY", "SERVER", "API")):
        monkeypatch.setenv(f"DTMS_{name}_PORT", str(28_740 + number))


def test_check_tells_which_policy_each_symbol_gets(dtms: Command, tmp_path: Path, free: None) -> None:
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    names = ["m.EURUSD", "GOLD.NYSE", "Spot Gold!", "XAUUSD.\u00a3", "@ES"]
    options = [word for name in names for word in ("--symbol", name)]

    as_json = dtms("config", "check", "--policy", str(tmp_path / "policy.toml"), *options, "--json")
    as_text = dtms("config", "check", "--policy", str(tmp_path / "policy.toml"), *options)

    assert (as_json.code, as_text.code) == (0, 0)
    told = {each["symbol"]: each for each in as_json.answer["symbols"]}
    assert {name: (each["canonical"], each["uncalibrated"]) for name, each in told.items()} == {
        "m.EURUSD": ("EURUSD", False),
        "GOLD.NYSE": ("GOLD.NYSE", True),
        "Spot Gold!": ("XAUUSD", False),
        "XAUUSD.\u00a3": ("XAUUSD", False),
        "@ES": ("@ES", True),
    }
    assert told["Spot Gold!"]["spread_typical"] == 0.4
    assert (told["@ES"]["policy"], told["@ES"]["own_policy"]) == (as_json.answer["policy"], False)
    assert "uncalibrated" in as_text.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('aliases = "GOLD"', "aliases must be a table"),
        ("[aliases]\nSPOT = 3", "aliases.SPOT is 3"),
        ('[aliases]\nSPOT = "EURUSD.r"', "it is spelled EURUSD here"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused(line: str, said: str, dtms: Command, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(line, encoding="utf-8")

    ended = dtms("config", "check", "--policy", str(tmp_path / "policy.toml"))

    assert (ended.code, said in ended.err) == (2, True)


ALERTS = "discord://canary/of-a-secret"


def test_show_tells_settings_and_policy_and_no_secret(dtms: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTMS_ALERTS_URL", ALERTS)
    monkeypatch.setenv("DTMS_SERVER_PORT", "9001")

    as_json, as_text = dtms("config", "show", "--json"), dtms("config", "show")

    assert (as_json.code, as_text.code) == (0, 0)
    assert as_json.answer["settings"]["server_port"] == 9001
    assert as_json.answer["policy"]["machine"]["l1_score"] == -2.0
    for said in (as_json, as_text):
        assert "canary" not in said.out + said.err


def test_check_says_that_they_can_be_used(dtms: Command, free: None) -> None:
    ended = dtms("config", "check", "--json")

    assert ended.code == 0
    assert (ended.answer["ok"], ended.answer["broker"], ended.answer["armed"]) == (True, "simulated", False)


def test_the_environment_wins_over_the_file(dtms: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "dtms.toml"
    file.write_text("server_port = 9001\napi_port = 9000\n", encoding="utf-8")
    monkeypatch.setenv("DTMS_API_PORT", "9500")
    monkeypatch.setenv("DTMS_CONFIG", str(file))

    settings = dtms("config", "show", "--json").answer["settings"]

    assert (settings["server_port"], settings["api_port"]) == (9001, 9500)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DTMS_SERVER_PORT", "eight", "setting server_port: "),
        ("DTMS_SERVER_PORT", "70000", "setting server_port: "),
        ("DTMS_BROKER", "friend", "setting broker: "),
        ("DTMS_POLICY_FILE", "gone.toml", "gone.toml cannot be read: No such file"),
    ],
)
def test_a_bad_setting_is_one_sentence_and_ends_with_2(
    name: str, value: str, sentence: str, dtms: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    ended = dtms("config", "check")

    assert ended.code == 2
    assert sentence in ended.err
    assert (ended.out, len(ended.err.splitlines())) == ("", 1)


def test_an_unknown_key_in_the_file_is_refused(dtms: Command, tmp_path: Path) -> None:
    file = tmp_path / "dtms.toml"
    file.write_text("severity = 3\n", encoding="utf-8")

    ended = dtms("config", "check", "--config", str(file))

    assert ended.code == 2
    assert "setting severity: " in ended.err
