"""A library that hangs with the interpreter's lock: in a child nobody notices, in our own process everything stands."""

from __future__ import annotations

import time

from dtms.adapters.worker import faulty
from dtms.adapters.worker.jitter import measure_hang, measure_jitter

HANG_S = 1
"""Enough for the measure itself; the hang that counts is longer, and stands in test_hanging_broker.py."""

FELT_MS = 400 * HANG_S
"""So late is the middle beat, and later, where a hang of `HANG_S` is felt."""

_MS = 1_000_000


def test_a_loop_does_not_feel_a_child_that_hangs_with_its_own_lock() -> None:
    report = measure_hang(HANG_S)
    print(report, f"ratio {report.ratio:.2f}")  # the figures of this machine, shown by -s
    assert report.ended == f"quote: the broker's process: it did not answer within {HANG_S} s and was killed"
    assert report.hung.beats >= 50 * HANG_S
    # A hang that is felt makes half of the beats later than nearly half of it, as below; other programs make a few late,
    # however many they are. The tail is measured where the hang is longer.
    assert report.hung.p50_ns < FELT_MS * _MS / 2


def test_the_measure_sees_a_hang_in_its_own_process() -> None:
    felt = measure_jitter(lambda: faulty.hang(HANG_S))
    assert felt.p99_ns >= 900 * _MS
    assert felt.p50_ns >= FELT_MS * _MS


def test_the_measure_counts_every_beat_that_a_freeze_swallowed() -> None:
    calm = measure_jitter(lambda: time.sleep(0.1))
    assert calm.beats >= 9
    assert 0 <= calm.p50_ns <= calm.p99_ns <= calm.max_ns
