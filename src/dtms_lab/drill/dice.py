"""Chance, from the seed alone: one stream for each kind of trouble, so that taking one kind out moves no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random

from dtms_lab.drill.kinds import Kind


class Dice:
    """Says whether trouble of a kind strikes now, and counts what struck.

    Args:
        seed: Of the whole run.
        rates: The share of opportunities at which each kind strikes; a kind that is not in it never does.
    """

    def __init__(self, seed: int, rates: Mapping[Kind, float]) -> None:
        self._seed = seed
        self._rates = dict(rates)
        self._streams: dict[str, Random] = {}
        self.healed = False
        """Whether no trouble comes any more."""
        self.counts: Counter[str] = Counter()

    def stream(self, name: str) -> Random:
        """Return the stream of a name."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = Random(f"{self._seed}:{name}")  # noqa: S311 - a drill, no secret
        return found

    def strikes(self, kind: Kind) -> bool:
        """Say whether trouble of this kind strikes at this opportunity; it is counted where it does."""
        rate = self._rates.get(kind)
        if rate is None or self.healed or self.stream(kind).random() >= rate:
            return False
        self.counts[kind] += 1
        return True

    def heal(self) -> None:
        """End all trouble."""
        self.healed = True
