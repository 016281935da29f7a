from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command

HEAVY = ("fastapi", "sqlalchemy", "numba", "pydantic", "nicegui", "numpy", "uvicorn", "requests", "httpx", "rich")
COMMANDS = (
    "up",
    "demo",
    "simulate",
    "gateway",
    "server",
    "api",
    "status",
    "trades",
    "trade",
    "explain",
    "actions",
    "adopt",
    "release",
    "config",
)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['dtms', '--help']\n"
        "from dtms.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert ended.code == 0\n"
        f"print('heavy:', sorted({set(HEAVY)!r} & {{name.partition('.')[0] for name in sys.modules}}))\n"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said.splitlines()[-1] == "heavy: []"


def test_help_names_every_command_and_the_exit_codes(dtms: Command) -> None:
    ended = dtms("--help")

    assert ended.code == 0
    listed = {line.split()[0] for line in ended.out.splitlines() if line.startswith("  ") and line.split()}
    assert set(COMMANDS) <= listed
    assert "2 a setting, tape or argument cannot be used" in " ".join(ended.out.split())


def test_the_simulated_terminal_is_no_command_for_people(dtms: Command) -> None:
    assert "terminal" not in {line.split()[0] for line in dtms("--help").out.splitlines() if line.split()}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, dtms: Command) -> None:
    ended = dtms(command, "--help")

    assert ended.code == 0
    assert ended.out.startswith(f"Usage: dtms {command}")


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("trade",), ("trade", "0"), ("trade", "x"), ("explain", str(2**63)), ("up", "--speed", "0")],
)
def test_an_argument_that_cannot_be_ends_with_2(arguments: tuple[str, ...], dtms: Command) -> None:
    ended = dtms(*arguments)

    assert ended.code == 2
    assert ended.out == ""
    assert "Traceback" not in ended.err
