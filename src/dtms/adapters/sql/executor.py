"""One driver connection inside one transaction: runs the prepared statements and turns every failure into our words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Dialect

from dtms.adapters.sql.statements import Compiled, Statement
from dtms.errors import DtmsError

Translate = Callable[[Exception], DtmsError]


class StatementBook:
    """The compiled statements of one dialect, each made when it is first needed."""

    __slots__ = ("_compiled", "_dialect")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._compiled: dict[Statement, Compiled] = {}

    def __getitem__(self, statement: Statement) -> Compiled:
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = Compiled(statement, self._dialect)
        return compiled


class Executor:
    """Runs statements on a driver's connection.

    Attributes:
        failure: The first failure; a transaction that had one must not commit, even where somebody caught the error
            (PostgreSQL turns such a COMMIT into a ROLLBACK without a word, SQLite would commit the rest).
    """

    __slots__ = ("_book", "_connection", "_errors", "_translate", "failure")

    def __init__(
        self, connection: Any, book: StatementBook, errors: tuple[type[Exception], ...], translate: Translate
    ) -> None:
        self._connection = connection
        self._book = book
        self._errors = errors
        self._translate = translate
        self.failure: DtmsError | None = None

    def all(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        compiled = self._book[statement]
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(compiled.sql, compiled.bind(values)).fetchall()
        except self._errors as error:
            raise self._failed(error) from error
        return rows

    def one(self, statement: Statement, **values: Any) -> tuple[Any, ...] | None:
        """Return the first row of a query, None where there is none."""
        compiled = self._book[statement]
        try:
            row: tuple[Any, ...] | None = self._connection.execute(compiled.sql, compiled.bind(values)).fetchone()
        except self._errors as error:
            raise self._failed(error) from error
        return row

    def change(self, statement: Statement, **values: Any) -> int:
        """Run a change and return how many rows it touched."""
        compiled = self._book[statement]
        try:
            count: int = self._connection.execute(compiled.sql, compiled.bind(values)).rowcount
        except self._errors as error:
            raise self._failed(error) from error
        return count

    def plain(self, sql: str) -> None:
        """Run a statement of the transaction itself, such as BEGIN."""
        try:
            self._connection.execute(sql)
        except self._errors as error:
            raise self._failed(error) from error

    def roll_back(self) -> None:
        """End the transaction without its effects; a connection that is gone has done so itself."""
        with suppress(*self._errors):
            self._connection.rollback()

    def _failed(self, error: Exception) -> DtmsError:
        failure = self._translate(error)
        self.failure = self.failure or failure
        return failure
