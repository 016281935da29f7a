"""`dtms drill`: faults on purpose, against throw-away installations. Nothing here touches an installation of yours."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from dtms.cli import options
from dtms.cli.output import Exit, emit, say

group = typer.Typer(name="drill", help="Break the product on purpose and count what is lost.", no_args_is_help=True)


def add(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group)


@group.command()
def restart(
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="So many crash points, chosen by the seed; 8 without it.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every crash point, in each state of the market.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses points, orders and faults of the links.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="So many runs at a time; 0 is one a processor.")] = 0,
    ledger_url: Annotated[
        str | None,
        typer.Option("--ledger-url", help="A PostgreSQL server to make databases on; one is started without it."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Kill real processes at every crash point and again while they recover, and look what the broker and the ledger say.

    Exit code 1 where anything was lost, done twice or left without its stop.
    """
    from dtms_lab.restart.command import Wanted, drill
    from dtms_lab.restart.nursery import require_forks

    require_forks()
    signal.signal(signal.SIGTERM, _end)
    wanted = Wanted(
        sample=None if everything else 8 if sample is None else sample,
        seed=seed,
        jobs=jobs or os.cpu_count() or 1,
        ledger_url=ledger_url,
    )
    report = drill(wanted, say=say)
    if as_json:
        emit(report.as_json())
    else:
        print(report.as_text())
    if not report.passed:
        raise typer.Exit(Exit.FAILED)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End through every `finally`, so that no process and no database stays behind."""
    raise SystemExit(Exit.FAILED)


@group.command()
def simulate(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many; each is another world.")] = 100,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of each before all trouble ends.")] = 400,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="They are counted from here.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Processes; the result does not depend on it.")] = 0,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Repeat this one and tell what happened.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="With --seed: this kind of trouble alone; may be repeated.")
    ] = None,
    shrink: Annotated[
        bool, typer.Option("--shrink/--no-shrink", help="Look for the smallest run that breaks the same law.")
    ] = True,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="A file to add each seed's result to; what stands in it is not run.")
    ] = None,
    ledger_url: Annotated[
        str | None,
        typer.Option("--ledger-url", help="A PostgreSQL server to make databases on; in memory without it."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Run the whole system on virtual time while everything around it fails, and check each law at every step.

    Exit code 1 where a law was broken.
    """
    from dtms_lab.drill.command import repeat, simulate_seeds

    if ledger_url is not None:
        signal.signal(signal.SIGTERM, _end)
    if seed is not None:
        report = repeat(seed, steps, tuple(only or ()), say=say if as_json else print, ledger_url=ledger_url)
    else:
        report = simulate_seeds(
            seeds=seeds,
            steps=steps,
            first_seed=first_seed,
            jobs=jobs or os.cpu_count() or 1,
            resume=resume,
            smaller=shrink,
            say=say,
            ledger_url=ledger_url,
        )
    if as_json:
        emit(report)
    elif seed is None:
        _show(report)
    if report["violations"]:
        raise typer.Exit(Exit.FAILED)


def _show(report: Mapping[str, Any]) -> None:
    from dtms.cli.show import show_pairs, show_rows

    plain = ("seeds", "steps", "violations", "faults_injected", "applied_operations", "intents", "unknown")
    rest = ("quarantined", "converged", "healed_ms", "seconds", "ms_a_step", "trace_hash", "commit")
    covered = (
        (name, f"{report[key]['covered']} of {report[key]['declared']}, missing {report[key]['missing'] or 'none'}")
        for name, key in (("transitions", "transitions_covered"), ("codes of the broker", "retcodes_covered"))
    )
    show_rows("Faults", ("kind", "struck"), report["faults_by_kind"].items())
    show_pairs("Drill", [*((name.replace("_", " "), report[name]) for name in (*plain, *rest)), *covered])
