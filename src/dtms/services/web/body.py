"""JSON bodies, decoded by ourselves: bounded before they are parsed, strict while they are, typed afterwards.

The framework turns NaN, 1e400 and a lone surrogate into a 500 and takes the last of two equal keys. Here everything that
is not exactly what the model says is a 4xx that names the field, and never repeats what was sent.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from dtms.services.web.fields import Body
from dtms.services.web.problem import MAX_FIELDS, FieldFault, Problem, invalid

M = TypeVar("M", bound=Body)

DEFAULT_LIMIT: Final = 64 * 1024
STATES_LIMIT: Final = 1024 * 1024
"""For POST /dtms/states: 10,000 tickets of 19 digits are 200 KiB."""

MAX_DEPTH: Final = 16
MAX_MARKS: Final = 20_000
"""Strings and brackets in one body; 10,000 numbers have two."""

READ_TIMEOUT_S: Final = 5.0
"""For the whole body, from the end of the headers; a loopback client needs milliseconds."""

# Possessive, and a string without an end reaches to the end of the body: every byte is looked at once.
_MARK: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_UNSAFE: Final = re.compile("[\x00\ud800-\udfff]")
_MAX_DIGITS: Final = 20
"""64 bits and a sign; the model bounds the rest."""

_CLOSE: Final = {"Connection": "close"}
"""What is left of a body that was not read to its end must not be taken for the next request."""


def body_of(
    model: type[M], *, limit: int = DEFAULT_LIMIT, timeout_s: float = READ_TIMEOUT_S
) -> Callable[[Request], Awaitable[M]]:
    """Return a dependency that reads the request's body into `model`: `Annotated[Order, Depends(body_of(Order))]`."""

    async def read(request: Request) -> M:
        return decode(await read_body(request, limit=limit, timeout_s=timeout_s), model)

    return read


async def read_body(request: Request, *, limit: int, timeout_s: float) -> bytes:
    """Return the raw JSON body.

    Raises:
        Problem: 415 another content type or encoding, 413 too large, 408 too slow, 400 the client went away.
    """
    _require_json(request)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    try:
        async with _time_limit(timeout_s):
            return await _receive(request, limit)
    except TimeoutError:
        detail = f"The body did not arrive within {timeout_s:g} s."
        raise Problem(408, "body_too_slow", detail, headers=_CLOSE) from None


def decode(raw: bytes, model: type[M]) -> M:
    """Return the body as a checked value.

    Raises:
        Problem: 400 where it is not strict JSON, 422 with the list of fields where it is not what the model says.
    """
    _require_flat(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "body_not_json", "The body is not UTF-8.") from None
    names = _names(model)
    strict = _Tree(text).faults(names)
    if strict:
        raise invalid(strict)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        fields = [_fault(fault["loc"], fault["type"], fault["msg"], names) for fault in faults[:MAX_FIELDS]]
        raise invalid(fields) from None


def _require_json(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    parameter = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() != "application/json" or parameter not in {"", "charset=utf-8"}:
        raise Problem(415, "not_json", "Send the body as Content-Type: application/json, in UTF-8.", headers=_CLOSE)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "body_encoded", "Send the body without a Content-Encoding.", headers=_CLOSE)


def _time_limit(timeout_s: float) -> AbstractAsyncContextManager[object]:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # driven by hand: the whole body is there, and there is no clock to wait on
        return nullcontext()
    return asyncio.timeout(timeout_s)


async def _receive(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "client_gone", "The client went away before the body was complete.")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _require_flat(raw: bytes) -> None:
    """Bound the depth before anything recursive sees the body; brackets within strings do not count."""
    depth = 0
    for marks, match in enumerate(_MARK.finditer(raw)):
        token = match.group()
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
        if depth > MAX_DEPTH or marks > MAX_MARKS:
            detail = f"The body is nested deeper than {MAX_DEPTH} or has more than {MAX_MARKS} parts."
            raise Problem(422, "body_too_complex", detail)


@dataclass(frozen=True, slots=True)
class _Bad:
    """Stands in the parsed tree where strict JSON has nothing to stand."""

    code: str
    message: str


_NOT_FINITE: Final = _Bad("not_finite", "write a finite number")
_TOO_LONG: Final = _Bad("too_many_digits", "write a number of at most 64 bits")
_TWICE: Final = _Bad("duplicate_key", "this key stands twice in one object")
_NOT_TEXT: Final = _Bad("not_text", "write text without NUL and without half of a surrogate pair")


class _Tree:
    """What strict JSON forbids and lenient parsers take; values are decoded by the model, from the same bytes."""

    def __init__(self, text: str) -> None:
        self._bad = False
        try:
            self._root: object = json.loads(
                text,
                object_pairs_hook=self._unique,
                parse_constant=self._constant,
                parse_float=self._finite,
                parse_int=self._short,
            )
        except (ValueError, RecursionError):
            raise Problem(400, "body_not_json", "The body is not JSON (RFC 8259).") from None
        # Only an escape can spell what decoded UTF-8 does not hold.
        self._suspect = self._bad or "\\u" in text

    def faults(self, names: frozenset[str]) -> list[FieldFault]:
        """Return what is wrong and where."""
        if not self._suspect:
            return []
        return [
            FieldFault(field=_path(loc, names), code=bad.code, message=bad.message)
            for loc, bad in _walk(self._root, ())
        ]

    def _unique(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self._bad = True
            counts = Counter(key for key, _ in pairs)
            found |= {key: _TWICE for key, count in counts.items() if count > 1}
        return found

    def _constant(self, _: str) -> _Bad:
        self._bad = True
        return _NOT_FINITE

    def _finite(self, digits: str) -> _Bad | None:
        if math.isfinite(float(digits)):
            return None
        return self._constant(digits)

    def _short(self, digits: str) -> _Bad | None:
        if len(digits) <= _MAX_DIGITS:
            return None
        self._bad = True
        return _TOO_LONG


def _walk(node: object, loc: tuple[int | str, ...]) -> Iterator[tuple[tuple[int | str, ...], _Bad]]:
    match node:
        case _Bad():
            yield loc, node
        case str() if _UNSAFE.search(node):
            yield loc, _NOT_TEXT
        case dict():
            for key, value in node.items():
                if _UNSAFE.search(key):
                    yield (*loc, key), _NOT_TEXT
                yield from _walk(value, (*loc, key))
        case list():
            for index, value in enumerate(node):
                yield from _walk(value, (*loc, index))


def _too_large(limit: int) -> Problem:
    return Problem(413, "body_too_large", f"The body is larger than {limit} bytes.", headers=_CLOSE)


def _path(loc: tuple[int | str, ...], names: frozenset[str]) -> str:
    """Name the field by words of the model; a key that the client made up is called unknown."""
    parts = [str(part) if isinstance(part, int) or part in names else "unknown" for part in loc]
    return ".".join(parts) if parts else "body"


def _fault(loc: tuple[int | str, ...], code: str, message: str, names: frozenset[str]) -> FieldFault:
    if code == "extra_forbidden":
        message = f"this key is not known; known are: {', '.join(sorted(names))}"
    return FieldFault(field=_path(loc, names), code=code, message=message)


@cache
def _names(model: type[Body]) -> frozenset[str]:
    """Return every field name of a model and of the models in it."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", ()))
