"""Every fact of the broker about a managed position, and what it means where somebody else has changed it.

The table decides: what is compared, taken over, held or ended follows from it in `app`; `docs/facts.md` is written from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Fact(StrEnum):
    """What may differ between the broker and the ledger."""

    IDENTIFIER = "identifier"
    TICKET = "ticket"
    SYMBOL = "symbol"
    SIDE = "side"
    VOLUME_UP = "volume_up"
    VOLUME_DOWN = "volume_down"
    ENTRY = "entry"
    HISTORY = "history"
    STOP_TIGHTER = "stop_tighter"
    STOP_LOOSER = "stop_looser"
    STOP_REMOVED = "stop_removed"
    TARGET = "target"
    PRICE = "price"
    PROFIT = "profit"
    SWAP = "swap"
    MAGIC = "magic"
    COMMENT = "comment"
    OPENED_AT = "opened_at"
    CONTRACT = "contract"


class Meaning(StrEnum):
    """What follows from a change by others."""

    IGNORED = "ignored"
    """It says nothing of whose the position is or what it risks."""
    TAKEN = "taken"
    """The ledger takes it over as it is."""
    RULED = "ruled"
    """The policy's `by_hand` says: kept, moved back once, moved back always, or asked about."""
    HELD = "held"
    """The trade is observed only and a person is called; `dtms confirm` takes the broker's fact."""
    ANOTHER = "another"
    """The position is not the trade any more: ended where its deals prove it, else held; what is there is never touched."""


class FactRow(NamedTuple):
    """One fact: the field of a position that shows it, "" where deals or the symbol do, what a change means, and the words for it."""

    fact: Fact
    field: str
    meaning: Meaning
    words: str


_ROWS: Final = (
    FactRow(
        Fact.IDENTIFIER,
        "identifier",
        Meaning.ANOTHER,
        "the identifier is the position: one with another identifier is somebody else's, also on the same symbol of a netting account",
    ),
    FactRow(
        Fact.TICKET,
        "ticket",
        Meaning.TAKEN,
        "a swap that is charged by reopening gives a new one; the deals are read, for a reversal gives a new one too",
    ),
    FactRow(
        Fact.SYMBOL,
        "symbol",
        Meaning.ANOTHER,
        "a position does not change its symbol; one that was renamed is released and adopted under its new name",
    ),
    FactRow(
        Fact.SIDE,
        "side",
        Meaning.ANOTHER,
        "a netting position was turned round: the trade ended with the deal that did it, and the other side is not ours",
    ),
    FactRow(
        Fact.VOLUME_UP,
        "volume",
        Meaning.HELD,
        "somebody added to it: R, shares and the entry are of another position until a person says that it is right",
    ),
    FactRow(Fact.VOLUME_DOWN, "volume", Meaning.TAKEN, "somebody closed a part, also against an opposite position"),
    FactRow(
        Fact.ENTRY,
        "entry",
        Meaning.HELD,
        "somebody averaged the position, whatever its volume is now: breakeven and r-multiple would lie; a reopening for swap "
        "moves what is shown and not what was paid, and is taken over with its new ticket",
    ),
    FactRow(
        Fact.HISTORY,
        "",
        Meaning.ANOTHER,
        "the deals show that the position was flat or on the other side since it was registered, although it looks alike now",
    ),
    FactRow(Fact.STOP_TIGHTER, "stop", Meaning.TAKEN, "nobody loosens a stop, so a tighter one stays under every rule"),
    FactRow(Fact.STOP_LOOSER, "stop", Meaning.RULED, "`floor` moves it back once, with one alert, and then gives way"),
    FactRow(
        Fact.STOP_REMOVED, "stop", Meaning.RULED, "as a looser one; the time without a stop is measured and alarmed"
    ),
    FactRow(
        Fact.TARGET,
        "target",
        Meaning.TAKEN,
        "it stays through our own stop changes, also where it was removed; one that "
        "the broker drops with a stop of ours is put back once",
    ),
    FactRow(Fact.PRICE, "current", Meaning.IGNORED, "the market's; decisions are made on quotes"),
    FactRow(Fact.PROFIT, "profit", Meaning.IGNORED, "worked out by the broker from the price; shown"),
    FactRow(Fact.SWAP, "swap", Meaning.TAKEN, "breakeven pays what was debited"),
    FactRow(Fact.MAGIC, "magic", Meaning.IGNORED, "whoever opened the position; a trade is known by its identifier"),
    FactRow(Fact.COMMENT, "comment", Meaning.IGNORED, "brokers rewrite it; a trade is known by its identifier"),
    FactRow(
        Fact.OPENED_AT, "opened_at", Meaning.IGNORED, "the broker's clock may be set; ages run from the registration"
    ),
    FactRow(
        Fact.CONTRACT,
        "",
        Meaning.TAKEN,
        "size of the contract, value of a tick, steps and levels: R and stops are prices and stand, money is worked out by "
        "what holds now; where entry and lots are rewritten with it (a split) the trade is held, to be registered again",
    ),
)

FACTS: Final[dict[Fact, FactRow]] = {row.fact: row for row in _ROWS}
"""The table: total over the facts, and over the fields of a position."""

_HEAD: Final = """# Facts of the broker

This page is written by `dtms.domain.facts` from the table that the code uses; a test fails when it is stale.
Run that test with `DTMS_WRITE_DOCS=1` to write it anew.

A trade is managed on what the broker shows of its position.
Others may change that: a person, another program, the broker itself.
What each change means is decided here once, for the defence, the exits, the gateway and the kill switch alike.

"""
_MEANINGS: Final = {
    Meaning.IGNORED: "says nothing of whose the position is or what it risks",
    Meaning.TAKEN: "the ledger takes it over as it is",
    Meaning.RULED: "the policy's `by_hand` decides: `yield`, `floor`, `reassert` or `ask`",
    Meaning.HELD: "the trade is observed only and a person is called; `dtms confirm TICKET` takes the broker's fact",
    Meaning.ANOTHER: "not the trade any more: ended where its deals prove it, else held; what is there is never touched",
}


def render_page() -> str:
    """Return the table as Markdown, for docs/facts.md."""
    lines = ["| fact | shown by | a change by others is | why |", "| --- | --- | --- | --- |"]
    for row in FACTS.values():
        shown = f"`{row.field}`" if row.field else "symbol" if row.fact is Fact.CONTRACT else "deals"
        lines.append(f"| `{row.fact}` | {shown} | {row.meaning} | {row.words} |")
    lines += ["", "| word | what follows |", "| --- | --- |"]
    lines += [f"| {meaning} | {words} |" for meaning, words in _MEANINGS.items()]
    return _HEAD + "\n".join(lines) + "\n"
