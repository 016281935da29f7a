"""A variable that looks like one of ours and is none stops the start: who sets it believes that something is set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dtms.errors import SettingsError
from dtms.settings import _SWITCHES_OF_TESTS, Settings, load_settings

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DTMS_ARMD", "DTMS_ARMED may be meant"),
        ("DTMS_SEVER_PORT", "DTMS_SERVER_PORT may be meant"),
        ("DTMS_POLICYFILE", "DTMS_POLICY_FILE may be meant"),
        ("dtms_armd", "DTMS_ARMED may be meant"),
        ("DTMS_XYZ", "known are DTMS_ACCOUNT, DTMS_ALERTS_URL, "),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "canary-secret")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    said = str(caught.value)
    assert said.startswith(f"environment variable {name} names no setting; {hint}")
    assert said.endswith(": correct or unset it")
    assert "canary" not in said


@pytest.mark.parametrize("name", ["DTMS_SERVER_PORT", "dtms_server_port"])
def test_a_known_variable_is_read_in_either_case(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "9001")
    assert load_settings().server_port == 9001


def test_a_variable_of_another_program_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODTMS_ARMED", "1")
    monkeypatch.setenv("DTMSARMED", "1")
    assert load_settings().armed is False


def test_every_switch_of_the_tests_may_stand_in_the_environment_and_is_no_setting() -> None:
    """A test that starts a service would otherwise stop it by its own switch."""
    asked = re.compile(r"""environ(?:\.get\(|\[)\s*["'](DTMS_[A-Z0-9_]+)["']""")
    files = [*(_ROOT / "tests").rglob("*.py"), *(_ROOT / "bench").rglob("*.py")]
    switches = {name for file in files for name in asked.findall(file.read_text(encoding="utf-8"))}
    settings = {f"DTMS_{name.upper()}" for name in Settings.model_fields} | {"DTMS_CONFIG"}
    own = {name for name in switches if not name.startswith("DTMS_TEST_")} - settings
    assert own <= _SWITCHES_OF_TESTS
    assert not _SWITCHES_OF_TESTS & settings
