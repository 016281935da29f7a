"""The kill switch's file: one word on its first line, and on the second who wrote it where that was a program.

A person with nothing but a shell presses with it, and lets go by removing it. What cannot be read was not said: it is a
state of its own, and over as soon as it can be read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtms.domain.verdict import KillLevel
from dtms.errors import SettingsError
from dtms.private_files import read_start, write_whole

_LONGEST_FILE: Final = 256
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """What the file says: its level, and who wrote it, "" where nobody is named.

    `doubt` is the word that was not understood, None for one of ours; such a file counts as `protect_only`.
    """

    level: KillLevel
    by: str = ""
    doubt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """The file, or the folder it would lie in, cannot be read; `why` is the system's word for it."""

    why: str


FileWord = Pressed | Unreadable | None
"""None where there is no file."""


def read_word(path: Path) -> FileWord:
    """Return what the file says; never blocks, whatever lies under its name."""
    try:
        lines = read_start(path, _LONGEST_FILE).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        # A folder that is gone (a share that was unmounted) says nothing about the file in it.
        return None if path.parent.is_dir() else Unreadable(why=f"its folder {path.parent} is not there")
    except OSError as error:
        return Unreadable(why=error.strerror or type(error).__name__)
    word = lines[0].strip().lower() if lines else ""
    by = _printable(lines[1].strip()) if len(lines) > 1 else ""
    if word in list(KillLevel):
        return Pressed(level=KillLevel(word), by=by)
    return Pressed(level=KillLevel.PROTECT_ONLY, by=by, doubt=_printable(word)[:20])


def write_word(path: Path, level: KillLevel, actor: str) -> None:
    """Press by the file.

    Raises:
        SettingsError: It cannot be written.
    """
    try:
        write_whole(path, f"{level}\n{_printable(actor)}\n".encode())
    except FileNotFoundError as error:
        msg = (
            f"kill switch file {path} cannot be written: there is no folder {path.parent}, so no dtms works on it; "
            "set DTMS_DATA_DIR to the data folder of the running dtms (dtms up tells it)"
        )
        raise SettingsError(msg) from error
    except OSError as error:
        msg = f"kill switch file {path} cannot be written: {error.strerror}; make its folder writable"
        raise SettingsError(msg) from error


def remove_word(path: Path) -> bool:
    """Let go of the file; say whether there was one.

    Raises:
        SettingsError: It cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        msg = f"kill switch file {path} cannot be removed: {error.strerror}; remove it by hand"
        raise SettingsError(msg) from error
    return True


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:_LONGEST_NAME]
