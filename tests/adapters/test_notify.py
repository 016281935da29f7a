from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from dtms.adapters.notify import QueueNotifier, apprise_target
from dtms.adapters.notify.targets import Alert
from dtms.errors import NotifyError, SettingsError
from dtms.ports.notifier import AlertKind

MINUTE_NS = 60 * 1_000_000_000


@dataclass
class Inbox:
    fails: bool = False
    alerts: list[Alert] = field(default_factory=list)

    def deliver(self, alert: Alert) -> None:
        if self.fails:
            raise NotifyError("no route")
        self.alerts.append(alert)


def test_the_same_alert_is_told_once_in_its_quiet_time_and_again_after_it() -> None:
    now = [0]
    inbox = Inbox()
    notifier = QueueNotifier((inbox,), now_ns=lambda: now[0])
    notifier.alert(AlertKind.UNPROTECTED, "7", "no stop")
    notifier.alert(AlertKind.UNPROTECTED, "7", "no stop")
    notifier.alert(AlertKind.UNPROTECTED, "8", "no stop")
    now[0] = 6 * MINUTE_NS
    notifier.alert(AlertKind.UNPROTECTED, "7", "still no stop")
    notifier.close()
    assert [(alert.subject, alert.detail) for alert in inbox.alerts] == [
        ("7", "no stop"), ("8", "no stop"), ("7", "still no stop"),
    ]  # fmt: skip


def test_a_target_that_fails_keeps_the_others_and_is_counted() -> None:
    good = Inbox()
    notifier = QueueNotifier((Inbox(fails=True), good), now_ns=lambda: 0)
    notifier.alert(AlertKind.QUARANTINED, "01", "decide by hand")
    notifier.close()
    assert [alert.title for alert in good.alerts] == ["dtms: quarantined: 01"]
    assert notifier.failed == 1


def test_a_url_that_apprise_does_not_know_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError, match=r"alerts\.url") as refused:
        apprise_target("nonsense://s3cret")
    assert "s3cret" not in str(refused.value)


def test_an_apprise_url_delivers_through_apprise() -> None:
    target = apprise_target("json://127.0.0.1:9/")
    with pytest.raises(NotifyError, match=r"alerts\.url"):
        target.deliver(Alert(AlertKind.HALT, "account", "halted"))
