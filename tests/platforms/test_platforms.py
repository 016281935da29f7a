"""What one system has and another has not: the way without it does the same as the way with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dtms import private_files
from dtms.adapters.lock_file import HeldError, LockFile
from dtms.adapters.sql import writers
from dtms.adapters.sql.writers import WriterQueue
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms.platforms import clock, files, processes, shell
from dtms.private_files import open_to_append, read_start, write_whole
from dtms.services.host import bind_port
from dtms.services.preflight import findings
from dtms.settings import load_settings

PATIENCE_S = 30.0
TREE = """
import subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
below.stdout.readline()
print(below.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["as it is", "without POSIX"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """This machine as it is, and as one that has none of what only POSIX has."""
    if request.param == "without POSIX":
        monkeypatch.setattr(files, "_pread", None)
        monkeypatch.setattr(files, "_euid", None)
        monkeypatch.setattr(files, "_NO_FOLLOW", 0)
        monkeypatch.setattr(files, "_NO_WAIT", 0)
        monkeypatch.setattr(private_files, "OPEN_PLAIN", 0)
        monkeypatch.setattr(files, "_FOLDER", 0)
        monkeypatch.setattr(processes, "_killpg", None)
        monkeypatch.setattr(writers, "wait_in_turn", None)
        monkeypatch.setattr(clock, "_gettime_ns", None)
    return str(request.param)


pytestmark = pytest.mark.usefixtures("system")


def started_tree() -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """Start a process that has started another one; return both."""
    above = subprocess.Popen(
        [sys.executable, "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert above.stdout is not None
    return above, psutil.Process(int(above.stdout.readline()))


def close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def test_a_killed_child_takes_what_it_started_with_it() -> None:
    above, below = started_tree()
    processes.end_with_descendants(above)
    assert above.wait(PATIENCE_S) != 0
    assert psutil.wait_procs([below], timeout=PATIENCE_S)[1] == []
    processes.end_with_descendants(above)  # again, when nobody is there
    close(above)


def test_a_child_that_is_asked_to_end_ends_by_itself() -> None:
    above, below = started_tree()
    processes.ask_to_end(above)
    above.wait(PATIENCE_S)
    below.kill()
    close(above)


def test_a_process_is_known_again_by_when_it_was_started() -> None:
    assert processes.started(os.getpid()) == processes.started(os.getpid()) != ""
    assert processes.is_taken(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(PATIENCE_S)
    assert (processes.started(child.pid), processes.is_taken(child.pid)) == ("", False)


def test_the_middle_of_a_file_is_read_and_its_end_stays_the_place_to_write(tmp_path: Path) -> None:
    handle = open_to_append(tmp_path / "log")
    os.write(handle, b"one two")
    assert files.read_at(handle, 3, 4) == b"two"
    assert files.read_at(handle, 9, 5) == b"wo"
    os.write(handle, b" three")
    os.close(handle)
    assert (tmp_path / "log").read_bytes() == b"one two three"


@pytest.mark.skipif(sys.platform == "win32", reason="who makes a link there needs a right of its own")
@pytest.mark.parametrize("opens", [open_to_append, LockFile, lambda path: read_start(path, 9)])
def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path, opens: Callable[[Path], object]) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("theirs")
    (tmp_path / "link").symlink_to(foreign)
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic link, which is not followed"):
        opens(tmp_path / "link")
    with pytest.raises(OSError, match="no regular file"):
        opens(tmp_path / "pipe")
    assert foreign.read_text() == "theirs"


def test_a_file_is_replaced_as_a_whole_and_made_durable(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    for content in (b"first", b"second"):
        write_whole(path, content)
        files.make_durable(path)
        assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["clock.json"]


def test_a_reader_that_keeps_a_file_from_being_replaced_is_waited_for(
    tmp_path: Path, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Windows does it: no file is replaced while another process has it open.
    refusals = iter([PermissionError("in use"), PermissionError("in use")])
    replace = Path.replace

    def refusing(fresh: Path, path: Path) -> Path:
        for refusal in refusals:
            raise refusal
        return replace(fresh, path)

    monkeypatch.setattr(Path, "replace", refusing)
    if system == "as it is" and files.rights_are_known():
        with pytest.raises(PermissionError):
            write_whole(tmp_path / "x", b"new")
        assert list(tmp_path.iterdir()) == []
    else:
        write_whole(tmp_path / "x", b"new")
        assert (tmp_path / "x").read_bytes() == b"new"


def test_rights_are_judged_only_where_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.touch()
    path.chmod(0o666)
    found = path.stat()
    assert files.shared_with(found, 0o077) == (0o666 if files.rights_are_known() else None)
    assert files.owner_fault(found) == ""


def test_what_is_not_checked_is_said(tmp_path: Path) -> None:
    said = {each.name: each.said for each in findings(load_settings(data_dir=tmp_path))}
    assert ("not checked on this system" in said["folder"]) is not files.rights_are_known()


def test_the_age_of_the_machine_never_steps_and_is_one_for_all_processes() -> None:
    script = "from dtms.platforms import clock\n"
    if clock._gettime_ns is None:
        script += "clock._gettime_ns = None\n"
    before = clock.boot_ns()
    told = subprocess.run(
        [sys.executable, "-c", script + "print(clock.boot_ns())"], capture_output=True, text=True, check=True
    )
    assert before <= int(told.stdout) <= clock.boot_ns()
    assert clock.awake_ns() <= clock.awake_ns()


def test_the_holder_of_a_lock_is_named_to_whoever_is_refused(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "gateway.lock")
    with pytest.raises(HeldError) as refused:
        LockFile(tmp_path / "gateway.lock")
    assert refused.value.holder == str(os.getpid())
    assert lock.stands()
    lock.release()
    LockFile(tmp_path / "gateway.lock").release()


def test_a_refused_lock_leaves_the_file_as_its_holder_wrote_it(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "gateway.lock")
    said = files.read_at(lock._fd, 32, 1)
    with pytest.raises(HeldError):
        LockFile(tmp_path / "gateway.lock")
    assert files.read_at(lock._fd, 32, 1) == said
    lock.release()


def test_writers_wait_for_each_other_and_no_longer_than_their_limit(tmp_path: Path) -> None:
    first, hasty = WriterQueue(tmp_path / "lock", PATIENCE_S), WriterQueue(tmp_path / "lock", 0.02)
    first.acquire()
    with pytest.raises(LedgerUnavailableError, match="another process has been writing"):
        hasty.acquire()
    turns: list[str] = []
    patient = WriterQueue(tmp_path / "lock", PATIENCE_S)

    def wait() -> None:
        patient.acquire()
        turns.append("patient")
        patient.release()

    thread = threading.Thread(target=wait)
    thread.start()
    turns.append("first")
    first.release()
    thread.join(PATIENCE_S)
    assert turns == ["first", "patient"]
    first.close()
    patient.close()


def test_two_services_cannot_share_a_port() -> None:
    with bind_port("127.0.0.1", 0, role="api", variable="X") as taken:
        taken.listen()
        with pytest.raises(SettingsError, match=r"port .* of the api"):
            bind_port("127.0.0.1", taken.getsockname()[1], role="api", variable="X")


def test_a_variable_is_set_in_the_words_of_the_shell_that_a_person_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pathsep", ":")
    assert shell.setting_of("DTMS_DATA_DIR", "/my data/it's") == "export DTMS_DATA_DIR='/my data/it'\"'\"'s'"
    monkeypatch.setattr(os, "pathsep", ";")
    assert shell.setting_of("DTMS_DATA_DIR", "C:\\My Data\\it's") == "$env:DTMS_DATA_DIR = 'C:\\My Data\\it''s'"


def test_answers_in_two_parts_leave_at_once_on_every_event_loop() -> None:
    # asyncio's own loop turns Nagle's waiting off for a socket that says it is TCP's, and for no other.
    with bind_port("127.0.0.1", 0, role="api", variable="X") as bound:
        assert bound.proto == socket.IPPROTO_TCP
