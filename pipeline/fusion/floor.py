"""How well tracklets of different calibrated cameras agree on the floor while both are in view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.fusion.affinity import floor_log_odds
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.store import TrackletStore
from pipeline.types import BoolMask, Float64, Int64

_LONGEST_LOOK_S = 0.5
_FIRST_LOOK_S = 0.1


class FloorAgreement:
    """Fading averages of the floor evidence for every pair of slots of a `TrackletStore`."""

    def __init__(self, config: FusionConfig, allowed: BoolMask, area_m2: Float64) -> None:
        """allowed: (C, C) pairs of cameras that are compared, people standing anywhere on `area_m2` (C, C)."""
        self._config = config
        self._allowed = allowed
        self._area_m2: Float64 = np.maximum(area_m2, config.floor_area_m2)
        self._odds_s: Float64 = np.zeros((0, 0))  # log-odds x seconds
        self._distance_s: Float64 = np.zeros((0, 0))  # metres x seconds
        self._seen_s: Float64 = np.zeros((0, 0))  # seconds, fading
        self._before: Float64 = np.zeros((0, 0))  # log-odds of a way seen before, from `remember`
        self._agreed_at_s: Float64 = np.zeros((0, 0))  # when the two last agreed, on the clock of the footage

    @property
    def active(self) -> bool:
        return bool(self._allowed.any())

    def allow(self, allowed: BoolMask, area_m2: Float64) -> None:
        """From now on these pairs of cameras (C, C) are compared, people standing anywhere on `area_m2` (C, C). Places
        are new: what was seen before counts no more."""
        self._allowed = allowed
        self._area_m2 = np.maximum(area_m2, self._config.floor_area_m2)
        for table in (self._odds_s, self._distance_s, self._seen_s, self._before):
            table[:] = 0

    def follow(self, allowed: BoolMask, area_m2: Float64) -> None:
        """There are more cameras, of which these pairs (C, C) are compared; what was seen so far stays."""
        self._allowed, self._area_m2 = allowed, np.maximum(area_m2, self._config.floor_area_m2)

    def remember(self, store: TrackletStore, history: Sequence[tuple[tuple[int, int], tuple[int, int], float]]) -> None:
        """What the common way of two tracklets, each (camid, track_id), said before, in log-odds."""
        self._fit(store.num_slots)
        for one, other, log_odds in history:
            a, b = store.slot_of(*one), store.slot_of(*other)
            if a >= 0 and b >= 0:
                self._before[a, b] = self._before[b, a] = log_odds

    def update(self, store: TrackletStore, slots: Int64, now_s: float) -> None:
        """Compare the tracklets `slots`, just observed, with all that were seen within `simultaneous_s`."""
        if not self.active or not len(slots):
            return
        self._fit(store.num_slots)
        near = store.slots()
        near = near[store.last_s[near] >= now_s - self._config.simultaneous_s]
        near = near[np.isfinite(store.ground_xy[near, 0])]
        slots = slots[np.isfinite(store.ground_xy[slots, 0])]
        meets = self._allowed[store.camid[slots][:, None], store.camid[near][None]]
        if not meets.any():
            return
        apart = store.ground_xy[slots][:, None] - store.ground_xy[near][None]
        distance = np.hypot(apart[..., 0], apart[..., 1])
        late_s = np.abs(store.last_s[slots][:, None] - store.last_s[near][None])
        sigma = store.ground_sigma_m[slots][:, None] ** 2 + store.ground_sigma_m[near][None] ** 2
        sigma = np.sqrt(sigma + 2 * self._config.floor_sigma_m**2 + late_s**2)
        area_m2 = self._area_m2[store.camid[slots][:, None], store.camid[near][None]]
        odds = floor_log_odds(distance, sigma, area_m2)
        look_s = np.clip(store.step_s[slots], _FIRST_LOOK_S, _LONGEST_LOOK_S)[:, None]
        look_s = np.where(meets & np.isfinite(distance), look_s, 0.0)
        keep = np.exp(-look_s / self._config.floor_memory_s)
        distance = np.where(look_s > 0, distance, 0.0)
        for table, gain in ((self._odds_s, odds), (self._distance_s, distance), (self._seen_s, 1.0)):
            fresh = table[np.ix_(slots, near)] * keep + gain * look_s
            table[np.ix_(slots, near)] = fresh
            table[np.ix_(near, slots)] = fresh.T
        # Who once disagrees on the whole does not agree by crossing somebody's way.
        rows, cols = np.nonzero((odds > 0) & (look_s > 0) & (self._odds_s[np.ix_(slots, near)] > 0))
        self._agreed_at_s[slots[rows], near[cols]] = self._agreed_at_s[near[cols], slots[rows]] = now_s

    def agreed_at_s(self, slot: int, others: Int64) -> float:
        """When `slot` last stood where any of `others` did; -inf if never."""
        return float(self._agreed_at_s[slot, others].max(initial=-np.inf))

    def clear(self, slot: int) -> None:
        """Forget what was seen of a slot."""
        if slot < len(self._seen_s):
            for table in (self._odds_s, self._distance_s, self._seen_s, self._before):
                table[slot] = 0
                table[:, slot] = 0
            self._agreed_at_s[slot] = self._agreed_at_s[:, slot] = -np.inf

    def pairs(self, rows: Int64, cols: Int64) -> tuple[Float64, Float64, Float64]:
        """-> (R, C) each: log-odds x seconds, metres x seconds, seconds. Zeros for pairs never seen together."""
        if not self.active:
            nothing = np.zeros((len(rows), len(cols)))
            return nothing, nothing, nothing
        self._fit(int(max(rows.max(initial=0), cols.max(initial=0))) + 1)
        at = np.ix_(rows, cols)
        before_s = self._before[at] * self._seen_s[at] / self._config.floor_max_looks
        return self._odds_s[at] + before_s, self._distance_s[at], self._seen_s[at]

    def log_odds(self, odds_s: Float64, seen_s: Float64) -> Float64:
        """Evidence of averaged looks: their mean, counted as often as they are independent."""
        looks = np.minimum(seen_s / self._config.floor_independent_s, self._config.floor_max_looks)
        return np.asarray(looks * odds_s / np.maximum(seen_s, 1e-9), np.float64)

    def _fit(self, num_slots: int) -> None:
        size = len(self._seen_s)
        if num_slots <= size:
            return
        for name in ("_odds_s", "_distance_s", "_seen_s", "_before", "_agreed_at_s"):
            table = np.full((num_slots, num_slots), -np.inf if name == "_agreed_at_s" else 0.0)
            table[:size, :size] = getattr(self, name)
            setattr(self, name, table)
