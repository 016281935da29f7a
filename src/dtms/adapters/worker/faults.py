"""Errors over the border: ours come back as themselves with their fields, a vendor's never does."""

from __future__ import annotations

import inspect
from typing import Final

from dtms import errors
from dtms.adapters.worker.frames import ErrorWire
from dtms.errors import DtmsError

_LONGEST: Final = 2_000
"""Characters of an error's sentence; a library may put a whole answer into it."""

KINDS: Final[dict[str, type[DtmsError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, DtmsError)
}


def _fields_of(kind: type[DtmsError]) -> tuple[str, ...]:
    parameters = inspect.signature(kind.__init__).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


_FIELDS: Final = {name: _fields_of(kind) for name, kind in KINDS.items()}


def error_to_wire(error: Exception) -> ErrorWire:
    """Return an error as it is sent: as the nearest class of our tree, or as a foreign one."""
    for kind in type(error).__mro__:
        if KINDS.get(kind.__name__) is kind:
            fields = {name: getattr(error, name) for name in _FIELDS[kind.__name__]}
            return ErrorWire(kind.__name__, str(error)[:_LONGEST], fields)
    return ErrorWire("", f"{type(error).__name__}: {error}"[:_LONGEST])


def error_from_wire(wire: ErrorWire) -> DtmsError | None:
    """Return the error that was sent, None for a foreign one."""
    kind = KINDS.get(wire.kind)
    return None if kind is None else kind(wire.message, **wire.fields)
