"""Where log lines go: a stream whose failure costs lines and nothing else.

A full disk or a closed pipe raises in whoever logs, and that is a loop that defends positions. It does not help against a
pipe that nobody empties: that stops the writer, and the supervisor's watchdog is what ends it.
"""

from __future__ import annotations

import io
from typing import TextIO


class LogSink(io.TextIOBase):
    """Writes to another stream; `dropped` counts the writes that were lost."""

    def __init__(self, to: TextIO) -> None:
        super().__init__()
        self._to = to
        self.dropped = 0

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        try:
            self._to.write(text)
            self._to.flush()
        except (OSError, ValueError):  # ValueError is what a closed stream raises
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: each write is flushed."""
