"""A tape's content out of its file: packed or not, text in any common encoding, or a table that Polars reads."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from dtms_lab.tapes._defects import defect

_PACKED: Final[tuple[tuple[bytes, str, Callable[[bytes], bytes]], ...]] = (
    (b"\x1f\x8b", "gzip", gzip.decompress),
    (b"BZh", "bzip2", bz2.decompress),
    (b"\xfd7zXZ\x00", "xz", lzma.decompress),
)
_ZIP: Final = b"PK\x03\x04"
_PARQUET: Final = b"PAR1"
_FEATHER: Final = b"ARROW1"
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DATA_NAMES: Final = (".csv", ".tsv", ".txt", ".parquet", ".feather", ".dat", ".asc", ".prn")
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_GIVE: Final = "give a CSV (plain, gzip or zip), Parquet or Feather file"
_AGAIN: Final = "copy or download the file again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is in a file: `text`, or the bytes of a `parquet` or `feather` table. `member` is its name inside a zip."""

    text: str = ""
    parquet: bytes | None = None
    feather: bytes | None = None
    member: str = ""


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


def read_content(path: Path) -> Content:
    """Return what is in a tape's file.

    Raises:
        SettingsError: The file is missing, empty, damaged, or neither text nor a table.
    """
    raw, member = _unpacked(path, read_bytes(path))
    if path.suffix.lower() in (".parquet", ".pq") or raw.startswith(_PARQUET):
        return Content(parquet=raw, member=member)
    if raw.startswith(_FEATHER):
        return Content(feather=raw, member=member)
    text = _text(path, raw)
    if not text.strip():
        raise defect(path, None, "the file is empty", "export or download it again")
    return Content(text=text, member=member)


def _unpacked(path: Path, raw: bytes) -> tuple[bytes, str]:
    for magic, name, unpack in _PACKED:
        if raw.startswith(magic):
            try:
                return unpack(raw), ""
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise defect(path, None, f"the {name} data is broken ({error})", _AGAIN) from error
    return _member(path, raw) if raw.startswith(_ZIP) else (raw, "")


def _member(path: Path, raw: bytes) -> tuple[bytes, str]:
    """Return the one tape in a zip; a report beside it (HistData puts one in) is left."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            names = [name for name in packed.namelist() if PurePosixPath(name).suffix.lower() in _DATA_NAMES]
            tables = [name for name in names if not name.lower().endswith(".txt")] or names
            if len(tables) == 1:
                return packed.read(tables[0]), PurePosixPath(tables[0]).name
            workbook = "xl/workbook.xml" in packed.namelist()
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError) as error:
        raise defect(path, None, f"the zip is broken or locked ({error})", _AGAIN) from error
    if workbook:
        raise defect(path, None, "this is an Excel workbook", "save it as CSV")
    why = f"the zip has {len(tables)} tapes in it ({', '.join(tables[:5])})"
    raise defect(path, None, why, "unpack it and name one of them")


def _text(path: Path, raw: bytes) -> str:
    """Decode: UTF-16 where a mark or its zeros say so (MetaTrader writes it), else UTF-8, else Western European."""
    if raw.startswith(_UTF16_MARKS):
        encodings = ["utf-16"]
    elif raw[1:2] == b"\0" and raw[3:4] == b"\0":
        encodings = ["utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _NO_TEXT.search(text):
            return text
    raise defect(path, None, f"is no text ({_where(raw, encodings[0])})", _GIVE)


def _where(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not {encoding}"
    found = _NO_TEXT.search(text)
    return f"character {found.start() if found else 0} is a control character"
