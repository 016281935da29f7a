"""What every command shares: exit codes, errors that have one, and the two ways of printing an answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import IntEnum

from dtms.errors import BrokerUnavailableError, DtmsError, LedgerUnavailableError, SettingsError


class Exit(IntEnum):
    """How a command ends; the documented contract with scripts."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4


class UnreachableError(DtmsError):
    """A service does not answer; start it, or correct its address."""


class NotFoundError(DtmsError):
    """A service answered that it does not know what was asked for."""


class FailedError(DtmsError):
    """The command was carried out and came to nothing: a check failed, or a service refused."""


def exit_of(error: DtmsError) -> Exit:
    """Return the exit code of an error."""
    match error:
        case SettingsError():
            return Exit.USAGE
        case UnreachableError() | BrokerUnavailableError() | LedgerUnavailableError():
            return Exit.UNREACHABLE
        case NotFoundError():
            return Exit.NOT_FOUND
        case _:
            return Exit.FAILED


def printable(text: str) -> str:
    r"""Return a text with its control characters written out as JSON writes them, `\u001b` for an escape.

    Comments of a broker, reasons of a person and texts of other programs are shown here: as they are they could move the
    cursor, recolour what stands above, or forge a line.
    """
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def line(text: str) -> None:
    """Print one line of an answer."""
    print(printable(text), flush=True)


def emit(answer: Mapping[str, object]) -> None:
    """Print an answer as one JSON object on one line, the last of stdout."""
    sys.stdout.flush()
    line(json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")))


def say(text: str) -> None:
    """Print a line for a person: to stderr, so that stdout stays the answer's."""
    print("\n".join(map(printable, text.splitlines())), file=sys.stderr, flush=True)
