"""Short generated tapes, the whole system over them, and a restart of every service in the middle of one."""

from __future__ import annotations

from dataclasses import replace

from dtms import bootstrap
from dtms.adapters.files.tape import Tape
from dtms.adapters.mt5 import Mt5Sender
from dtms.bootstrap import Parts
from dtms.domain.policy import Policy, PolicyBook
from dtms.domain.units import Millis
from dtms.replay.weather import make_tape
from dtms.services.api.app import make_api_app
from dtms.services.api.live import simulated_parts as simulated_api_parts
from dtms.services.server.live import make_simulated_app, simulated_parts
from dtms.services.server.parts import Site
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.offload import inline
from dtms.settings import load_policy
from dtms.sim.entries import parse_entries
from dtms.sim.simulate import Run, make_run
from dtms.sim.wire import InProcessDtms
from dtms.sim.world import API_PORT, SERVER_PORT, SERVER_URL, TOKEN

WARM = 500
"""Bars that are history when a run begins."""


def weather(live: int, *, seed: int = 3) -> tuple[Tape, Millis]:
    """Return a tape of generated weather with so many live bars, and the instant at which it begins."""
    whole = make_tape(seed, 2, "XAUUSD")
    return cut(whole, WARM + live), whole.bars[WARM].start


def cut(tape: Tape, bars: int) -> Tape:
    """Return the first bars of a tape."""
    asks = None if tape.asks is None else tape.asks[:bars]
    return replace(tape, bars=tape.bars[:bars], asks=asks)


def wide_rails() -> PolicyBook:
    """Return the shipped policy with rails wide enough that hedges are opened in bad weather too."""

    def widened(policy: Policy) -> Policy:
        return replace(policy, rails=replace(policy.rails, day_loss=1.0, hour_loss=1.0, losing_trades=1_000))

    book = load_policy()
    return PolicyBook(
        default=widened(book.default), by_symbol={name: widened(each) for name, each in book.by_symbol.items()}
    )


def run_of(tape: Tape, start: Millis, entries: str = "every:30,8", policies: PolicyBook | None = None) -> Run:
    """Return a simulation, ready to run."""
    book = wide_rails() if policies is None else policies
    return make_run(tape, policies=book, signals=parse_entries(entries), start=start)


def restart(run: Run) -> None:
    """Throw every service away and start them anew on the same ledger and terminal: what they remembered is lost."""
    world = run.world
    parts = Parts(ledger=world.ledger, clock=world.clock, policies=world.policies, notifier=world.notifier)
    desk = bootstrap.make_desk(parts, world.broker, scored=False)
    server = bootstrap.make_server(parts, world.broker, desk, advisory=False, on_verdict=run.tally.on_verdict)
    executor = bootstrap.make_executor(parts, world.broker, Mt5Sender(world.broker), epoch=world.executor.epoch + 1)
    executor.recover()
    site = Site(simulated_parts(parts, server, world.broker, act=executor.tick))
    app = make_simulated_app(site, gate=Gate(loopback_policy(SERVER_PORT), OneToken(TOKEN)))
    dtms = InProcessDtms(ledger=world.ledger, app=app)
    api_parts = simulated_api_parts(
        parts, world.broker, desk, server=app, server_url=SERVER_URL, token=TOKEN, act=executor.tick
    )
    world.api = make_api_app(api_parts, gate=Gate(loopback_policy(API_PORT), OneToken(TOKEN)), offload=inline)
    world.exits = bootstrap.make_exit_manager(
        parts,
        world.broker,
        desk,
        server_url=SERVER_URL,
        sleep=world.clock.sleep,
        transport=dtms,
        on_deferral=run.tally.on_deferral,
        on_refusal=run.tally.on_refusal,
    )
    world.desk, world.server, world.executor, world.dtms = desk, server, executor, dtms
