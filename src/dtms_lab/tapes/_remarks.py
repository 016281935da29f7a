"""What reading a tape has to say: notes are what was done, doubts are what a person should look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtms_lab.tapes._model import Doubt


@dataclass(slots=True)
class Remarks:
    """Collects the sentences of one reading, in order; the same one is kept once."""

    notes: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say what was inferred, assumed or repaired."""
        if text not in self.notes:
            self.notes.append(text)

    def doubt(self, code: str, text: str) -> None:
        """Say what was read one way and may mean another, with what to do about it."""
        found = Doubt(code, text)
        if found not in self.doubts:
            self.doubts.append(found)
