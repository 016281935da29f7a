"""The policy: every tunable number, typed, with unit, range and default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dtms.domain.policy.exits import ExitPolicy
from dtms.domain.policy.machine import DefencePolicy, MachinePolicy
from dtms.domain.policy.opening import OpeningPolicy
from dtms.domain.policy.operation import OperationPolicy
from dtms.domain.policy.rails import RailsPolicy
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.symbols import canonical as canonical_of

__all__ = [
    "DefencePolicy",
    "ExitPolicy",
    "MachinePolicy",
    "OpeningPolicy",
    "OperationPolicy",
    "Policies",
    "Policy",
    "RailsPolicy",
    "RegimePolicy",
    "ScorePolicy",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that may be tuned, for one symbol.

    `digest` names this set of numbers in every verdict; the loader fills it in. `spread_typical` is the symbol's usual
    spread in price units, used by the spread rail until enough quotes were seen; None where it is not known.
    """

    score: ScorePolicy = field(default_factory=ScorePolicy)
    regime: RegimePolicy = field(default_factory=RegimePolicy)
    machine: MachinePolicy = field(default_factory=MachinePolicy)
    defence: DefencePolicy = field(default_factory=DefencePolicy)
    rails: RailsPolicy = field(default_factory=RailsPolicy)
    exits: ExitPolicy = field(default_factory=ExitPolicy)
    operation: OperationPolicy = field(default_factory=OperationPolicy)
    opening: OpeningPolicy = field(default_factory=OpeningPolicy)
    spread_typical: float | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policy of every symbol: the shipped or configured default, and what differs by canonical symbol.

    `aliases` are a person's own words for what a broker's symbol is, beside those that the names tell themselves.
    """

    default: Policy = field(default_factory=Policy)
    by_symbol: Mapping[str, Policy] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def of(self, canonical: str) -> Policy:
        """Return the policy of a canonical symbol."""
        return self.by_symbol.get(canonical, self.default)

    def canonical(self, symbol: str) -> str:
        """Return our spelling of a broker's symbol, as far as its name and the aliases tell it."""
        return canonical_of(symbol, self.aliases)

    def is_calibrated(self, canonical: str) -> bool:
        """Say whether numbers of its own are known of a canonical symbol; else the general ones apply."""
        return self.of(canonical).regime.base(canonical) is not None
