"""No key of the policy or of the settings is only validated: something outside of where it is declared reads it."""

from __future__ import annotations

import ast
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np

from dtms.core.params import parameters
from dtms.domain.policy import Policy
from dtms.domain.policy.exits import ExitProfile
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.settings import Settings

_SOURCE = Path(__file__).resolve().parents[2] / "src"
_DECLARED = ("domain/policy/checks.py", "domain/policy/__init__.py")
_IN_BLOCKS = ("high_", "range_", "session_", "volatility_", "structure_trend", "structure_range")


def _read_names(declared_in: str) -> set[str]:
    """Return each attribute that any module reads, without what a declaration checks of itself."""
    found = set()
    for path in _SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)):
                continue
            if str(path).endswith(_DECLARED) or (path.match(declared_in) and not _is_property(path, node)):
                continue
            # A kernel reads a number by its place, which has the key's name in capitals.
            found.add(node.attr.lower() if node.attr.isupper() else node.attr)
    return found


def _is_property(path: Path, read: ast.Attribute) -> bool:
    """Return whether the read stands in a method that others call, not in what checks the values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name != "__post_init__":
            inside = node.lineno <= read.lineno <= (node.end_lineno or node.lineno)
            if inside and not any("validator" in ast.dump(each) for each in node.decorator_list):
                return True
    return False


def _keys(kind: type) -> set[str]:
    return {each.name for each in fields(kind)} if is_dataclass(kind) else set()


def _packed() -> set[str]:
    """Return the weights and factors that the kernels' array holds, by changing each: they are read as blocks."""
    score, regime = ScorePolicy(), RegimePolicy()
    shipped = parameters(score, regime, "EURUSD")
    weights = {name: {name: getattr(score, name) * 0.99} for name in _blocks(score)}
    factors = {name: {name: getattr(regime, name) * 0.99} for name in _blocks(regime)}
    changed = {name: parameters(replace(score, **more), regime, "EURUSD") for name, more in weights.items()}
    changed |= {name: parameters(score, replace(regime, **more), "EURUSD") for name, more in factors.items()}
    return {name for name, packed in changed.items() if not np.array_equal(packed, shipped)}


def _blocks(policy: ScorePolicy | RegimePolicy) -> list[str]:
    return [each.name for each in fields(policy) if each.name.startswith(_IN_BLOCKS) or each.name.endswith("_weight")]


def test_every_key_of_the_policy_is_read_by_something() -> None:
    sections = [type(getattr(Policy(), each.name)) for each in fields(Policy)]
    keys = set().union(*(_keys(kind) for kind in (*sections, ExitProfile)))
    assert len(keys) > 80
    assert keys - _read_names("*/domain/policy/*.py") - _packed() == set()


def test_every_setting_is_read_by_something() -> None:
    assert set(Settings.model_fields) - _read_names("*/dtms/settings.py") == set()
