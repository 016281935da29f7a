"""The oracle: what the simulated server really applied. For tests and drills; the system under test may not import it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dtms.domain.units import Millis
from dtms.errors import SettingsError
from dtms.private_files import open_to_append, write_whole
from dtms_lab.terminal.recorder import AppliedKind


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleEntry:
    """One applied operation.

    `tag` is the comment that was sent with it, `volume` what it traded; the fields named before and after are the
    position's (or the pending order's). Entries of kind `position` hold the state that is valid from `at` on.
    """

    seq: int
    at: Millis
    kind: AppliedKind
    symbol: str
    identifier: int
    ticket: int
    side: int
    tag: str
    magic: int
    reason: int
    order: int
    deal: int
    stop_before: float | None
    stop_after: float | None
    target_before: float | None
    target_after: float | None
    volume_before: float
    volume_after: float
    volume: float
    price: float | None
    bid: float
    ask: float


class OracleLog:
    """Append-only; kept in memory and, with `path`, appended to a file of one JSON object a line.

    Of what the file holds the first `kept` entries stay and are gone on from; None leaves it all there, and begins at 0.
    """

    def __init__(self, path: Path | None = None, *, kept: int | None = None) -> None:
        self._entries: list[OracleEntry] = []
        if path is not None and kept is not None:
            self._entries = list(_keep(path, kept))
        self._encode = msgspec.json.Encoder().encode
        self._file: int | None = None
        if path is not None:
            self._file = open_to_append(path)

    @property
    def entries(self) -> tuple[OracleEntry, ...]:
        """All entries, oldest first."""
        return tuple(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def since(self, seq: int) -> tuple[OracleEntry, ...]:
        """Return the entries with this number or a later one; cheap for a checker that runs each step."""
        return tuple(self._entries[seq:])

    def of(self, *kinds: AppliedKind) -> tuple[OracleEntry, ...]:
        """Return the entries of these kinds."""
        return tuple(entry for entry in self._entries if entry.kind in kinds)

    def tagged(self, tag: str) -> tuple[OracleEntry, ...]:
        """Return the operations that carried this comment, without the `position` entries they caused."""
        return tuple(e for e in self._entries if e.tag == tag and e.kind is not AppliedKind.POSITION)

    def states(self, identifier: int) -> Iterator[OracleEntry]:
        """Yield the states of one position, oldest first."""
        return (e for e in self._entries if e.identifier == identifier and e.kind is AppliedKind.POSITION)

    def record(
        self,
        *,
        at: Millis,
        kind: AppliedKind,
        symbol: str,
        identifier: int,
        ticket: int,
        side: int,
        tag: str,
        magic: int,
        reason: int,
        order: int,
        deal: int,
        stop_before: float | None,
        stop_after: float | None,
        target_before: float | None,
        target_after: float | None,
        volume_before: float,
        volume_after: float,
        volume: float,
        price: float | None,
        bid: float,
        ask: float,
    ) -> None:
        """Append one operation; fulfils `Recorder`."""
        entry = OracleEntry(
            seq=len(self._entries),
            at=at,
            kind=kind,
            symbol=symbol,
            identifier=identifier,
            ticket=ticket,
            side=side,
            tag=tag,
            magic=magic,
            reason=reason,
            order=order,
            deal=deal,
            stop_before=stop_before,
            stop_after=stop_after,
            target_before=target_before,
            target_after=target_after,
            volume_before=volume_before,
            volume_after=volume_after,
            volume=volume,
            price=price,
            bid=bid,
            ask=ask,
        )
        self._entries.append(entry)
        if self._file is not None:
            os.write(self._file, self._encode(entry) + b"\n")

    def close(self) -> None:
        """Close the file; the entries in memory stay readable."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _keep(path: Path, count: int) -> tuple[OracleEntry, ...]:
    """Return the first entries of a file, and take the others off it: what a kill left behind them was never answered."""
    entries = read_oracle(path)[:count]
    write_whole(path, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    return entries


def read_oracle(path: Path) -> tuple[OracleEntry, ...]:
    """Return the entries of an oracle file, oldest first; an unfinished last line, as a kill leaves it, is left out.

    Raises:
        SettingsError: A line is no entry; the file is not an oracle log.
    """
    found: list[OracleEntry] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            found.append(msgspec.json.decode(line, type=OracleEntry))
        except msgspec.DecodeError as error:
            msg = f"{path}, line {number}: {error}; it is no oracle log, give the file that the terminal wrote"
            raise SettingsError(msg) from error
    return tuple(found)
