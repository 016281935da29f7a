"""The numbers of the state machine and of its plans (behaviour.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.policy import checks


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePolicy:
    """Thresholds, waits and deadlines of the state machine.

    Scores are in points of the weighted sum; times in seconds or minutes of open-market time; bars are M5 bars.

    Attributes:
        l1_score, l2_score, hedge_score: Scores at or below which a trade escalates; each <= 0, the later the lower.
        healthy_score, l2_release_score, recover_score, confirm_score: Scores at or above which it de-escalates.
        running_bars: Bars running that a two-bar rule asks for, 1 to 6.
        l2_release_bars: Bars running above `l2_score` that release WARNING_L2, 1 to 6.
        dwell_bars: A score transition comes at the earliest on this bar after a change, 1 to 20.
        grace_bars, grace_s, grace_r: No score transition until so many bars or seconds passed, unless r-multiple <= grace_r.
        l1_minutes, l2_minutes, hedged_minutes, recovering_minutes: Deadlines of the states.
        before_close_minutes, long_close_hours: HEDGED ends so long before a close that lasts longer than that.
        no_hedge_before_close_minutes: No hedge or re-add within so long before such a close.
    """

    l1_score: float = -2.0
    l2_score: float = -4.0
    hedge_score: float = -6.0
    healthy_score: float = 0.0
    l2_release_score: float = -2.0
    recover_score: float = -1.0
    confirm_score: float = 1.0
    running_bars: int = 2
    l2_release_bars: int = 6
    dwell_bars: int = 2
    grace_bars: int = 3
    grace_s: float = 900.0
    grace_r: float = -0.5
    l1_minutes: float = 150.0
    l2_minutes: float = 120.0
    hedged_minutes: float = 75.0
    recovering_minutes: float = 30.0
    before_close_minutes: float = 30.0
    long_close_hours: float = 4.0
    no_hedge_before_close_minutes: float = 120.0

    def __post_init__(self) -> None:
        for name in ("l1_score", "l2_score", "hedge_score"):
            checks.number(f"machine.{name}", getattr(self, name), -10.5, 0.0, "points")
        for name in ("healthy_score", "l2_release_score", "recover_score", "confirm_score"):
            checks.number(f"machine.{name}", getattr(self, name), -10.5, 10.5, "points")
        checks.ascending(
            "machine.hedge_score, l2_score, l1_score, healthy_score",
            self.hedge_score,
            self.l2_score,
            self.l1_score,
            self.healthy_score,
        )
        checks.ascending("machine.l2_score, l2_release_score", self.l2_score, self.l2_release_score)
        checks.ascending(
            "machine.hedge_score, recover_score, confirm_score",
            self.hedge_score,
            self.recover_score,
            self.confirm_score,
        )
        for name in ("running_bars", "l2_release_bars"):
            checks.number(f"machine.{name}", getattr(self, name), 1, 6, "bars")
        checks.number("machine.dwell_bars", self.dwell_bars, 1, 20, "bars")
        checks.number("machine.grace_bars", self.grace_bars, 0, 100, "bars")
        checks.number("machine.grace_s", self.grace_s, 0, 86_400, "s")
        checks.number("machine.grace_r", self.grace_r, -1, 0, "R")
        for name in ("l1_minutes", "l2_minutes", "hedged_minutes", "recovering_minutes"):
            checks.number(f"machine.{name}", getattr(self, name), 1, 10_080, "min")
        checks.number("machine.before_close_minutes", self.before_close_minutes, 1, 1_440, "min")
        checks.number("machine.long_close_hours", self.long_close_hours, 0, 168, "h")
        checks.number("machine.no_hedge_before_close_minutes", self.no_hedge_before_close_minutes, 0, 1_440, "min")


@dataclass(frozen=True, slots=True, kw_only=True)
class DefencePolicy:
    """How the machine's plans act at the broker.

    Attributes:
        defence: `hedge` opens an opposite position in HEDGED; `reduce` closes the same volume instead.
        partial_share, hedge_share: Shares of the remaining volume, 0.05 to 0.95.
        tighten_r, tighten_atr, tighten_spreads: The tightened stop lies max(r x R, atr x ATR(M15), levels + spreads x
            spread) from the price.
        tighten_min_r: A tightening that gains less than this many R (or one tick) is left out.
        tighten_again_r: So many R must be gained before a second tightening.
        hedge_stop_atr: The hedge's stop lies so many ATR(M15) plus the spread beyond its own fill.
        small_lot: Where a partial is below the minimum lot: `skip` tightens only, `close_all` closes.
        re_add: Whether the defensive partial is bought back on recovery: `off` or `on`.
        by_hand: What follows a change by hand: `yield`, `floor`, `reassert` or `ask`.
    """

    defence: str = "hedge"
    partial_share: float = 0.5
    hedge_share: float = 0.5
    tighten_r: float = 0.3
    tighten_atr: float = 1.0
    tighten_spreads: float = 2.0
    tighten_min_r: float = 0.02
    tighten_again_r: float = 0.5
    hedge_stop_atr: float = 1.5
    small_lot: str = "skip"
    re_add: str = "off"
    by_hand: str = "floor"

    def __post_init__(self) -> None:
        checks.one_of("defence.defence", self.defence, ("hedge", "reduce"))
        checks.one_of("defence.small_lot", self.small_lot, ("skip", "close_all"))
        checks.one_of("defence.re_add", self.re_add, ("off", "on"))
        checks.one_of("defence.by_hand", self.by_hand, ("yield", "floor", "reassert", "ask"))
        for name in ("partial_share", "hedge_share"):
            checks.number(f"defence.{name}", getattr(self, name), 0.05, 0.95, "of the volume")
        checks.number("defence.tighten_r", self.tighten_r, 0, 1, "R")
        checks.number("defence.tighten_atr", self.tighten_atr, 0, 10, "ATR")
        checks.number("defence.tighten_spreads", self.tighten_spreads, 0, 20, "spreads")
        checks.number("defence.tighten_min_r", self.tighten_min_r, 0, 1, "R")
        checks.number("defence.tighten_again_r", self.tighten_again_r, 0, 10, "R")
        checks.number("defence.hedge_stop_atr", self.hedge_stop_atr, 0.1, 10, "ATR")
