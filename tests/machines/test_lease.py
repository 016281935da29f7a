"""The lease as a machine: three gateways on one ledger that beat, send, stop, die and come back, on a clock of their own.

What must never be: two sends on their way at once from two gateways, or a claim by one whose lease has ended. A send takes
up to the longest time that the watchdog lets it; a gateway may be stopped between its question and its write.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.machines.sizes import in_memory, sized

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.app.gateway.lease import LeaseHolder, LeaseTerms
from dtms.domain.units import Millis
from dtms.ports.lease import GATEWAY_LEASE, FencedError

START = Millis(1_750_161_600_000)
TERMS = LeaseTerms()
NAMES = ("one", "two", "three")
WHO = st.sampled_from(NAMES)
LONGEST_MS = round(TERMS.longest_send_s * 1_000)


class AlwaysThere:
    """A place that nobody contests: the lease alone is on trial."""

    def ensure(self) -> None:
        pass

    def release(self) -> None:
        pass


@dataclass
class Gateway:
    """One gateway, its own connection, and what it has sent: (from, until) on the true clock."""

    ledger: SqlLedger
    holder: LeaseHolder
    stopped_until: int = 0
    over: bool = False
    sends: list[tuple[int, int]] = field(default_factory=list)


class Leases(RuleBasedStateMachine):
    """Three gateways that want the same account."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=in_memory())
        self.now = 1_000_000
        self.boot = 1
        self.gateways = {name: self._start(name) for name in NAMES}
        self.epochs: list[int] = []
        self.sends: list[tuple[int, int, str, int]] = []
        self.given_up: set[int] = set()
        self.facts = 0

    def _time(self) -> Mapping[str, object]:
        return {"lease_now": self.now, "lease_boot": f"boot {self.boot}"}

    def _start(self, name: str) -> Gateway:
        ledger = open_ledger(
            f"sqlite:///{Path(self.folder.name) / 'ledger.sqlite3'}",
            account="Demo:1",
            clock=lambda: START,
            epoch="test",
            lease_time=self._time,
        )
        holder = LeaseHolder(
            ledger.leases, owner=name, terms=TERMS, now_ns=lambda: self.now * 1_000_000, place=AlwaysThere()
        )
        return Gateway(ledger=ledger, holder=holder)

    def teardown(self) -> None:
        for gateway in getattr(self, "gateways", {}).values():
            gateway.ledger.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def _runs(self, name: str) -> Gateway | None:
        gateway = self.gateways[name]
        return None if gateway.over or gateway.stopped_until > self.now else gateway

    @rule(
        order=st.permutations(NAMES),
        seconds=st.sampled_from((2, 6, 20, 40)),
        takes=st.sampled_from((1, 500, LONGEST_MS)),
        stopped=st.sampled_from((0, 0, 900)),
    )
    def live(self, order: list[str], seconds: int, takes: int, stopped: int) -> None:
        """Let everybody who is not stopped live: beat each two seconds, hold, and send where that may be."""
        for _ in range(seconds // 2):
            self.now += 2_000
            for name in order:
                self.beat(name)
            for name in order:
                self.send(name, takes, stopped)

    @rule(seconds=st.sampled_from((0.2, 1.0, 4.0, 14.9, 15.1)))
    def time_passes_without_a_beat(self, seconds: float) -> None:
        """Let every beating thread fail for a while."""
        self.now += round(seconds * 1_000)

    @rule(name=WHO)
    def beat(self, name: str) -> None:
        gateway = self._runs(name)
        if gateway is not None:
            try:
                gateway.holder.beat()
            except FencedError:
                gateway.over = True

    @rule(name=WHO)
    def hold(self, name: str) -> None:
        gateway = self._runs(name)
        if gateway is None:
            return
        before = gateway.holder.epoch
        try:
            gateway.holder.hold()
        except FencedError:
            gateway.over = True
            return
        if gateway.holder.epoch != before:
            self.epochs.append(gateway.holder.epoch)

    @rule(name=WHO, takes=st.sampled_from((1, 500, LONGEST_MS)), stopped=st.sampled_from((0, 0, 0, 900)))
    def send(self, name: str, takes: int, stopped: int) -> None:
        """Hold, ask for the right and write; a stop between the two of less than the margin is what the margin is for."""
        self.hold(name)
        gateway = self._runs(name)
        if gateway is None or not gateway.holder.may_send():
            return
        begins = self.now + stopped
        if not any(who == name and until > begins for _, until, who, _ in self.sends):  # it sends one thing at a time
            self.sends.append((begins, begins + takes, name, gateway.holder.epoch))

    @rule(name=WHO, seconds=st.sampled_from((2, 14, 16, 60)))
    def stop(self, name: str, seconds: int) -> None:
        self.gateways[name].stopped_until = self.now + seconds * 1_000

    @rule(seconds=st.sampled_from((14, 16, 60)))
    def stop_the_holder(self, seconds: int) -> None:
        """Stop whoever may send, in the middle of a long send that it began as late as it may."""
        self.now += 3_800
        for name, gateway in self.gateways.items():
            if gateway.holder.may_send():
                self.send(name, LONGEST_MS, 900)
                gateway.stopped_until = self.now + seconds * 1_000

    @rule(name=WHO, gives_up=st.booleans())
    def die_and_come_back(self, name: str, gives_up: bool) -> None:
        """End, with or without letting the next one in; what is on its way then is over, for its process is."""
        gateway = self.gateways[name]
        under_way = any(until > self.now for _, until, who, _ in self.sends if who == name)
        if gives_up and not gateway.over and not under_way and gateway.stopped_until <= self.now:
            gateway.holder.release()
            self.given_up.add(gateway.holder.epoch)
        gateway.ledger.close()
        self.gateways[name] = self._start(name)
        self.sends = [(a, min(b, self.now), who, e) if who == name else (a, b, who, e) for a, b, who, e in self.sends]

    @precondition(lambda self: any(gateway.holder.epoch for gateway in self.gateways.values()))
    @rule(name=WHO)
    def write_with_it(self, name: str) -> None:
        """Write as whoever took a lease: one that another has taken since is fenced by the ledger itself."""
        gateway = self._runs(name)
        if gateway is None or gateway.holder.epoch == 0:
            return
        newest = max(each.holder.epoch for each in self.gateways.values())
        newest = max([newest, *self.epochs])
        try:
            with gateway.ledger.write() as tx:
                tx.set_fact("written", str(self.facts))
        except FencedError:
            assert gateway.holder.epoch < newest
        else:
            self.facts += 1
            assert gateway.holder.epoch == newest

    @invariant()
    def no_two_gateways_have_something_on_its_way(self) -> None:
        recent = getattr(self, "sends", [])[-40:]
        for place, (begin, end, who, _) in enumerate(recent):
            for other_begin, other_end, other, _ in recent[place + 1 :]:
                assert who == other or end <= other_begin or other_end <= begin, (recent, self.now)

    @invariant()
    def a_new_owner_sends_when_nothing_of_the_old_one_can_arrive(self) -> None:
        """What was sent and not answered may show up at the broker for the settle window after its end."""
        sends = sorted(getattr(self, "sends", []))[-40:]
        for (_, end, who, epoch), (begin, _, other, _) in pairwise(sends):
            if who != other and epoch not in self.given_up:
                assert begin >= end + TERMS.settle_s * 1_000, (sends, self.now)

    @invariant()
    def epochs_grow(self) -> None:
        epochs = getattr(self, "epochs", [])
        assert all(b > a for a, b in pairwise(epochs))
        sent = [epoch for *_, epoch in sorted(getattr(self, "sends", []))]
        assert sent == sorted(sent)

    @invariant()
    def at_most_one_may_send(self) -> None:
        if hasattr(self, "gateways"):
            may = [name for name, each in self.gateways.items() if not each.over and each.holder.may_send()]
            assert len(may) <= 1, may

    @invariant()
    def who_may_send_has_the_lease(self) -> None:
        if not hasattr(self, "gateways"):
            return
        for name, gateway in self.gateways.items():
            if not gateway.over and gateway.holder.may_send():
                view = gateway.ledger.leases.look(GATEWAY_LEASE)
                assert view is not None
                assert (view.owner, view.epoch) == (name, gateway.holder.epoch)
                assert view.left_ms >= LONGEST_MS


def test_whatever_gateways_and_clocks_do_one_alone_may_send() -> None:
    run_state_machine_as_test(Leases, settings=sized(12, 30))
