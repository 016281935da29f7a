"""Frozen domain values to canonical JSON and back.

Generic over type hints: dataclasses, enums, NewTypes, tuples, optionals, and unions of dataclasses (tagged by class
name under ``type``). It is not a serialiser for arbitrary objects: what it does not know is refused when the codec is
built. Reading runs the constructors, so what comes out of the ledger was validated twice.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from dtms.errors import DtmsError, InvalidDataError

T = TypeVar("T")
Convert = Callable[[Any], Any]
_TAG = "type"
_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_DECODE = msgspec.json.Decoder().decode


class Codec(Generic[T]):
    """Writes and reads values of one type; the same value always gives the same text.

    Args:
        hint: The type, or a union of dataclasses.
        name: What an error calls it.
    """

    __slots__ = ("_dump", "_load", "_name")

    def __init__(self, hint: Any, name: str) -> None:
        self._dump, self._load = converters(hint)
        self._name = name

    def dump(self, value: T) -> str:
        """Return the canonical JSON: sorted keys, no spaces, shortest floats.

        Raises:
            InvalidDataError: A number is not finite or a value is not of its declared type; nothing was written.
        """
        try:
            return _ENCODE(self._dump(value)).decode()
        except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
            msg = f"{self._name} cannot be written: {error}; give every field a finite value of its declared type"
            raise InvalidDataError(msg) from error

    def load(self, text: str) -> T:
        """Return the value that `dump` wrote.

        Raises:
            InvalidDataError: The text is not what `dump` writes, or the value cannot be true.
        """
        try:
            return typing.cast("T", self._load(_DECODE(text)))
        except (TypeError, ValueError, msgspec.DecodeError, DtmsError) as error:
            msg = f"{self._name} cannot be read back: {error}"
            raise InvalidDataError(msg) from error


def converters(hint: Any) -> tuple[Convert, Convert]:
    """Return the two converters between a value of type `hint` and plain JSON values.

    Raises:
        TypeError: The type has no plain form; when the program starts, not when it writes.
    """
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    if hint in _PRIMITIVES:
        return _PRIMITIVES[hint]
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _union(typing.get_args(hint))
    if origin is tuple:
        return _tuple(typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(hint)
    msg = f"no codec for {hint!r}; use dataclasses, enums, tuples, optionals or plain numbers and text"
    raise TypeError(msg)


def _exactly(kind: type) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is kind:
            return value
        msg = f"{value!r} is not of type {kind.__name__}"
        raise ValueError(msg)

    return convert


def _finite(value: Any) -> float:
    # JSON has no word for NaN and the writer would make it null, which reads back as "there is none".
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    msg = f"{value!r} is not a finite number"
    raise ValueError(msg)


_PRIMITIVES: dict[Any, tuple[Convert, Convert]] = {
    bool: (_exactly(bool), _exactly(bool)),
    int: (_exactly(int), _exactly(int)),
    str: (_exactly(str), _exactly(str)),
    float: (_finite, _finite),
}


def _enum(hint: type[enum.Enum]) -> tuple[Convert, Convert]:
    members = {member.value: member for member in hint}

    def dump(value: Any) -> Any:
        if type(value) is hint:
            return value.value
        msg = f"{value!r} is not a {hint.__name__}"
        raise ValueError(msg)

    def load(raw: Any) -> Any:
        member = members.get(raw)
        if member is not None:
            return member
        msg = f"{raw!r} is no {hint.__name__}"
        raise ValueError(msg)

    return dump, load


def _tuple(args: tuple[Any, ...]) -> tuple[Convert, Convert]:
    if len(args) == 2 and args[1] is Ellipsis:  # noqa: PLR2004 - the shape of tuple[X, ...]
        dump_one, load_one = converters(args[0])
        return lambda value: [dump_one(item) for item in value], lambda raw: tuple([load_one(item) for item in raw])
    parts = [converters(arg) for arg in args]
    return (
        lambda value: [part[0](item) for part, item in zip(parts, value, strict=True)],
        lambda raw: tuple([part[1](item) for part, item in zip(parts, raw, strict=True)]),
    )


def _union(args: tuple[Any, ...]) -> tuple[Convert, Convert]:
    members = [arg for arg in args if arg is not types.NoneType]
    dump, load = converters(members[0]) if len(members) == 1 else _tagged(members)
    if len(members) == len(args):
        return dump, load
    return (
        lambda value: None if value is None else dump(value),
        lambda raw: None if raw is None else load(raw),
    )


def _enums(enums: list[type[enum.Enum]]) -> tuple[Convert, Convert]:
    """Return the converters of a union of enums, told apart by their values: no two may share one."""
    members: dict[Any, enum.Enum] = {member.value: member for each in enums for member in each}
    if len(members) != sum(map(len, enums)):
        msg = f"a union of {enums!r} cannot be told apart when read back: a value stands in two of them"
        raise TypeError(msg)

    def dump(value: Any) -> Any:
        if not isinstance(value, enum.Enum) or members.get(value.value) is not value:
            msg = f"{value!r} is not in the union"
            raise ValueError(msg)
        return value.value

    return dump, lambda raw: members[raw]


def _tagged(members: list[Any]) -> tuple[Convert, Convert]:
    if all(isinstance(member, type) and issubclass(member, enum.Enum) for member in members):
        return _enums(members)
    if not all(dataclasses.is_dataclass(member) for member in members):
        msg = f"a union of {members!r} cannot be told apart when read back; only dataclasses are tagged"
        raise TypeError(msg)
    codecs = {member.__name__: (member, *converters(member)) for member in members}

    def dump(value: Any) -> Any:
        member, dump_member, _ = codecs[type(value).__name__]
        if type(value) is not member:
            msg = f"{type(value)!r} is not in the union"
            raise ValueError(msg)
        return {_TAG: member.__name__, **dump_member(value)}

    def load(raw: Any) -> Any:
        tag = raw.get(_TAG) if isinstance(raw, dict) else None
        if tag not in codecs:
            msg = f"{tag!r} names none of {', '.join(codecs)}"
            raise ValueError(msg)
        return codecs[tag][2]({key: value for key, value in raw.items() if key != _TAG})

    return dump, load


def _dataclass(hint: Any) -> tuple[Convert, Convert]:
    if hint in _BUILT:
        return _BUILT[hint]
    names = tuple(field.name for field in dataclasses.fields(hint))
    get: Convert = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    dumps: list[Convert] = []
    loads: dict[str, Convert] = {}

    def dump(value: Any) -> Any:
        if type(value) is not hint:
            msg = f"{value!r} is not a {hint.__name__}"
            raise ValueError(msg)
        try:
            return {name: part(item) for name, part, item in zip(names, dumps, get(value), strict=True)}
        except ValueError as error:
            msg = f"in {hint.__name__}: {error}"
            raise ValueError(msg) from error

    def load(raw: Any) -> Any:
        values: dict[str, Any] = {}
        name = "(all)"
        try:
            for name, value in raw.items():
                values[name] = loads[name](value)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            msg = f"{hint.__name__}.{name}: {'unknown field' if isinstance(error, KeyError) else error}"
            raise ValueError(msg) from error
        return hint(**values)

    # Known before its fields are resolved: a dataclass may hold itself.
    _BUILT[hint] = (dump, load)
    hints = typing.get_type_hints(hint)
    for name in names:
        dump_field, load_field = converters(hints[name])
        dumps.append(dump_field)
        loads[name] = load_field
    return dump, load


_BUILT: dict[Any, tuple[Convert, Convert]] = {}
