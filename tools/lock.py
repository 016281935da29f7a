"""What the locks must hold so that a fresh machine can install them. `extras` needs no network, `windows` asks the package index.

    python tools/lock.py extras     # part of `make check`
    python tools/lock.py windows    # `make lock-windows`, some minutes

In hash mode pip wants each requirement that it meets to stand in the lock as it is asked for: a distribution that asks for
`coverage[toml]` is not served by a line that says `coverage==`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = (Path("requirements/run.txt"), Path("requirements/dev.txt"))

PLATFORMS: Mapping[str, Mapping[str, str]] = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "win32": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
    "darwin": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
}
WINDOWS_PYTHON = "3.11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One requirement of a lock: where it holds and under which extras."""

    requirement: Requirement

    @property
    def name(self) -> str:
        """Return the distribution's canonical name."""
        return canonicalize_name(self.requirement.name)

    def holds_on(self, platform: str) -> bool:
        """Return whether this line is installed on a platform."""
        return _holds(self.requirement.marker, platform, frozenset())


def lines_of(text: str) -> tuple[Line, ...]:
    """Return a lock's requirements; hashes, comments and continuations are left out.

    Raises:
        InvalidRequirement: A line is none; compile the lock anew.
    """
    wanted = (line.split(" \\")[0].split("--hash")[0].strip() for line in text.splitlines())
    return tuple(Line(requirement=Requirement(line)) for line in wanted if line and not line.startswith(("#", "-")))


def missing_extras(lines: tuple[Line, ...], platform: str) -> Iterator[str]:
    """Yield a sentence for each requirement with extras that the lock does not hold as it is asked for."""
    held: dict[str, set[str]] = {}
    for line in lines:
        if line.holds_on(platform):
            held.setdefault(line.name, set()).update(line.requirement.extras)
    for name, extras in held.items():
        for asked in _requirements(name):
            wanted = canonicalize_name(asked.name)
            if not asked.extras or not _holds(asked.marker, platform, frozenset(extras)):
                continue
            lacking = asked.extras - held.get(wanted, set())
            if lacking:
                yield f"{name} asks for {wanted}[{','.join(sorted(asked.extras))}] on {platform}; compile with: make lock"


def _requirements(name: str) -> tuple[Requirement, ...]:
    """Return what an installed distribution asks for; one that is for other platforms is not here to be asked."""
    try:
        return tuple(Requirement(each) for each in metadata.requires(name) or ())
    except metadata.PackageNotFoundError:
        return ()


def _holds(marker: Marker | None, platform: str, extras: frozenset[str]) -> bool:
    if marker is None:
        return True
    here = {name: str(value) for name, value in default_environment().items()}
    environment = {**here, **PLATFORMS[platform]}
    return any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras))


def check_extras() -> int:
    """Print what is missing in either lock; return the exit code."""
    faults = [
        f"{lock}: {fault}"
        for lock in LOCKS
        for platform in PLATFORMS
        for fault in missing_extras(_read(lock), platform)
    ]
    print("\n".join(faults) or f"locks: every extra that is asked for stands in {', '.join(map(str, LOCKS))}")
    return 1 if faults else 0


def check_windows(lock: Path) -> int:
    """Ask the index for a Windows wheel of each line that Windows installs; return the exit code."""
    lines = [line for line in _read(lock) if line.holds_on("win32")]
    lacking = [line.requirement for line in lines if not _has_windows_wheel(line.requirement)]
    for requirement in lacking:
        print(f"{lock}: {requirement.name}{requirement.specifier} has no wheel for Windows")
    print(f"{lock}: {len(lines) - len(lacking)} of {len(lines)} lines have a wheel for Windows")
    return 1 if lacking else 0


def _has_windows_wheel(requirement: Requirement) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--platform", "win_amd64", "--python-version", WINDOWS_PYTHON, "--only-binary=:all:"),
            *("--dest", folder, f"{requirement.name}{requirement.specifier}"),
        ]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def _read(lock: Path) -> tuple[Line, ...]:
    return lines_of(lock.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Run one of the two checks."""
    match arguments:
        case ["extras"]:
            return check_extras()
        case ["windows"]:
            return check_windows(LOCKS[0])
        case ["windows", lock]:
            return check_windows(Path(lock))
        case _:
            print(__doc__)
            return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
