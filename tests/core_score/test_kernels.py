"""How kernels are compiled and cached, and the windows they rank values in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import dtms.core._jit as jit
from dtms.core.windows import percentile, push_ranked


@given(st.lists(st.integers(0, 30), min_size=1, max_size=120), st.integers(1, 25), st.sampled_from((10.0, 30.0, 90.0)))
def test_a_ranked_window_gives_the_percentile_of_its_last_values(
    values: list[int], capacity: int, percent: float
) -> None:
    state = np.zeros(1 + 2 * capacity)
    for i, value in enumerate(values):
        known = push_ranked(state, 0, capacity, float(value))
        last = values[max(0, i + 1 - capacity) : i + 1]
        assert known == len(last)
        assert list(state[1 + capacity : 1 + capacity + known]) == sorted(last)
        assert abs(percentile(state, 0, capacity, known, percent) - np.percentile(last, percent)) < 1e-12


def cache_folder_of(package: Path) -> str:
    """Return the cache folder that a process would use for the kernels of a package at another place."""
    code = (
        "import sys, pathlib, dtms.core._jit as jit\n"
        "jit._PACKAGE = pathlib.Path(sys.argv[1])\n"
        "print(jit._sources_digest())\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(package)], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_an_edit_of_any_kernel_source_begins_a_fresh_cache(tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.mkdir()
    kernels, other = core / "kernels.py", core / "other.py"
    kernels.write_text("from dtms.core._jit import kernel\nX = 1\n")
    other.write_text("Y = 1\n")
    first = cache_folder_of(tmp_path)
    other.write_text("Y = 2\n")
    assert cache_folder_of(tmp_path) == first
    kernels.write_text("from dtms.core._jit import kernel\nX = 2\n")
    assert cache_folder_of(tmp_path) != first


def test_all_kernels_load_from_the_cache_that_was_compiled_once(tmp_path: Path) -> None:
    jit.compile_all()
    if numba.config.DISABLE_JIT or not jit._CACHED:  # type: ignore[attr-defined]
        return
    folder = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    before = {path for path in folder.rglob("*") if path.suffix == ".nbc"}
    assert len(before) > 10
    code = "from dtms.core._jit import compile_all; compile_all()"
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert {path for path in folder.rglob("*") if path.suffix == ".nbc"} == before
