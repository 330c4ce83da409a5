"""How probable a link must be so that no more of them are wrong than was asked for."""

from __future__ import annotations

import math

import numpy as np

from pipeline.types import Float64

_BINS = 100
_LEAST = 0.3  # below, 'somebody new' or another candidate is more probable by far
_MEMORY = 500.0  # decisions
_EXPECTED = 20.0  # decisions that the expectation at the start weighs: probabilities even between 0 and 1


class LinkThreshold:
    """The least probability of a link, from the probabilities of recent decisions.

    If probabilities are true, a link of probability p is wrong with 1 - p. The threshold is the lowest at which the
    links above it are wrong, on average, in at most the share `false_merge_rate`. Where people are hard to tell apart
    it rises, and more of them are taken for somebody new.
    """

    def __init__(self, false_merge_rate: float) -> None:
        self._rate = false_merge_rate
        self._count: Float64 = np.full(_BINS, _EXPECTED / _BINS)  # of decisions by probability, the highest first
        self._doubt: Float64 = 1 - (np.arange(_BINS)[::-1] + 0.5) / _BINS
        self._value = math.nan  # made anew when asked for

    @property
    def value(self) -> float:
        if math.isnan(self._value):
            self._value = self._lowest()
        return self._value

    def see(self, probability: float) -> None:
        """The best candidate of a decision had this probability."""
        self._count *= 1 - 1 / _MEMORY
        self._count[_BINS - 1 - min(int(probability * _BINS), _BINS - 1)] += 1
        self._value = math.nan

    def _lowest(self) -> float:
        links, wrong = self._count.cumsum(), (self._count * self._doubt).cumsum()
        allowed = (wrong <= self._rate * links).nonzero()[0]
        return max(_LEAST, (_BINS - 1 - int(allowed[-1])) / _BINS) if len(allowed) else 1.0
