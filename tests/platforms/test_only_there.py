"""What systems differ in is asked in `dtms.platforms` and nowhere else, so that there is one place to look and one to mend."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
NAMES = frozenset(
    {
        *(
            "os.fork",
            "os.forkpty",
            "os.kill",
            "os.killpg",
            "os.pread",
            "os.pwrite",
            "os.geteuid",
            "os.getuid",
            "os.setsid",
        ),
        *(
            "os.name",
            "os.mkfifo",
            "os.O_NOFOLLOW",
            "os.O_NONBLOCK",
            "os.O_CLOEXEC",
            "os.O_DIRECTORY",
            "os.set_blocking",
        ),
        *("os.WNOHANG", "os.waitid", "os.uname", "os.fchmod", "os.umask", "sys.platform", "socket.AF_UNIX"),
        *("signal.SIGKILL", "signal.SIGSTOP", "signal.SIGCONT", "signal.SIGHUP", "signal.SIGCHLD", "signal.SIGALRM"),
        *("time.CLOCK_BOOTTIME", "time.CLOCK_MONOTONIC", "time.clock_gettime", "time.clock_gettime_ns"),
    }
)
MODULES = frozenset({"fcntl", "grp", "msvcrt", "pty", "pwd", "resource", "termios", "uvloop", "winreg"})
ELSEWHERE = {
    "dtms/core/_jit.py": {
        "sys.platform"
    },  # which folder of the user is for caches; core knows nothing below the domain
    "dtms/adapters/worker/faulty.py": {
        "sys.platform"
    },  # a broker for tests that hangs in C: each system has its own sleep
    "dtms/adapters/processes.py": {"/proc"},  # what a process number means, where there are containers; looked for
    "dtms/adapters/clocks.py": {"/proc"},  # the kernel's word for a boot; "" where there is none
}
"""What is asked elsewhere, and why that is harmless."""


def asked_in(path: Path) -> Iterator[str]:
    """Yield what of this a module names, a string like `"/proc/..."` among it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if f"{module}.{name}" in NAMES:
                yield f"{module}.{name}"
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name in MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (module for _ in range(module in MODULES))
                yield from (f"{module}.{each.name}" for each in names if f"{module}.{each.name}" in NAMES)
            case ast.Constant(value=str(text)) if re.match(r"/(proc|dev|sys)(/|$)", text):
                yield "/proc"
            case _:
                pass


@pytest.mark.parametrize("package", ["dtms", "dtms_lab"])
def test_what_systems_differ_in_is_asked_in_one_place(package: str) -> None:
    found = {}
    for path in sorted((SRC / package).rglob("*.py")):
        name = path.relative_to(SRC).as_posix()
        asked = set(asked_in(path)) - ELSEWHERE.get(name, set())
        if asked and not name.startswith("dtms/platforms/"):
            found[name] = asked
    assert found == {}


def test_the_look_sees_every_way_of_asking(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "import fcntl, os, signal\nfrom time import CLOCK_BOOTTIME\nfrom resource import getrlimit\n"
        "os.killpg(1, signal.SIGKILL)\nopen('/proc/self/stat')\n",
        encoding="utf-8",
    )
    assert sorted(asked_in(tmp_path / "asks.py")) == sorted(
        ["fcntl", "os.killpg", "signal.SIGKILL", "time.CLOCK_BOOTTIME", "resource", "/proc"]
    )
