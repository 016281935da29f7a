"""Who may do what: scopes, principals, and the one token of an installation, made at the first start."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from dtms.errors import SettingsError
from dtms.platforms.files import owner_fault, shared_with
from dtms.private_files import open_plain

_TOKEN_BYTES: Final = 32
"""256 bits, as reliability.md section 8 asks."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_QUERIES: Final = frozenset({"/dtms/states"})
"""POST requests that only ask; the list they ask for is too long for a URL."""


class Access(StrEnum):
    """What a token may be good for."""

    READ = "read"
    TRADE = "trade"
    KILL = "kill"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks; `name` goes into audit entries and idempotency keys, never the token."""

    name: str
    access: frozenset[Access]


ANYBODY: Final = Principal(name="local", access=frozenset({Access.READ}))
"""A caller without a token on loopback: it may read."""


class Tokens(Protocol):
    """The tokens that a service accepts."""

    def principal(self, token: bytes) -> Principal | None:
        """Return who shows this token, None where nobody is known by it; takes the same time for every wrong one."""
        ...


class OneToken:
    """The single token of an installation, good for everything; kept as a hash."""

    def __init__(self, token: str, *, name: str = "operator") -> None:
        self._digest = hashlib.sha256(token.encode()).digest()
        self._principal = Principal(name=name, access=frozenset(Access))

    def principal(self, token: bytes) -> Principal | None:
        """Return the principal where the token is ours; the comparison takes constant time."""
        same = hmac.compare_digest(hashlib.sha256(token).digest(), self._digest)
        return self._principal if same else None


def access_needed(method: str, path: str) -> Access:
    """Return what a request needs: reading for queries, the kill scope for the kill switch, trading for other writes."""
    if method in _READ_METHODS or (method == "POST" and path in _QUERIES):
        return Access.READ
    return Access.KILL if path == "/api/kill-switch" else Access.TRADE


def load_or_make_token(path: Path) -> str:
    """Return the token in a file that only its owner can read; make it at the first start.

    Several processes may start at once: the first to link its file wins, the others read that one.

    Raises:
        SettingsError: Others may read the file, it belongs to somebody else, is no plain file, or holds no token.
    """
    try:
        if not path.exists():
            _make(path)
        return _load(path)
    except OSError as error:
        msg = f"token file {path}: {error.strerror}; make its folder writable for this user or name another file"
        raise SettingsError(msg) from error


def load_token(path: Path) -> str:
    """Return the token in a file that is there.

    Raises:
        SettingsError: As for `load_or_make_token`.
    """
    try:
        return _load(path)
    except OSError as error:
        msg = f"token file {path}: {error.strerror}; delete it and a new one is made"
        raise SettingsError(msg) from error


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_urlsafe(_TOKEN_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _load(path: Path) -> str:
    handle = _opened(path)
    with os.fdopen(handle, encoding="ascii", errors="replace") as file:
        _require_private(path, os.fstat(handle))
        text = file.read(4 * _TOKEN_BYTES).strip()
    if _TOKEN.fullmatch(text) is None:
        msg = f"token file {path} holds no token of 43 letters, digits, - and _; delete it and a new one is made"
        raise SettingsError(msg)
    return text


def _opened(path: Path) -> int:
    """Open it as one of our own; a link could lead to a file that others can write."""
    try:
        return open_plain(path, os.O_RDONLY)
    except OSError as error:
        if error.errno == errno.EINVAL:
            msg = f"token file {path} is no plain file; name another one"
            raise SettingsError(msg) from error
        raise


def _require_private(path: Path, found: os.stat_result) -> None:
    mode = shared_with(found, 0o077)
    if mode is not None:
        msg = f"token file {path} has mode {mode:04o}; others can read it: delete it (a new one is made), or chmod 600"
        raise SettingsError(msg)
    fault = owner_fault(found)
    if fault:
        msg = f"token file {path}: {fault}; name another file"
        raise SettingsError(msg)
