"""No command prints a secret: not the ledger's password, not where alerts go, not the token; whatever goes wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from dtms.adapters.notify import apprise_target
from dtms.adapters.sql.shown import shown_url
from dtms.cli.main import app
from dtms.errors import SettingsError
from dtms.settings import load_settings

if TYPE_CHECKING:
    from tests.cli.conftest import Command

CANARY = "canary-4711"
URLS = [
    f"postgresql+psycopg://dtms:{CANARY}@127.0.0.1:9/dtms",
    f"postgresql://127.0.0.1:9/dtms?password={CANARY}",
    f"postgresql://127.0.0.1:9/dtms?user=dtms&sslpassword={CANARY}",
    f"postgresql://dtms:{CANARY}@127.0.0.1:port/dtms",
    f"mysql://dtms:{CANARY}@127.0.0.1:9/dtms",
    f"sqlite:///relative/x.db?password={CANARY}",
    CANARY,
]
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "trade": ("1",),
    "explain": ("1",),
    "release": ("1",),
    "adopt": ("1",),
    "confirm": ("1",),
    "settle": ("0" * 26, "--applied"),
    "mode halt": ("--reason", "r"),
    "mode resume": ("--reason", "r"),
    "ledger backup": ("b.sqlite3",),
    "ledger restore": ("b.sqlite3",),
}
LONG = frozenset({"demo", "simulate", "up", "gateway", "server", "api", "drill simulate", "drill restart"})
"""Commands that begin a run of their own, or wait for one."""


def commands(group: Any = None, name: str = "") -> list[str]:
    found: Any = typer.main.get_command(app) if group is None else group
    if not hasattr(found, "commands"):
        return [name]
    return [each for word, sub in found.commands.items() for each in commands(sub, f"{name} {word}".strip())]


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text(f"{CANARY}{'x' * 32}\n")
    token.chmod(0o600)
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DTMS_ALERTS_URL", f"nonsense://{CANARY}")
    for name in ("GATEWAY", "SERVER", "API"):
        monkeypatch.setenv(f"DTMS_{name}_PORT", str(9 + len(name)))


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("url", URLS)
def test_no_command_prints_a_secret(dtms: Command, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DTMS_LEDGER_URL", url)
    short = [name for name in commands() if name not in LONG]
    assert len(short) > 20
    for name in short:
        ended = dtms(*name.split(), *ARGUMENTS.get(name, ()))
        assert CANARY not in ended.out + ended.err, name


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("url", URLS)
def test_the_settings_show_where_the_ledger_is_and_nobody_its_password(url: str) -> None:
    found = load_settings(None, ledger_url=url, alerts_url=f"nonsense://{CANARY}")
    for text in (repr(found), str(found), str(found.model_dump(mode="json")), found.model_dump_json()):
        assert CANARY not in text
    assert found.ledger == url


def test_a_url_is_shown_without_what_lets_anybody_in() -> None:
    assert shown_url(f"postgresql://u:{CANARY}@h:1/d?password={CANARY}") == "postgresql://u:***@h:1/d?password=..."
    assert shown_url("postgresql+psycopg://h/d") == "postgresql+psycopg://h/d"


@pytest.mark.parametrize("url", [f"nonsense://{CANARY}", CANARY, f"discord://{CANARY}", f"mailto://u:{CANARY}@"])
def test_an_alert_address_that_is_none_is_logged_by_nobody(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(SettingsError) as error:
        apprise_target(url)
    assert CANARY not in caplog.text + str(error.value)
