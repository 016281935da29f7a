"""The blind run is blind: what a test of the way without POSIX would not notice, is noticed here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtms.platforms import clock, files, locks, processes

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
LINES = {
    "os.killpg": "AttributeError",
    "os.kill": "AttributeError",
    "os.O_NOFOLLOW": "AttributeError",
    "__import__('signal').SIGKILL": "AttributeError",
    "__import__('time').CLOCK_BOOTTIME": "AttributeError",
    "__import__('socket').AF_UNIX": "AttributeError",
    "from os import fork": "ImportError",
    "__import__('fcntl')": "ModuleNotFoundError",
    "__import__('importlib').import_module('resource')": "ModuleNotFoundError",
    "__import__('uvloop')": "ModuleNotFoundError",
    "open('/proc/self/stat')": "FileNotFoundError",
    "__import__('pathlib').Path('/proc').stat()": "FileNotFoundError",
    "open('a?b', 'w')": "OSError",
    "__import__('pathlib').Path('a:b').mkdir()": "OSError",
    "__import__('sqlite3').connect('nul')": "OSError",
    "os.open('.', os.O_RDONLY)": "PermissionError",
}


@pytest.mark.parametrize("expression", LINES)
def test_what_windows_does_not_have_is_not_there_for_a_module_of_ours(tmp_path: Path, expression: str) -> None:
    (tmp_path / "dtms").mkdir()
    (tmp_path / "dtms/__init__.py").touch()
    (tmp_path / "dtms/asks.py").write_text(f"import os\n{expression}\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(HERE)))}

    ended = subprocess.run(
        [sys.executable, "-c", "import dtms.asks"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stderr.splitlines()[-1].startswith(LINES[expression]), ended.stderr


def test_what_is_not_ours_is_as_it_is_on_this_system(tmp_path: Path) -> None:
    script = (
        "import os, fcntl, signal, socket, time; os.killpg, signal.SIGKILL, socket.AF_UNIX; open('/proc/self/stat')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(CHECKOUT / "src"), str(HERE)))}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


@pytest.mark.skipif("posix_blind" not in sys.modules, reason="only in the blind run")
def test_dtms_goes_the_way_without_posix_in_this_run() -> None:
    assert processes._killpg is None
    assert files._pread is None
    assert not files.rights_are_known()
    assert clock._gettime_ns is None
    assert locks.wait_in_turn is None
