"""Values that were read from the ledger before: the same columns are the same value, so they are decoded and validated once.

It is not a cache of rows: each reading asks the database. What is kept is what its answer means, which cannot change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_FEW: Final = 512
"""Values that are kept in any case; a reading of more keeps as many as it had."""


class Kept(Generic[T]):
    """Decodes rows of one kind; fulfils `Callable[..., T]`.

    What was not asked for during two changes of generation is forgotten, so that what it holds is bounded by twice the
    greatest of `_FEW` and the last reading.

    Args:
        load: Makes a value of a row's columns: frozen, and the same for the same columns.
    """

    __slots__ = ("_load", "_most", "_new", "_old")

    def __init__(self, load: Callable[..., T]) -> None:
        self._load = load
        self._most = _FEW
        self._new: dict[tuple[Any, ...], T] = {}
        self._old: dict[tuple[Any, ...], T] = {}

    def __call__(self, *row: Any) -> T:
        """Return the value of a row; what `load` raises is raised each time."""
        found = self._new.get(row)
        if found is None:
            found = self._old.get(row)
            if found is None:
                found = self._load(*row)
            if len(self._new) >= self._most:
                self._old, self._new = self._new, {}
            self._new[row] = found
        return found

    def expect(self, count: int) -> None:
        """Take note of how many rows a reading of everything has."""
        self._most = max(_FEW, count)
