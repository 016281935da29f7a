"""What the client counts, always, warned or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from enum import StrEnum


class Count(StrEnum):
    """The names of the counters; each is a field of `ClientStats`."""

    PROBES = "probes"
    REQUESTS = "requests"
    RETRIES = "retries"
    FAILED_PROBES = "failed_probes"
    WITHHELD = "withheld"
    LIVE = "live"
    CACHE = "cache"
    LAST_KNOWN = "last_known"
    DEFAULT = "default"
    DEFERRALS = "deferrals"
    NOT_IN_DTMS = "not_in_dtms"
    FOREIGN_404 = "foreign_404"
    REFUSED_VERSIONS = "refused_versions"
    BAD_TICKETS = "bad_tickets"
    EVENTS = "events"
    REFUSED_EVENTS = "refused_events"
    HEARTBEATS = "heartbeats"
    WARNINGS = "warnings"
    LOST_WARNINGS = "lost_warnings"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """Totals since the client was made.

    A probe is one question, a request one attempt at it. `withheld` counts tickets that were not asked about because
    the service had just failed. `live`, `cache`, `last_known` and `default` count answers by source, `deferrals` those
    that were defensive. `lost_warnings` are those whose callback raised.
    """

    probes: int
    requests: int
    retries: int
    failed_probes: int
    withheld: int
    live: int
    cache: int
    last_known: int
    default: int
    deferrals: int
    not_in_dtms: int
    foreign_404: int
    refused_versions: int
    bad_tickets: int
    events: int
    refused_events: int
    heartbeats: int
    warnings: int
    lost_warnings: int


def snapshot(counts: Counter[Count]) -> ClientStats:
    """Return the totals as a value."""
    return ClientStats(**{field.name: counts[Count(field.name)] for field in fields(ClientStats)})
