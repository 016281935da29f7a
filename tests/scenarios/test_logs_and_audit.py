"""Logs, alerts and audit that cannot be written (reliability.md 11.2, scenario 69)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

import pytest
import structlog
from tests.app.rig import Rig

from dtms.adapters.notify.targets import Alert, AppriseTarget, LogTarget, QueueNotifier, apprise_target
from dtms.domain.intent import IntentState
from dtms.errors import LedgerUnavailableError, NotifyError
from dtms.ports.notifier import AlertKind
from dtms.services.host import configure_logs
from dtms.services.log_sink import LogSink
from dtms_lab.terminal.recorder import AppliedKind

FULL = Path("/dev/full")
"""Every write to it fails as on a full disk."""


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


def full() -> TextIO:
    return FULL.open("w", encoding="utf-8")


@pytest.fixture(params=[full, closed], ids=["full disk", "closed pipe"])
def sink(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    """Logs as a service configures them, on a stream that takes nothing."""
    make: Callable[[], TextIO] = request.param
    stream = make()
    configure_logs("gateway", stream)
    yield stream
    structlog.reset_defaults()
    if not stream.closed:
        with pytest.raises(OSError, match="No space left"):
            stream.close()  # what it could not write is still in its buffer


@pytest.mark.usefixtures("sink")
def test_the_gateway_recovers_sends_and_survives_a_failing_pass_while_its_logs_cannot_be_written(rig: Rig) -> None:
    trade = rig.managed()
    loop = rig.work()
    loop.health.failed(LedgerUnavailableError("as a failing pass is logged"))
    loop.health.failed(ZeroDivisionError("with its stack"))
    rig.next_bar()
    rig.decide(trade, -2.0)

    loop.run()

    assert loop.recovered
    assert rig.applied(AppliedKind.SLTP) == 1


@pytest.mark.usefixtures("sink")
def test_alerts_reach_a_person_while_the_log_cannot_be_written() -> None:
    told: list[str] = []

    class Phone:
        def deliver(self, alert: Alert) -> None:
            told.append(alert.title)

    notifier = QueueNotifier((LogTarget(), Phone()), now_ns=lambda: 0)
    for number in range(3):
        notifier.alert(AlertKind.UNPROTECTED, str(number), "no stop")
    notifier.close()
    assert told == [f"dtms: unprotected: {number}" for number in range(3)]


def test_lost_lines_are_counted_and_the_next_ones_are_written_when_there_is_room_again() -> None:
    class Flaky(io.StringIO):
        broken = True

        def write(self, text: str) -> int:
            if self.broken:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Flaky()
    sink = LogSink(stream)
    assert sink.write("one\n") == 4
    stream.broken = False
    sink.write("two\n")
    assert (sink.dropped, stream.getvalue()) == (1, "two\n")


class Raising:
    """An alert service whose code fails in its own way."""

    def notify(self, **_given: str) -> bool:
        msg = "https://canary-secret@example.org"
        raise KeyError(msg)


def test_an_alert_target_that_raises_anything_ends_neither_the_other_targets_nor_the_next_alerts() -> None:
    told: list[str] = []

    class Phone:
        def deliver(self, alert: Alert) -> None:
            told.append(alert.subject)

    notifier = QueueNotifier((AppriseTarget(Raising()), Phone()), now_ns=lambda: 0)
    notifier.alert(AlertKind.HALT, "one", "")
    notifier.alert(AlertKind.HALT, "two", "")
    notifier.close()
    assert (told, notifier.failed) == (["one", "two"], 2)
    with pytest.raises(NotifyError) as caught:
        AppriseTarget(Raising()).deliver(Alert(AlertKind.HALT, "one", ""))
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_alert_that_cannot_be_delivered_says_so_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    target = apprise_target("json://canary-user:canary-password@127.0.0.1:9/")
    with pytest.raises(NotifyError) as caught:
        target.deliver(Alert(AlertKind.HALT, "gateway", "fenced"))
    assert "canary" not in f"{caught.value} {caplog.text} {target!r}"


def test_without_an_audit_nothing_is_sent_a_person_is_called_and_the_stop_stays(rig: Rig) -> None:
    trade = rig.managed()
    loop = rig.work()
    loop.run()
    rig.next_bar()
    rig.decide(trade, -2.0)
    before = len(rig.writes.sent)
    run(rig, "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'disk of the audit'); END")

    for _ in range(5):
        loop.run()
        rig.wait(1)

    assert len(rig.writes.sent) == before
    assert "halt" in rig.alerts()
    held = rig.position(trade.identifier)
    assert held is not None
    assert held.stop == 1_990.0
    assert rig.intents(trade)[0].state is IntentState.PLANNED

    run(rig, "DROP TRIGGER no_audit")
    loop.run()
    assert rig.applied(AppliedKind.SLTP) == 1


def run(rig: Rig, sql: str) -> None:
    """Run a statement behind the ledger's back."""
    with closing(rig.ledger._backend.engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert connection is not None
        connection.execute(sql)
