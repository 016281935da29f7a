"""Alert targets: Apprise for the owner's own, the log always, memory for tests."""

from __future__ import annotations

from dtms.adapters.notify.targets import AppriseTarget, LogTarget, MemoryNotifier, QueueNotifier, Target, apprise_target

__all__ = ["AppriseTarget", "LogTarget", "MemoryNotifier", "QueueNotifier", "Target", "apprise_target"]
