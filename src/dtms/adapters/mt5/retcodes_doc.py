"""The table of retcodes as Markdown, for docs/retcodes.md: what a reader sees is what the code holds."""

from __future__ import annotations

from dtms.adapters.mt5.retcodes import RETCODES, Mend, Reaction, Retcode
from dtms.domain.receipt import RETRY

_HEAD = """# What each answer of the trade server leads to

This page is written by `dtms.adapters.mt5.retcodes_doc` from the tables that the code uses; a test fails when it is stale.
Run that test with `DTMS_WRITE_DOCS=1` to write it anew.

A code that is not here is unknown: the order may have been applied, and only what the broker shows decides.
"""
_REACTIONS = {
    Reaction.APPLIED: "done, and read back before it counts",
    Reaction.PARTIAL: "a part is done; the rest is a new order",
    Reaction.GOAL_MET: "the target held already, for the action that can mean it; for another one it is refused",
    Reaction.MEND: "refused; put in another way and tried again within the same order, at most four requests within 3 s",
    Reaction.RETRY: "refused; the same goal may be asked for again",
    Reaction.GIVE_UP: "refused for good: the plan takes its fallback",
    Reaction.HALT: "refused, and everything else will be: the breaker opens and a person is called",
    Reaction.UNKNOWN: "perhaps done: settled by what the broker shows, never by sending again",
}
_MENDS = {
    Mend.FILLING: "the next filling mode, those of the symbol's mask first; what it refused is remembered for the symbol",
    Mend.PRICE: "the present price",
    Mend.VOLUME: "the volume cut to ten, then a hundred of the symbol's steps: never more than was asked, never a full close",
    Mend.EXPIRATION: "the next lifetime: until cancelled, the day, a day from now",
}


def render_page() -> str:
    """Return the whole page."""
    lines = ["| code | name | leads to | told as | asked again |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(code, meaning) for code, meaning in RETCODES.items()]
    lines += ["", "| word | what follows |", "| --- | --- |"]
    lines += [f"| {reaction.replace('_', ' ')} | {words} |" for reaction, words in _REACTIONS.items()]
    lines += ["", "| mended by | how |", "| --- | --- |"]
    lines += [f"| {mend} | {words} |" for mend, words in _MENDS.items()]
    return _HEAD + "\n" + "\n".join(lines) + "\n"


def _row(code: int, meaning: Retcode) -> str:
    leads = meaning.reaction.replace("_", " ") + ("" if meaning.mend is None else f" ({meaning.mend})")
    told = "" if meaning.rejection is None else f"`{meaning.rejection}`"
    again = "" if meaning.rejection is None else RETRY[meaning.rejection]
    return f"| {code} | {meaning.name} | {leads} | {told} | {again} |"
