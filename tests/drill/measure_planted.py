"""How many seeds it takes to find each planted bug: `python -m tests.drill.measure_planted` writes docs/planted-bugs.md.

Five disjoint ranges of seeds a bug; in each, seeds are run until a law is broken. An error that comes of a switch which
does not fit the source any more is no find.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.drill.planted import PLANTED, Switch, planted

from dtms.core._jit import compile_all
from dtms_lab.drill.quiet import silence
from dtms_lab.drill.report import commit_of
from dtms_lab.drill.run import run_seed

RANGES = 5
MOST = 200
STEPS = 400
_FIRST = 20_000
_APART = 1_000
_DOCS = Path(__file__).resolve().parents[2] / "docs"
_MISFITS = ("TypeError", "AttributeError", "NameError", "ImportError", "OperationalError")
"""What a switch raises that patches something which has changed since; any other error is the bug's own doing."""
_BY_NAME = {switch.__name__: switch for switch in PLANTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """One range: how many seeds were run until a law was broken, and which; no law where none was in `MOST` seeds."""

    bug: str
    first: int
    seeds: int
    law: str


def hunt(name: str, first: int, steps: int = STEPS, most: int = MOST) -> Hunt:
    """Run seeds from `first` on with one bug until it is found.

    Raises:
        RuntimeError: The bug's switch broke the program itself.
    """
    with planted(_BY_NAME[name]):
        for number in range(most):
            found = run_seed(first + number, steps).violations
            if found:
                if found[0].law == "own error" and any(word in found[0].detail for word in _MISFITS):
                    msg = f"the switch {name} does not fit the source any more: {found[0].detail}"
                    raise RuntimeError(msg)
                return Hunt(bug=name, first=first, seeds=number + 1, law=found[0].law)
    return Hunt(bug=name, first=first, seeds=most, law="")


def hunts(names: Sequence[str], *, jobs: int, ranges: int = RANGES, most: int = MOST) -> Iterator[Hunt]:
    """Hunt each bug in every range."""
    compile_all()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=silence) as pool:
        waiting: list[Future[Hunt]] = [
            pool.submit(hunt, name, _FIRST + place * _APART, most=most) for name in names for place in range(ranges)
        ]
        for future in waiting:
            yield future.result()


def words(switch: Switch) -> str:
    """Return what a switch does, in its own words."""
    return (switch.__doc__ or "").strip()


def table(found: Iterable[Hunt], *, commit: str, before: str = "") -> str:
    """Return the fragment of the documentation.

    Args:
        found: The hunts of this time.
        commit: The source that was measured.
        before: The fragment as it was: rows of bugs that were not hunted this time stay, with their own commit.
    """
    lines = [
        "<!-- Written by `make planted`; do not edit. -->",
        "",
        f"Each planted bug was hunted in up to {RANGES} disjoint ranges of seeds of {STEPS} steps, at most {MOST} seeds a range",
        f"(ranges from seeds {', '.join(str(_FIRST + n * _APART) for n in range(RANGES))}; a row says of which commit it is).",
        "A number is how many seeds were run until a law was broken; the median must be at most 200.",
        "",
        "| bug | what it does | median seeds | seeds in each range | laws that found it | commit |",
        "|---|---|---|---|---|---|",
    ]
    by_bug: dict[str, list[Hunt]] = {}
    for one in found:
        by_bug.setdefault(one.bug, []).append(one)
    kept = {line.split("`")[1]: line for line in before.splitlines() if line.startswith("| `")}
    for name in _BY_NAME:
        if name in by_bug:
            lines.append(_row(name, by_bug[name], commit))
        elif name in kept:
            lines.append(kept[name])
    return "\n".join(lines) + "\n"


def _row(name: str, runs: Sequence[Hunt], commit: str) -> str:
    each = ", ".join(str(run.seeds) if run.law else f"none in {run.seeds}" for run in runs)
    laws = ", ".join(f"{law} ({count})" for law, count in Counter(run.law for run in runs if run.law).most_common())
    return f"| `{name}` | {words(_BY_NAME[name])} | {_median(runs)} | {each} | {laws or 'none'} | {commit} |"


def _median(runs: Sequence[Hunt]) -> str:
    """Return the median; a range in which nothing was found counts as more than any number."""
    middle = statistics.median([run.seeds if run.law else float("inf") for run in runs])
    return "not found" if middle == float("inf") else f"{middle:g}"


def main() -> None:
    """Measure the named bugs, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bugs", nargs="*", help="names of switches; all of them without any")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--ranges", type=int, default=RANGES)
    parser.add_argument("--most", type=int, default=MOST, help="seeds a range")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/planted-bugs.md")
    asked = parser.parse_args()
    began = time.perf_counter()
    done = []
    for one in hunts(asked.bugs or list(_BY_NAME), jobs=asked.jobs, ranges=asked.ranges, most=asked.most):
        done.append(one)
        print(json.dumps(asdict(one)), flush=True)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    page = _DOCS / "planted-bugs.md"
    text = table(done, commit=commit_of(), before=page.read_text(encoding="utf-8"))
    print(text)
    if asked.write:
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
