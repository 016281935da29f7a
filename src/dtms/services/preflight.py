"""What a start needs of its settings, looked at before anything is begun or written. `dtms config check` runs the same list."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtms.adapters.files.news import read_calendar
from dtms.adapters.files.vix import VixFile
from dtms.adapters.lock_file import HeldError, LockFile
from dtms.adapters.notify import apprise_target
from dtms.adapters.sql.opening import look, parse_place
from dtms.adapters.sql.shown import shown_url
from dtms.errors import DtmsError, SettingsError
from dtms.platforms.files import RIGHTS_UNKNOWN, rights_are_known
from dtms.private_files import folder_fault
from dtms.services.host import bind_port
from dtms.services.web.access import load_token
from dtms.services.web.serve import require_loopback
from dtms.settings import Settings, load_policy, require_data_dir

_PROBE: Final = 4_096
"""Bytes that are written and removed again: a disk may be full for them, or a folder for its owner only."""

ROLES: Final = ("gateway", "server", "api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One look: what was looked at, what was found, and whether a start would go on. `error` is what it would end with."""

    name: str
    said: str
    error: DtmsError | None = None


def _policy(settings: Settings) -> str:
    digest = load_policy(settings.policy_file).default.digest
    return f"policy {digest} from {settings.policy_file or 'the shipped numbers'}"


def _news(settings: Settings) -> str:
    if settings.news_file is None:
        return "no economic calendar"
    read_calendar(settings.news_file)
    return f"calendar {settings.news_file}"


def _vix(settings: Settings) -> str:
    if settings.vix_file is None:
        return "no VIX: no stop is widened by it"
    VixFile(settings.vix_file)
    return f"VIX {settings.vix_file}"


def _alerts(settings: Settings) -> str:
    if settings.alerts_url is None:
        return "alerts go to the log alone"
    apprise_target(settings.alerts_url.get_secret_value())
    return "alerts have a target"


def _folder(settings: Settings) -> str:
    require_data_dir(settings)
    folder = settings.data_dir
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        msg = f"data folder {folder}: {nearest} is no folder; set DTMS_DATA_DIR to another one"
        raise SettingsError(msg)
    fault = folder_fault(folder) if nearest == folder else ""
    if fault:
        raise SettingsError(f"data folder {folder}: {fault}")
    try:
        with tempfile.TemporaryFile(dir=nearest) as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        msg = (
            f"data folder {folder}: {nearest} cannot be written ({error.strerror}); make room or make it writable, or set "
            "DTMS_DATA_DIR to another one"
        )
        raise SettingsError(msg) from error
    return f"data folder {folder}{_unchecked()}" if nearest == folder else f"data folder {folder} will be made"


def _unchecked() -> str:
    return "" if rights_are_known() else f"; {RIGHTS_UNKNOWN}"


def _token(settings: Settings) -> str:
    path = settings.token_file
    if not path.exists():
        return "the token will be made"
    load_token(path)
    return f"token {path}{_unchecked()}"


def _account(settings: Settings) -> str:
    if settings.broker == "simulated":
        return "broker simulated"
    from dtms.services.gateway.way import require_account  # heavy: it stands on the kernels

    require_account(settings)
    return f"broker {settings.broker}, account {settings.account} at {settings.server_name}"


def _place(settings: Settings) -> str:
    return f"ledger in {shown_url(parse_place(settings.ledger))}"


def _ledger(settings: Settings) -> str:
    found = look(settings.ledger)
    if found is None:
        return "the ledger will be made"
    account = found[0]
    wanted = f"{settings.server_name}:{settings.account}"
    if settings.account is not None and settings.server_name is not None and account != wanted:
        msg = f"the ledger belongs to account {account}, not to {wanted}; give each account a ledger of its own"
        raise SettingsError(msg)
    return f"ledger of account {account}"


def _clock(settings: Settings) -> str:
    if settings.clock_file is None:
        return "the wall clock"
    from dtms.services.wiring import clock_of  # heavy: it stands on the kernels

    clock_of(settings)
    return f"the tape's clock {settings.clock_file}"


def _ports(settings: Settings) -> str:
    require_loopback(settings.host)
    running = running_roles(settings.data_dir)
    require_ports(settings, but=frozenset(running))
    if running:
        return f"{' and '.join(running)} of this data folder run; the other ports are free"
    return "ports " + ", ".join(str(getattr(settings, f"{role}_port")) for role in ROLES) + " are free"


LOOKS: Final[tuple[tuple[str, Callable[[Settings], str]], ...]] = (
    ("policy", _policy),
    ("news", _news),
    ("vix", _vix),
    ("alerts", _alerts),
    ("account", _account),
    ("clock", _clock),
    ("folder", _folder),
    ("token", _token),
    ("place", _place),
    ("ledger", _ledger),
    ("ports", _ports),
)
ALL: Final = frozenset(name for name, _look in LOOKS)
ONE_SERVICE: Final = frozenset({"policy", "news", "vix", "alerts", "clock", "folder", "token", "place"})
"""The rest a service looks at itself, while it takes it."""

THROW_AWAY: Final = frozenset({"policy", "news", "vix", "alerts"})
"""Of a run with the simulated broker, which has a folder, a ledger and a clock of its own."""


def findings(settings: Settings) -> Iterator[Finding]:
    """Look at everything that a start needs; nothing is written."""
    for name, each in LOOKS:
        try:
            yield Finding(name=name, said=_looked(name, each, settings))
        except DtmsError as error:
            yield Finding(name=name, said=str(error), error=error)


def require_startable(settings: Settings, looks: frozenset[str]) -> None:
    """Refuse what could not start, before anything is written.

    Args:
        settings: The installation.
        looks: What is needed: `ALL`, `ONE_SERVICE` or `THROW_AWAY`.

    Raises:
        SettingsError: A setting cannot be used; the first that was found.
        LedgerUnavailableError: The ledger cannot be reached.
    """
    for name, each in LOOKS:
        if name in looks:
            _looked(name, each, settings)


def _looked(name: str, look_at: Callable[[Settings], str], settings: Settings) -> str:
    try:
        return look_at(settings)
    except OSError as error:
        msg = f"{name}: {error.filename or ''} {error.strerror}; correct the path or its rights"
        raise SettingsError(msg) from error


def require_ports(settings: Settings, *, but: frozenset[str] = frozenset()) -> None:
    """Make sure that nobody has one of the three ports.

    Raises:
        SettingsError: Somebody has one, or two services have the same; the sentence names it and the remedy.
    """
    ports = tuple(getattr(settings, f"{role}_port") for role in ROLES)
    if len(set(ports)) != len(ports):
        msg = f"gateway, server and api have the ports {ports}; give each its own (DTMS_GATEWAY_PORT and so on)"
        raise SettingsError(msg)
    for port, role in zip(ports, ROLES, strict=True):
        if role not in but:
            bind_port(settings.host, port, role=role, variable=f"DTMS_{role.upper()}_PORT").close()


def running_roles(data_dir: Path) -> tuple[str, ...]:
    """Return the roles that work on a data folder now; nothing is made there."""
    return tuple(role for role in ROLES if _is_held(data_dir / f"{role}.lock"))


def _is_held(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        LockFile(path).release()
    except HeldError:
        return True
    except OSError:
        return False  # the folder's own look tells that
    return False
