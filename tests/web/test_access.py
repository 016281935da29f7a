"""The token file and who a token is."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dtms.errors import SettingsError
from dtms.services.web.access import Access, OneToken, access_needed, load_or_make_token


def test_the_first_start_makes_a_private_token_and_the_next_one_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"

    first = load_or_make_token(path)

    assert load_or_make_token(path) == first
    assert len(first) == 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["token"]


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    token = load_or_make_token(path)
    path.chmod(mode)

    with pytest.raises(SettingsError, match=f"has mode {mode:04o}; others can read it") as caught:
        load_or_make_token(path)
    assert token not in str(caught.value)


@pytest.mark.parametrize("text", ["", "short", "x" * 44, "\xe9" * 43, "x" * 42 + " "])
def test_a_file_without_a_token_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(SettingsError, match="holds no token of 43"):
        load_or_make_token(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    load_or_make_token(tmp_path / "real")
    (tmp_path / "token").symlink_to(tmp_path / "real")

    with pytest.raises(SettingsError, match="token file"):
        load_or_make_token(tmp_path / "token")


def test_a_folder_is_no_token(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="token file"):
        load_or_make_token(tmp_path)


def test_processes_that_start_together_have_one_token(tmp_path: Path) -> None:
    code = "import sys,pathlib;from dtms.services.web.access import load_or_make_token as t;print(t(pathlib.Path(sys.argv[1])))"
    path = tmp_path / "token"

    starts = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    tokens = [process.communicate()[0].strip() for process in starts]

    assert tokens == [load_or_make_token(path)] * 3


def test_the_one_token_is_good_for_everything_and_no_other_is() -> None:
    tokens = OneToken("a" * 43)

    principal = tokens.principal(b"a" * 43)

    assert principal is not None
    assert (principal.name, principal.access) == ("operator", frozenset(Access))
    assert [tokens.principal(wrong) for wrong in (b"", b"a" * 42, b"a" * 44, b"b" * 43)] == [None] * 4


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/dtms/trade/1", Access.READ),
        ("POST", "/dtms/states", Access.READ),
        ("POST", "/dtms/trade/enable", Access.TRADE),
        ("DELETE", "/dtms/trade/1", Access.TRADE),
        ("PUT", "/api/exits/1", Access.TRADE),
        ("POST", "/api/kill-switch", Access.KILL),
        ("DELETE", "/api/kill-switch", Access.KILL),
        ("PATCH", "/dtms/states", Access.TRADE),
        ("CANARY", "/anything", Access.TRADE),
    ],
)
def test_what_a_request_needs(method: str, path: str, expected: Access) -> None:
    assert access_needed(method, path) is expected
