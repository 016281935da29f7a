"""What a person is told of facts that others have changed: what was seen, what follows, and what to do. Words only."""

from __future__ import annotations

from dtms.app.positions.corporate_action import rewriting
from dtms.domain.figures import plain
from dtms.domain.instrument import Instrument
from dtms.domain.position import Position
from dtms.domain.trade import Hold, Trade


def over(trade: Trade, shown: Position) -> str:
    """Say that a trade has ended although something is open under its identifier."""
    return (
        f"the {trade.side.name} {plain(trade.volume)} {trade.symbol} was closed or turned round by others: its deals tell its "
        f"end. What is open under its number now, {_told(shown)}, is not managed and not touched; look after it, or take it "
        f"in with: dtms adopt {shown.ticket}"
    )


def unproved(trade: Trade, shown: Position | None) -> str:
    """Say that a trade's position is not there, or is another one, and that no deals tell why."""
    if shown is None:
        return f"position {trade.identifier} is not in the broker's list and no closing deals tell why; decide by hand"
    return (
        f"the broker shows {_told(shown)} instead of {trade.side.name} {plain(trade.volume)} {trade.symbol} from "
        f"{plain(trade.entry)}, and no deals tell how: nothing is sent for it; compare it with the broker, then: "
        f"dtms release {trade.ticket}"
    )


def held(before: Trade, after: Trade, main: Position, instrument: Instrument) -> str:
    """Say why a trade is observed only from now on; `main` is its position, or what is shown for its child."""
    words = rewriting(before, main) if after.hold is Hold.QUARANTINED else ""
    if words:
        return words
    match after.hold:
        case Hold.QUARANTINED:
            lost = ", ".join(str(each.identifier) for each in after.missing)
            return (
                f"its child {lost} is not in the broker's list and no closing deals tell why: nothing is sent for either; "
                f"look for it at the broker, and where it is gone for good: dtms confirm {after.ticket}"
            )
        case Hold.ANOTHER:
            return (
                f"the broker shows {_told(main)} as its child {main.identifier}, which that cannot be: nothing is sent for "
                f"either; look after it, then: dtms release {after.ticket}"
            )
        case Hold.BY_HAND:
            change = f"the stop was moved from {instrument.shown_level(before.stop)} to {instrument.shown_level(main.stop)} by hand"
        case Hold.ENTRY:
            change = (
                f"the broker shows the entry {instrument.shown(main.entry)} instead of "
                f"{instrument.shown(before.entry_at_broker)}: volume was added and taken off by others; R, breakeven and "
                "partials would lie. Confirming takes the broker's entry"
            )
        case _:
            change = f"volume grew from {instrument.shown_lots(before.volume)} to {instrument.shown_lots(main.volume)} by hand"
    return f"{change}; the trade is observed only until: dtms confirm {after.ticket}"


def put_back(trade: Trade, main: Position, rule: str, instrument: Instrument) -> str:
    """Say that a stop which a hand has loosened or removed is moved back."""
    again = " once: where it is moved again it stays" if rule == "floor" else ""
    change = "removed" if main.stop is None else f"loosened to {instrument.shown(main.stop)}"
    return (
        f"the stop was {change} by hand and is put back to {instrument.shown_level(trade.stop)}{again} (by_hand = {rule}); "
        f"to keep a looser stop, release the trade or set by_hand = yield"
    )


def target_dropped(trade: Trade, main: Position, instrument: Instrument) -> str:
    """Say that the broker has dropped the target with a stop of ours, and that it is put back."""
    return (
        f"the broker said done to the stop {instrument.shown_level(main.stop)} and dropped the target "
        f"{instrument.shown_level(trade.target)} with it; it is put back once. Where it is dropped again the position stays without"
    )


def _told(position: Position) -> str:
    return f"{position.side.name} {plain(position.volume)} {position.symbol} from {plain(position.entry)}"
