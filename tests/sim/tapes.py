"""Short generated tapes, the whole system over them, and a restart of every service in the middle of one."""

from __future__ import annotations

from dataclasses import replace

from dtms.bootstrap import Parts
from dtms.domain.policy import Policies, Policy
from dtms.domain.units import Millis
from dtms.settings import load_policy
from dtms_lab.simulate.entries import parse_entries
from dtms_lab.simulate.run import Run, make_run
from dtms_lab.simulate.services import Told, start_services
from dtms_lab.tapes.tape import Tape
from dtms_lab.tapes.weather import make_tape

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


def wide_rails() -> Policies:
    """Return the shipped policy with rails wide enough that hedges are opened in bad weather too."""

    def widened(policy: Policy) -> Policy:
        return replace(policy, rails=replace(policy.rails, day_loss=1.0, hour_loss=1.0, losing_trades=1_000))

    book = load_policy()
    return Policies(
        default=widened(book.default), by_symbol={name: widened(each) for name, each in book.by_symbol.items()}
    )


def run_of(tape: Tape, start: Millis, entries: str = "every:30,8", policies: Policies | None = None) -> Run:
    """Return a simulation, ready to run."""
    book = wide_rails() if policies is None else policies
    return make_run(tape, policies=book, signals=parse_entries(entries), start=start)


def restart(run: Run) -> None:
    """Throw every service away and start them anew on the same ledger and terminal: what they remembered is lost."""
    world = run.world
    parts = Parts(ledger=world.ledger, clock=world.clock, policies=world.policies, notifier=world.notifier)
    tally = run.tally
    told = Told(verdict=tally.on_verdict, deferral=tally.on_deferral, refusal=tally.on_refusal)
    world.services = start_services(parts, world.broker, clock=world.clock, told=told)
    world.act()
