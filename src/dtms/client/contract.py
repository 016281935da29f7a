"""The query contract in numbers and values: what is asked, how long it may take, how long an answer may be believed.

No I/O, no clock. The numbers are a contract between programs, not tunables of the policy: changing one changes what other
programs may rely on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dtms.domain.trade import DEFENSIVE_STATES, TradeState

SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000

DEFAULT_BASE_URL: Final = "http://127.0.0.1:8001"
SERVICE_NAME: Final = "dtms-server"
"""What the DTMS server calls itself at /health/live."""

TIMEOUT_S: Final = 2.0
"""For one attempt in all, from connecting to the last byte."""

ATTEMPTS: Final = 2
RETRY_WAIT_S: Final = 0.5
"""From the end of the first attempt to the start of the second."""

MAX_TRADE_BYTES: Final = 1 << 20
MAX_STATES_BYTES: Final = 4 << 20
MAX_TICKETS_A_REQUEST: Final = 10_000
"""What `POST /dtms/states` takes; more tickets are asked in several requests."""

MAX_TICKET: Final = 2**63 - 1

FRESH_NS: Final = 10 * SECOND_NS
"""An answer younger than this, strictly, is used without asking."""

LAST_KNOWN_NS: Final = 30 * SECOND_NS
"""An answer up to and including this age is used where asking fails."""

TRADE_UNKNOWN: Final = "trade_unknown"
"""The problem code by which a 404 is known to be ours."""


class Source(StrEnum):
    """Where an answer comes from: this request, the cache, memory during an outage, or nowhere (the mandated default)."""

    LIVE = "live"
    CACHE = "cache"
    LAST_KNOWN = "last_known"
    DEFAULT = "default"


def cache_key(ticket: int) -> str:
    """Return the key under which both caches hold a ticket."""
    return f"dtms_state_{ticket}"


def is_defensive_state(state: TradeState | None) -> bool:
    """Say whether a state is one in which DTMS alone may touch the trade; not being in DTMS is not."""
    return state in DEFENSIVE_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What DTMS said of one ticket: the value that both caches hold.

    `state` is None where DTMS said that it does not know the ticket. `sent_ns` is when the request was sent (or the pushed
    event, by the server), on the boot-time clock: ages run from there. `version` and `epoch` are None where the answer
    had none; such an answer cannot be compared with others.
    """

    ticket: int
    state: TradeState | None
    pending_to: TradeState | None
    defensive: bool
    version: int | None
    epoch: str | None
    sent_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEvent:
    """One pushed change of a trade's state, as the server's feed tells it.

    `sent_ns` is when the server sent it, on the boot-time clock of this host. A reader on another host does not know that
    instant and must not guess it later than the truth: what it read may have waited in a buffer.
    """

    ticket: int
    state: TradeState
    pending_to: TradeState | None
    defensive: bool
    version: int
    epoch: str
    sent_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateAnswer:
    """The answer for one ticket, and what it rests on.

    With source `default` nothing is known: `defensive` is False because the contract mandates it, not because DTMS said so.
    With any other source, a `state` of None says that DTMS does not manage the ticket. `age_ms` is None for `default`.
    """

    ticket: int
    state: TradeState | None
    pending_to: TradeState | None
    defensive: bool
    version: int | None
    epoch: str | None
    source: Source
    age_ms: int | None

    @property
    def is_default(self) -> bool:
        """Say whether this is the fallback: belief is not permission, ask the ledger and the broker before acting."""
        return self.source is Source.DEFAULT


def answer_of(known: Known, source: Source, now: int) -> StateAnswer:
    """Return what is known as an answer, with the age that it has at `now`."""
    return StateAnswer(
        ticket=known.ticket,
        state=known.state,
        pending_to=known.pending_to,
        defensive=known.defensive,
        version=known.version,
        epoch=known.epoch,
        source=source,
        age_ms=(now - known.sent_ns) // MILLISECOND_NS,
    )


def default_answer(ticket: int) -> StateAnswer:
    """Return the mandated fallback: nothing is known, not defensive."""
    return StateAnswer(
        ticket=ticket,
        state=None,
        pending_to=None,
        defensive=False,
        version=None,
        epoch=None,
        source=Source.DEFAULT,
        age_ms=None,
    )


class Identity(StrEnum):
    """Whether the service behind the address is the one we mean; `UNKNOWN` where it could not be told."""

    OURS = "ours"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """What /health/live said: `name` is the service's own name for itself, None where it gave none."""

    identity: Identity
    name: str | None
    detail: str
