"""A tape's text as lines: plain or gzip, any line end, with or without a byte order mark."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from dtms.adapters.files._defects import defect

_GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        SettingsError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise defect(path, None, "no such file", "check the path") from None
    except IsADirectoryError:
        raise defect(path, None, "this is a folder", "name one tape in it") from None
    except OSError as error:
        raise defect(path, None, f"cannot be read ({error.strerror})", "check the file and its permissions") from error


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines without their ends; UTF-8, or UTF-16 where a mark says so, as MetaTrader writes it.

    Raises:
        SettingsError: The file is missing, empty, a broken gzip, or no text.
    """
    raw = read_bytes(path)
    if raw.startswith(_GZIP_MAGIC):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise defect(path, None, f"the gzip data is broken ({error})", "copy or download the file again") from error
    encoding = "utf-16" if raw.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        why = f"is no text (byte {error.start} is not {encoding})"
        raise defect(path, None, why, "give a CSV, plain or gzip, or a .parquet file") from error
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise defect(path, None, "the file is empty", "export or download it again")
    return lines
