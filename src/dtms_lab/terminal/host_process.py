"""The whole process behind `dtms up`'s simulated broker: host and oracle file together.

Apart from `host`, because whoever imports this can reach the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dtms.domain.units import Millis
from dtms_lab.instruments import InstrumentBook, open_book
from dtms_lab.terminal.books import read_books_file
from dtms_lab.terminal.driver import TapeLike
from dtms_lab.terminal.host import build_host
from dtms_lab.terminal.oracle import OracleLog
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.traits import FRESH, Traits


def run_terminal(
    tapes: Sequence[TapeLike],
    address_file: Path,
    *,
    speed: float,
    oracle_path: Path | None,
    books_path: Path | None = None,
    origin_ns: int | None = None,
    start: Millis | None = None,
    account: AccountSpec | None = None,
    instruments: InstrumentBook | None = None,
    traits: Traits = FRESH,
) -> None:
    """Serve a simulated terminal until it is stopped; its oracle is appended to `oracle_path`.

    Its account goes on from the file at `books_path`, and its tape from where it has come to since `origin_ns`.

    Raises:
        SettingsError: A tape cannot be used, the speed is none, or another terminal answers at the address file.
    """
    books = None if books_path is None else read_books_file(books_path)
    oracle = OracleLog(oracle_path, kept=None if books is None else books.recorded)
    try:
        book = open_book() if instruments is None else instruments
        build_host(
            tapes,
            address_file,
            speed=speed,
            start=start,
            recorder=oracle,
            account=account,
            specs=book.specs,
            usd_rates=book.usd_rates,
            traits=traits,
            books_path=books_path,
            origin_ns=origin_ns,
        ).run()
    finally:
        oracle.close()
