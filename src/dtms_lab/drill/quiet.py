"""Silence: a drill breaks everything on purpose, so what the product logs about it tells nobody anything."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_NOTHING = logging.CRITICAL + 1


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the product's log lines back for a while."""
    before = structlog.get_config()["wrapper_class"]
    client = logging.getLogger("dtms")
    level = client.level
    silence()
    try:
        yield
    finally:
        structlog.configure(wrapper_class=before)
        client.setLevel(level)


def silence() -> None:
    """Keep them back for good, in a process that does nothing else."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("dtms").setLevel(_NOTHING)
