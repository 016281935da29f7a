"""The one way kernels are compiled: Numba, cached, without fast-math, so that live, replay and plain Python agree.

A cached kernel knows when its own file changed, not when a kernel it calls did. So the cache folder carries a digest
of all kernel sources: an edit anywhere begins a fresh cache. With NUMBA_DISABLE_JIT=1 every kernel is the plain
Python function, which the tests use to show that both give the same bits.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""A kernel's state, parameters or output: one contiguous array of doubles."""

_P = ParamSpec("_P")
_R = TypeVar("_R")

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_KERNEL_FOLDERS: Final = ("core", "replay")
_MARK: Final = b"dtms.core._jit"
"""A source with this in it holds kernels or constants of theirs; no kernel may use a constant from any other module."""
_KERNEL_MODULES: Final = ("dtms.core.batch",)
"""Importing these imports, and so compiles or loads, every kernel that a live process needs."""


def _sources_digest() -> str:
    digest = hashlib.sha256(f"numba {numba.__version__} numpy {np.__version__}".encode())
    for folder in _KERNEL_FOLDERS:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            source = path.read_bytes()
            if _MARK in source:
                digest.update(path.relative_to(_PACKAGE).as_posix().encode())
                digest.update(source)
    return digest.hexdigest()[:32]


def _user_cache() -> Path:
    """Return the user's cache folder; NUMBA_CACHE_DIR, which Numba itself reads, replaces it."""
    given = str(getattr(numba.config, "CACHE_DIR", ""))
    if given:
        return Path(given)
    home = Path.home()
    if sys.platform == "win32":
        caches = home / "AppData" / "Local" / "dtms" / "cache"
    elif sys.platform == "darwin":
        caches = home / "Library" / "Caches" / "dtms"
    else:
        caches = home / ".cache" / "dtms"
    return caches


def _prepare_cache() -> bool:
    """Point Numba at our cache folder; False where none can be made, and then every process compiles for itself."""
    try:
        folder = _user_cache() / _sources_digest()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return False
    if not os.access(folder, os.W_OK):
        return False
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # set by Numba itself at run time
    return True


_CACHED: Final = _prepare_cache()


def kernel(signature: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function of doubles, integers and contiguous arrays for one explicit signature.

    Fast-math stays off: results are the bits that plain Python gives. Divisions by zero must be guarded by the
    function, because the compiled one returns infinity where the plain one raises. Kernels are inlined into each other
    and do not count references, which together makes a bar three times faster; so a kernel must not create an array.

    Args:
        signature: Numba's words, as ``"f8(f8[::1], i8)"``; a call with other types converts or fails, never compiles.
    """

    def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
        made = numba.njit(  # type: ignore[call-overload]  # its stubs leave out _nrt
            signature, cache=_CACHED, fastmath=False, error_model="numpy", forceinline=True, _nrt=False
        )(function)
        return cast("Callable[_P, _R]", made)

    return compiled


def compile_all() -> None:
    """Compile every kernel, or load it from the cache; call it once before processes are started side by side."""
    for module in _KERNEL_MODULES:
        importlib.import_module(module)
