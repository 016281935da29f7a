"""Commands that run the product over a tape: `simulate` in one process, `up` and `demo` with real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dtms.cli import options
from dtms.cli.output import Exit, emit, say

if TYPE_CHECKING:
    from pathlib import Path

    from dtms.domain.policy import PolicyBook


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(simulate)


def simulate(
    tape: options.TapeFile,
    symbol: options.Symbol = None,
    tape_tz: options.TapeZone = None,
    entries: options.EntriesText = "sma-cross:20,50",
    start: options.From = None,
    bars: options.Bars = None,
    policy: options.Policy = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Run a tape through the whole system on virtual time, beside the same entries left alone.

    Ends with 1 where a law was broken.
    """
    from dtms.sim.entries import parse_entries
    from dtms.sim.report import report_of
    from dtms.sim.simulate import findings, make_run
    from dtms.sim.tapes import load_piece

    signals = parse_entries(entries)
    policies = policies_of(policy, config)
    begin = options.instant_of(start)
    piece = load_piece(tape, symbol=symbol, tz=tape_tz, start=begin, bars=bars)
    for note in piece.notes:
        say(f"tape: {note}")
    run = make_run(piece, policies=policies, signals=signals, start=begin)
    run.run()
    finish(report_of(findings(run)), as_json=as_json)


def policies_of(policy: Path | None, config: Path | None) -> PolicyBook:
    """Return the policy that an option names, else the settings' one, else the shipped numbers."""
    from dtms.settings import load_policy

    return load_policy(policy if policy is not None else options.settings_of(config).policy_file)


def finish(report: dict[str, Any], *, as_json: bool) -> None:
    """Print a run's report and end: 1 where a law was broken."""
    if as_json:
        emit(report)
    else:
        from dtms.cli.show import show_report

        show_report(report)
    if report["invariant_violations"]:
        say(f"dtms: {report['invariant_violations']} laws were broken; see violations in the report")
        raise typer.Exit(Exit.FAILED)
