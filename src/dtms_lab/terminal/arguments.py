"""The package's argument rules: floats where it wants floats, ints where it wants ints, and no third way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dtms_lab.terminal.records import Request

_TEXT_MAX = 29
_U64_MAX = 2**64 - 1

_FLOATS = frozenset(("volume", "price", "stoplimit", "sl", "tp"))
_TEXTS = frozenset(("symbol", "comment"))
_DEFAULTS = tuple(Request())
_MISSING = object()


class ArgumentError(Exception):
    """An argument that the package refuses before anything is sent."""


def _refuse(name: str) -> ArgumentError:
    return ArgumentError(f'Invalid "{name}" argument')


def parse_request(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
    """Return the request of `order_send(request)` or `order_send(**request)`.

    Unknown keys are ignored, missing ones are 0 or "". A NaN passes: the server has to refuse it.

    Raises:
        ArgumentError: A value has the wrong type, an int is negative, a text is too long, or there is no one dictionary.
    """
    if kwargs:
        if args:
            raise ArgumentError("Unnamed arguments not allowed")
        given = kwargs
    elif len(args) == 1 and isinstance(args[0], dict):
        given = args[0]
    else:
        raise _refuse("request")
    values: list[Any] = []
    for name, default in zip(Request._fields, _DEFAULTS, strict=True):
        value = given.get(name, _MISSING)
        values.append(default if value is _MISSING else _checked(name, value))
    return Request._make(values)


def _checked(name: str, value: Any) -> Any:
    if name in _FLOATS:
        return number(name, value)
    if name in _TEXTS:
        return text(name, value)
    return whole(name, value)


def number(name: str, value: Any) -> float:
    """Return a float; an int is none to the package."""
    if not isinstance(value, float):
        raise _refuse(name)
    return float(value)


def whole(name: str, value: Any) -> int:
    """Return an unsigned 64-bit int; a float or a NumPy integer is none to the package."""
    if not isinstance(value, int) or not 0 <= value <= _U64_MAX:
        raise _refuse(name)
    return int(value)


def signed(name: str, value: Any) -> int:
    """Return an int that may be negative."""
    if not isinstance(value, int):
        raise _refuse(name)
    return int(value)


def text(name: str, value: Any) -> str:
    """Return a text of at most 29 characters."""
    if not isinstance(value, str) or len(value) > _TEXT_MAX:
        raise _refuse(name)
    return value


def pattern(name: str, value: Any) -> str:
    """Return a group filter."""
    if not isinstance(value, str):
        raise _refuse(name)
    return value


def instant(name: str, value: Any) -> float:
    """Return a date as seconds; a naive datetime is local time, as Python and the package take it."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refuse(name)
    return float(value)


def optional_whole(name: str, value: Any) -> int | None:
    """Return an unsigned int, or None where nothing was given."""
    return None if value is None else whole(name, value)


def optional_text(name: str, value: Any) -> str | None:
    """Return a short text, or None where nothing was given."""
    return None if value is None else text(name, value)


def optional_pattern(name: str, value: Any) -> str | None:
    """Return a text of any length, or None where nothing was given."""
    return None if value is None else pattern(name, value)
