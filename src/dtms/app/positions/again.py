"""When a stop that is put back, or a child that follows its parent, is asked for once more after it came to nothing.

Each of these is planned once a bar, so that a refusal that stays is no storm. The first refusal of a bar is not left standing
until the next one, for meanwhile the position has another stop than its own, or none; a second one is: 24 tries an hour stay
within `operation.refusals_per_hour`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dtms.domain.intent import Intent, IntentState
from dtms.domain.units import SECOND, Millis

_AGAIN_AFTER: Final = 45 * SECOND
"""Under the minute in which everything is to be at rest; a passing refusal of broker or market is over by then."""
_ONCE: Final = 1
_NOTHING: Final = (IntentState.REJECTED, IntentState.NOT_APPLIED, IntentState.CANCELLED)


def once_more(tried: Sequence[Intent], now: Millis) -> bool:
    """Say whether to ask again within the bar.

    Args:
        tried: What was planned for it in this bar and was refused for good, or came to nothing; oldest first, not empty.
        now: The present instant.
    """
    last = tried[-1]
    ended = last.state in _NOTHING and last.settled_at is not None and now - last.settled_at >= _AGAIN_AFTER
    return ended and len(tried) <= _ONCE
