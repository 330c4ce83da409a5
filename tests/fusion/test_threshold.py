"""The least probability of a link."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fusion.threshold import LinkThreshold


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_links_above_the_threshold_are_wrong_no_more_often_than_asked_for(rate: float) -> None:
    rng = np.random.default_rng(0)
    threshold = LinkThreshold(rate)
    chances = rng.uniform(0, 1, 4000)
    right = rng.uniform(0, 1, 4000) < chances  # probabilities are true
    wrong = links = 0
    for chance, is_right in zip(chances.tolist(), right.tolist(), strict=True):
        if chance >= threshold.value:
            links += 1
            wrong += not is_right
        threshold.see(chance)
    assert wrong / links == pytest.approx(rate, abs=0.02)


def test_threshold_rises_where_people_are_hard_to_tell_apart() -> None:
    sure, unsure = LinkThreshold(0.15), LinkThreshold(0.15)
    for _ in range(500):
        sure.see(0.99)
        unsure.see(0.6)
    assert sure.value < 0.5 < unsure.value
