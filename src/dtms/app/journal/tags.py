"""Our mark in a comment at the broker: how what an intent did is told from what others did. `domain.intent` makes them."""

from __future__ import annotations

import re
from typing import Final

_STEM: Final = 23
_TAG: Final = re.compile(f"[a-z2-7]{{{_STEM}}}(z[0-9]+)?")


def is_tag(comment: str) -> bool:
    """Say whether a comment is what every intent's tag looks like."""
    return _TAG.fullmatch(comment) is not None


def stem_of(tag: str) -> str:
    """Return the letters of a tag that all attempts of one step share."""
    return tag[:_STEM]
