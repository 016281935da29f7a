"""The statements of the leases: one shape for both databases, each with the database's own clock.

PostgreSQL reads its server's clock at the instant of the statement, so that no two hosts' clocks are ever compared. SQLite
is one host's: the caller gives its boot-time clock and the name of the boot, and a lease of another boot has ended.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, case, exists, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement

from dtms.adapters.sql.schema import LEASES, META

_GIVEN = bindparam("lease_now", type_=BigInteger())


class LeaseNow(ColumnElement[int]):
    """The present instant in milliseconds, as the database tells it."""

    type = BigInteger()
    inherit_cache = True


@compiles(LeaseNow)
def _given(_element: LeaseNow, compiler: SQLCompiler, **more: Any) -> str:
    return compiler.process(_GIVEN, **more)


@compiles(LeaseNow, "postgresql")
def _server(_element: LeaseNow, _compiler: SQLCompiler, **_more: Any) -> str:
    # Not now(): that is when the transaction began, which may have waited for its turn since.
    return "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)"


def _int(name: str) -> Any:
    return bindparam(name, type_=BigInteger())


def _text(name: str) -> Any:
    return bindparam(name, type_=Text())


_NOW = LeaseNow()
_BOOT = _text("lease_boot")
_NEW = insert(LEASES).values(
    name=_text("name"),
    owner=_text("owner"),
    epoch=_int("floor"),
    boot=_BOOT,
    expires_at=_NOW + _int("ttl"),
    heartbeat=_NOW,
)
LEASE_TAKE = _NEW.on_conflict_do_update(
    index_elements=["name"],
    set_={
        "owner": _NEW.excluded.owner,
        "epoch": case((LEASES.c.epoch >= _NEW.excluded.epoch, LEASES.c.epoch + 1), else_=_NEW.excluded.epoch),
        "boot": _NEW.excluded.boot,
        "expires_at": _NEW.excluded.expires_at,
        "heartbeat": _NEW.excluded.heartbeat,
    },
    where=or_(
        LEASES.c.owner == _NEW.excluded.owner,
        LEASES.c.boot != _NEW.excluded.boot,
        LEASES.c.expires_at <= _NEW.excluded.heartbeat,
    ),
)
"""Take a lease where it is free, over or one's own; its epoch grows each time, and is never below `floor`."""

_MINE = (LEASES.c.name == _text("lease_name"), LEASES.c.epoch == _int("lease_epoch"))
_ALIVE = (LEASES.c.boot == _BOOT, LEASES.c.expires_at > _NOW)
LEASE_RENEW = (
    update(LEASES)
    .where(*_MINE, LEASES.c.owner == _text("lease_owner"), *_ALIVE)
    .values(expires_at=_NOW + _int("ttl"), heartbeat=_NOW)
)
# A name of its own, so that the lease that is over is told from one that never was; the epoch stays for the next.
LEASE_GIVE_UP = (
    update(LEASES)
    .where(*_MINE, LEASES.c.owner == _text("lease_owner"))
    .values(owner=literal_column("''", Text), expires_at=literal_column("0"))
)
LEASE_LOOK = select(
    LEASES.c.owner,
    LEASES.c.epoch,
    LEASES.c.expires_at - _NOW,
    _NOW - LEASES.c.heartbeat,
    LEASES.c.boot == _BOOT,
).where(LEASES.c.name == _text("lease_name"))
LEASE_EPOCH = select(LEASES.c.epoch).where(LEASES.c.name == _text("lease_name"))
LEASE_HELD = exists().where(*_MINE, *_ALIVE)
"""Whether the lease is still of that epoch and has not ended; part of the claiming statement."""

LEASE_IS_HELD = select(LEASES.c.epoch).where(*_MINE, *_ALIVE)
GATEWAY_EPOCH = update(META).values(gateway_epoch=_int("epoch")).where(META.c.gateway_epoch < _int("epoch"))
