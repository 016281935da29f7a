"""Writes docs/reliability.md, which a person reads, and docs/reliability-register.md, which names what shows each claim."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.scenarios.laws import INVARIANTS, ROOT, laws_of_the_drill
from tests.scenarios.scenario import Scenario
from tests.scenarios.table import SCENARIOS

PAGE = ROOT / "docs" / "reliability.md"
REGISTER = ROOT / "docs" / "reliability-register.md"
_TEXT = Path(__file__).with_name("text")
_FIGURES = Path(__file__).with_name("figures.toml")
_NOT_RUN = "not run"


def render() -> str:
    """Return the page that a person reads."""
    return _joined(_text("head.md"), _text("planted.md"), "\n".join(_figures()), _text("limits.md"))


def render_register() -> str:
    """Return the page with each invariant and each scenario, and the tests that show it."""
    return _joined(_text("register.md"), "\n".join(_invariants()), _text("scenarios.md"), "\n".join(_scenarios()))


def _text(name: str) -> str:
    return (_TEXT / name).read_text("utf-8")


def _joined(*parts: str) -> str:
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _invariants() -> Iterator[str]:
    laws = laws_of_the_drill()
    yield "| | must hold | checked by the simulator after each step, and at the end | and by |"
    yield "|---|---|---|---|"
    for invariant in INVARIANTS:
        modules = laws.get(invariant.number, {})
        checked = "; ".join(f"{', '.join(names)} (`{module}`)" for module, names in modules.items())
        yield f"| I{invariant.number} | {invariant.words} | {checked or 'by tests'} | {_links(invariant.tests)} |"


def _scenarios() -> Iterator[str]:
    for group, members in groupby(SCENARIOS, key=lambda each: each.group):
        yield f"### {group}"
        yield ""
        yield "| | happens | tests | faults of the simulator | not shown |"
        yield "|---|---|---|---|---|"
        yield from (_row(each) for each in members)
        yield ""


def _row(each: Scenario) -> str:
    faults = ", ".join(f"`{kind}`" for kind in each.kinds)
    return f"| {each.number} | {each.words} | {_links(each.tests)} | {faults} | {each.later} |"


def _links(tests: Iterable[str]) -> str:
    return "<br>".join(_link(*test.split("::", 1)) for test in tests)


def _link(file: str, name: str) -> str:
    return f"[`{name}`](../{file})"


def _figures() -> Iterator[str]:
    kept: dict[str, Any] = tomllib.loads(_FIGURES.read_text("utf-8"))
    yield f"Machine: {kept['machine']}."
    yield ""
    yield "| run | command | commit | figures |"
    yield "|---|---|---|---|"
    for figure in kept["figure"]:
        said = figure["said"] or _NOT_RUN
        yield f"| {figure['name']} | `{figure['command']}` | {figure['commit'] or '-'} | {said} |"


def counted() -> tuple[int, int, int]:
    """Return how many scenarios are shown whole, shown in part, and not at all."""
    whole = sum(each.shown and not each.later for each in SCENARIOS)
    part = sum(each.shown and bool(each.later) for each in SCENARIOS)
    return whole, part, len(SCENARIOS) - whole - part
