"""Wrong tokens are slowed down: after a few of them each further one waits for its answer. A right one never waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

FREE: Final = 5
"""So many wrong tokens within the window are answered at once: a person who pastes the wrong line."""

WINDOW_S: Final = 10.0
DELAY_S: Final = 1.0
"""With at most 128 connections a service (`protocol.Limits`) this is at most 128 guesses a second, of 2**256."""

_NS: Final = 1_000_000_000


class WrongTokens:
    """Remembers when the last wrong tokens came; `now_ns` is a clock for durations."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._seen: deque[int] = deque(maxlen=FREE + 1)

    def delay_s(self) -> float:
        """Take note of one wrong token; return how long its answer has to wait, in seconds."""
        now = self._now_ns()
        self._seen.append(now)
        crowded = len(self._seen) > FREE and now - self._seen[0] < WINDOW_S * _NS
        return DELAY_S if crowded else 0.0

    async def hold_back(self) -> None:
        """Take note of one wrong token and wait where there were too many.

        An application that is driven by hand has no clock to wait on; it is no service either.
        """
        delay_s = self.delay_s()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        if delay_s > 0.0:
            await asyncio.sleep(delay_s)
