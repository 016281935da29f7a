"""Answers for people: tables and key-value lists on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtms.cli.figures import digits_of, figure, shown

_console = Console(highlight=False)

_SUMMARY = (
    ("trades", "trades"),
    ("closed", "closed at the end"),
    ("states_visited", "states visited"),
    ("naked_ms_max", "longest without a stop at the broker, ms"),
    ("invariant_violations", "laws broken, as the broker's own record shows"),
    ("net_profit", "net result, protected"),
    ("unmanaged_net_profit", "net result of the same entries, left alone"),
)
_REPORT = (
    ("symbol", "symbol"),
    ("bars", "bars"),
    ("trades", "trades"),
    ("closed", "closed"),
    ("states_visited", "states visited"),
    ("transitions", "transitions"),
    ("actions", "actions"),
    ("refusals", "refusals"),
    ("deferrals", "deferrals"),
    ("fallbacks", "fallbacks"),
    ("naked_ms_max", "longest without a stop, ms"),
    ("invariant_violations", "laws broken"),
    ("net_profit", "net profit, managed"),
    ("unmanaged_net_profit", "net profit, unmanaged"),
    ("expectancy_r", "expectancy, R"),
    ("cost_r", "costs, R"),
    ("managed_minus_unmanaged_r", "managed minus unmanaged, R"),
)


def show_report(report: Mapping[str, Any]) -> None:
    """Print the report of a simulation."""
    show_pairs("Run", ((label, shown(key, report[key])) for key, label in _REPORT))
    for assumption in report["assumptions"]:
        _console.print(f"assumed: {assumption}", style="dim", soft_wrap=True, markup=False)
    for doubt in report["doubts"]:
        _console.print(f"in doubt: {doubt['text']}", style="yellow", soft_wrap=True)


def show_summary(report: Mapping[str, Any]) -> None:
    """Print the end of a demonstration."""
    applied = {kind: counts["applied"] for kind, counts in report["actions"].items() if counts["applied"]}
    pairs = [(label, shown(key, report[key])) for key, label in _SUMMARY]
    show_pairs("What happened", [*pairs[:3], ("actions applied", applied), *pairs[3:]])
    _console.print("One stretch of invented weather says nothing about profit; dtms simulate measures.", style="dim")


def show_pairs(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    """Print named values below each other."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in pairs:
        table.add_row(Text(label), Text(words(value)))  # as text: a [ in a name of the broker's is no markup
    _console.print(table)


def show_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(words(value)) for value in row))
    _console.print(table)


def words(value: object) -> str:
    """Return a value as a person reads it."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return figure(value)
        case Mapping():
            return ", ".join(f"{key} {words(inner)}" for key, inner in value.items()) or "-"
        case str():
            return value
        case Sequence():
            return ", ".join(words(inner) for inner in value) or "-"
        case _:
            return str(value)


TRADE_COLUMNS = ("ticket", "symbol", "side", "state", "score", "R", "stop", "owner", "last action")
UNMANAGED_COLUMNS = ("ticket", "symbol", "side", "volume", "stop", "why")
NO_STOP = "NO stop"
ACTION_COLUMNS = ("at", "ticket", "kind", "rule", "state", "reason")


def trade_row(trade: Mapping[str, Any]) -> tuple[object, ...]:
    """Return a trade as a row of `TRADE_COLUMNS`."""
    score = trade["score"]
    last = max(trade["last_actions"], key=lambda action: str(action["created_at"]), default=None)
    state = trade["state"] if trade["pending_to"] is None else f"{trade['state']} > {trade['pending_to']}"
    return (
        trade["ticket"],
        trade["symbol"],
        trade["direction"],
        state,
        _signed(None if score is None else score["total"]),
        _signed(trade["r_multiple"]),
        shown("stop_loss", trade["stop_loss"], digits_of(trade)) if trade["protection_active"] else NO_STOP,
        f"{trade['owner']}, uncalibrated" if trade.get("uncalibrated") else trade["owner"],
        None if last is None else f"{last['kind']} ({last['rule']}): {last['state'].lower()}",
    )


def unmanaged_row(position: Mapping[str, Any]) -> tuple[object, ...]:
    """Return a position that no trade manages as a row of `UNMANAGED_COLUMNS`."""
    stop = position["stop_loss"]
    figures = position["volume"], NO_STOP if stop is None else stop
    return position["ticket"], position["symbol"], position["direction"], *figures, position["why"]


def _signed(number: float | None) -> str | None:
    return None if number is None else f"{number:+.2f}"


def action_row(action: Mapping[str, Any]) -> tuple[object, ...]:
    """Return an action as a row of `ACTION_COLUMNS`."""
    return tuple(action[name] for name in ("created_at", "ticket", "kind", "rule", "state", "reason"))


def show_explanation(answer: Mapping[str, Any]) -> None:
    """Print why a trade is where it is, and the ways out."""
    _console.print(answer["sentence"], soft_wrap=True, markup=False)
    rows = (
        (way["to"], way["when"], "yes" if way["holds_now"] else "no", ", ".join(way["blocked_by"]) or "-")
        for way in answer["ways"]
    )
    show_rows("Ways out", ("to", "when", "holds now", "blocked by"), rows)
