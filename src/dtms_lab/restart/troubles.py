"""The drill's other troubles: a gateway that is frozen and comes back, and links that lose, delay and cut."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from random import Random
from typing import Final

from dtms.domain.units import MINUTE, Millis
from dtms.services.armed import Strike
from dtms.settings import Settings
from dtms_lab.restart.judge import Finding
from dtms_lab.restart.nursery import Nursery
from dtms_lab.restart.plans import PHASES, RECOVERY
from dtms_lab.restart.proxy import CALM, ChaosProxy, Weather
from dtms_lab.restart.scenario import START, TROUBLE_ENDS, Outcome, Staged, concluded, kept, staged
from dtms_lab.restart.site import SERVICES, Folder, Patience, Site, SiteFailedError, free_ports, settings_in

FROZEN_S: Final = 2.0
LOOP_DEATHS: Final = 10
_REFUSED_WITHIN_S: Final = 10.0
_LOOK_S: Final = 0.02
LEASE_S: Final = 3.5
_LEASE_GRACE_S: Final = 1.5
"""The last beat before the freeze may be a second old, and the tape's clock tells the freeze a little late."""
_SEND_LIMIT_S: Final = 0.5
_TAKEN_WITHIN_S: Final = 20.0
_PATIENCE: Final = Patience(settle_s=4.0, quarantine_s=120.0)
"""A new owner of the lease waits the settle time on the machine's clock: the tape is slow, so that both clocks agree on it."""
_SLOW: Final = 24.0
_OVERTAKEN_MINUTES: Final = 12
_LINK_REACTION_S: Final = 15.0
"""What the links may cost the laws that are counted in time: a half-open one is given up after some seconds."""


def run_frozen(nursery: Nursery, *, ledger_url: str = "") -> Outcome:
    """Freeze the gateway between its last check and the send, try to put a second one in its place, and wake it again.

    Both work on one data folder: the second must be refused while the first one lives, frozen or not, and the first must
    finish what it had begun, once.
    """
    began = time.monotonic()
    at, until = PHASES[1]
    with Folder() as folder:
        crash = f"gateway.before_send:1@{at}-{until}!stop"
        settings = settings_in(folder.path, ledger_url=ledger_url, crash=crash)
        with staged(nursery, settings) as stage:
            stage.site.begin()
            stage.person.start()
            await_frozen(stage, until)
            second = settings.model_copy(update={"gateway_port": free_ports(1)[0], "crash_point": ""})
            refused = _is_refused(stage.site, stage.site.add("second", "gateway", second))
            time.sleep(FROZEN_S)
            stage.site.thaw("gateway")
            stage.play()
            outcome = concluded(stage, crash, began=began, pauses_s=FROZEN_S + _REFUSED_WITHIN_S)
        if not refused:
            words = f"a second gateway was let in beside a frozen one: {stage.site.said_last('second')}"
            found = Finding(group="other", law="single_writer", detail=words)
            outcome = replace(outcome, findings=(*outcome.findings, found))
        return kept(outcome, folder)


def run_overtaken(nursery: Nursery, *, ledger_url: str) -> Outcome:
    """Freeze the gateway between its last check and the send for longer than its lease, and wake it beside its successor.

    The second works in another data folder, as on another host, over the same ledger and account: it is refused while the
    lease lives, takes over when it has run out, and the first one, awake again, sends nothing more and ends.
    """
    began = time.monotonic()
    until = PHASES[0][1]
    with Folder() as folder, Folder() as elsewhere:
        crash = f"gateway.before_send:1@{START}-{until}!stop"
        settings = settings_in(folder.path, ledger_url=ledger_url, crash=crash, patience=_PATIENCE).model_copy(
            update={"lease_s": LEASE_S, "send_limit_s": _SEND_LIMIT_S}
        )
        second = settings.model_copy(
            update={"data_dir": elsewhere.path, "gateway_port": free_ports(1)[0], "crash_point": ""}
        )
        with staged(nursery, settings, speed=_SLOW, minutes=_OVERTAKEN_MINUTES) as stage:
            stage.site.begin()
            stage.person.start()
            await_frozen(stage, until)
            frozen = stage.site.pid("gateway")
            words = _overtake(stage.site, second)
            stage.site.thaw("gateway")
            words = words or _gives_way(stage.site, frozen)
            stage.site.end("second")
            stage.site.await_ready(("gateway",))
            stage.play()
            outcome = concluded(stage, crash, began=began, pauses_s=2 * _TAKEN_WITHIN_S)
        if words:
            found = Finding(group="other", law="single_writer", detail=words)
            outcome = replace(outcome, findings=(*outcome.findings, found))
        return kept(outcome, folder)


def _overtake(site: Site, second: Settings) -> str:
    """Start the second gateway again and again until it is ready; say what went wrong, "" where nothing did."""
    began = time.monotonic()
    refused = 0
    while time.monotonic() - began < _TAKEN_WITHIN_S:
        pid = site.add("second", "gateway", second)
        while pid not in site.strangers and time.monotonic() - began < _TAKEN_WITHIN_S:
            if site.answers(f"{second.gateway_url}/health/ready"):
                early = time.monotonic() - began < LEASE_S - _LEASE_GRACE_S
                return "a second gateway took over while the lease of the first one lived" if early else ""
            site.look()
            time.sleep(_LOOK_S)
        refused += 1
    return f"no second gateway took over within {_TAKEN_WITHIN_S:g} s, {refused} refused: {site.said_last('second')}"


def _gives_way(site: Site, pid: int) -> str:
    """Wait until the gateway that was overtaken has ended; say that it did not, "" where it did."""
    end = time.monotonic() + _TAKEN_WITHIN_S
    while site.pid("gateway") == pid and time.monotonic() < end:
        site.look()
        time.sleep(_LOOK_S)
    return "the gateway that was overtaken goes on" if site.pid("gateway") == pid else ""


def await_frozen(stage: Staged, until: Millis) -> None:
    """Let the tape run until the gateway has frozen itself.

    Raises:
        SiteFailedError: It never came to the point.
    """
    while not stage.site.strikes_done():
        stage.site.look()
        if stage.site.clock.market_now() >= until:
            raise SiteFailedError("the gateway never came to the point at which it was to be frozen")
        time.sleep(_LOOK_S)


def _is_refused(site: Site, pid: int) -> bool:
    """Wait for the end of a process that must not come up; say whether it came to one."""
    end = time.monotonic() + _REFUSED_WITHIN_S
    while time.monotonic() < end:
        site.look()
        if pid in site.strangers:
            return site.strangers[pid] != 0
        time.sleep(_LOOK_S)
    return False


def run_relentless(nursery: Nursery, seed: int, *, ledger_url: str = "") -> Outcome:
    """Kill the gateway in each of its next recoveries, ten deaths in all, and later every service at once, twice."""
    began = time.monotonic()
    dice = Random(seed)  # noqa: S311 - seeded on purpose
    at, until = PHASES[0][0], TROUBLE_ENDS
    points = ("gateway.claimed", *(dice.choice(RECOVERY["gateway"]) for _death in range(LOOP_DEATHS - 1)))
    crash = ",".join(str(Strike(name=point, at=at, until=until)) for point in points)
    instants = [Millis(PHASES[2][0] + minute * MINUTE) for minute in (2, 8)]
    with Folder() as folder:
        settings = settings_in(folder.path, ledger_url=ledger_url, crash=crash)

        def each(now: Millis) -> None:
            if instants and now >= instants[0]:
                instants.pop(0)
                for role in dice.sample(SERVICES, len(SERVICES)):
                    stage.site.kill(role)

        with staged(nursery, settings) as stage:
            stage.site.begin()
            stage.person.start()
            stage.play(each)
            outcome = concluded(stage, crash, began=began)
        return kept(outcome, folder)


def run_cut_off(nursery: Nursery, seed: int, *, ledger_url: str = "", weather: Weather | None = None) -> Outcome:
    """Run the scenario with a bad link between each two services and to the person, which are healed before the end."""
    began = time.monotonic()
    bad = Weather() if weather is None else weather
    with Folder() as folder, ExitStack() as links:
        # One death beside the bad links: what a gateway left on its way is then settled over them.
        crash = str(Strike(name="gateway.claimed", at=PHASES[1][0], until=PHASES[1][1]))
        settings = settings_in(folder.path, ledger_url=ledger_url, crash=crash)
        dice = Random(seed)  # noqa: S311 - seeded on purpose
        proxies = tuple(
            links.enter_context(ChaosProxy(port, seed=dice.getrandbits(32)))
            for port in (settings.gateway_port, settings.gateway_port, settings.server_port, settings.api_port)
        )
        apart = {
            "server": {"gateway_port": proxies[0].port},
            "api": {"gateway_port": proxies[1].port, "server_port": proxies[2].port},
        }
        with staged(nursery, settings, api_url=f"http://{settings.host}:{proxies[3].port}", apart=apart) as stage:
            stage.site.begin()
            stage.person.start()
            for proxy in proxies:
                proxy.weather = bad
            stage.play(until=TROUBLE_ENDS)
            for proxy in proxies:
                proxy.weather = CALM
            stage.play()
            outcome = concluded(stage, crash, began=began, pauses_s=_LINK_REACTION_S)
        struck = {f"link_{fault}": sum(proxy.struck[fault] for proxy in proxies) for fault, _share in bad.shares}
        return kept(replace(outcome, applied={**outcome.applied, **struck}), folder)
