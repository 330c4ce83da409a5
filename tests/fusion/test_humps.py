"""Uniforms: different people who are alike in two ways, noticed and kept from looking like proof."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fusion.association_file import AssociationFileError, calibration_of
from pipeline.fusion.association_file import _told as told_of
from pipeline.fusion.build import build_fuser
from pipeline.fusion.calibration import SimilarityCalibration, humps_log_odds, normal_log_odds
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.humps import HumpSeeker, TwoHumps
from pipeline.simulate.noise import AppearanceNoise
from pipeline.simulate.ready_sites import ready_site
from pipeline.simulate.run import simulate_site
from pipeline.simulate.stream import embedded_frames
from pipeline.types import Float64

NOTHING = np.zeros(0)


def draw(rng: np.random.Generator, num: int, share: float = 0.4) -> Float64:
    alike = rng.random(num) < share
    return np.clip(np.where(alike, rng.normal(0.74, 0.05, num), rng.normal(0.5, 0.05, num)), -1, 1)


def fed(samples: Float64, per_update: int = 3) -> HumpSeeker:
    seeker = HumpSeeker("across cameras")
    for at in range(0, len(samples), per_update):
        seeker.add(samples[at : at + per_update])
    return seeker


def test_two_humps_are_found_with_their_shares_means_and_deviations(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = fed(draw(np.random.default_rng(1), 3000)).found
    assert found is not None
    assert found.share == pytest.approx((0.6, 0.4), abs=0.04)
    assert found.mean == pytest.approx((0.5, 0.74), abs=0.02)
    assert found.std == pytest.approx((0.05, 0.05), abs=0.015)
    assert caplog.text.count("alike in two ways") == 1


@given(st.integers(0, 10_000), st.floats(0.04, 0.12), st.sampled_from(("normal", "skewed", "flat")))
def test_one_hump_is_not_taken_for_two(seed: int, std: float, shape: str) -> None:
    rng = np.random.default_rng(seed)
    spread = {"normal": rng.normal(0, 1, 900), "skewed": rng.gamma(2, 0.7, 900), "flat": rng.uniform(-1.7, 1.7, 900)}
    assert fed(0.3 + std * spread[shape]).found is None


def test_few_who_look_alike_are_no_uniform() -> None:
    assert fed(draw(np.random.default_rng(1), 3000, share=0.15)).found is None


def test_when_the_uniforms_are_gone_so_are_the_humps_in_the_end() -> None:
    rng = np.random.default_rng(2)
    seeker = fed(draw(rng, 3000))
    assert seeker.found is not None
    for at in range(12_000):
        seeker.add(rng.normal(0.5, 0.05, 3) if at else NOTHING)
    assert seeker.found is None and len(seeker._waiting) < 16


def test_an_ordinary_likeness_of_two_wearers_is_no_proof() -> None:
    rng = np.random.default_rng(3)
    uniforms, plain = SimilarityCalibration(FusionConfig()), SimilarityCalibration(FusionConfig())
    for _ in range(400):
        samples = draw(rng, 3)
        uniforms.differ(samples, samples)
        for calibration in (uniforms, plain):
            calibration.same.update(rng.normal(0.9, 0.04, 2), 2.0)
        plain.different_within.update(samples, 1.0)
        plain.different_across.update(samples, 1.0)
    alike = np.array([0.74])
    assert plain.log_odds(alike, across=True)[0] > uniforms.log_odds(alike, across=True)[0] + 0.5
    assert uniforms.log_odds(alike, across=True)[0] < 0.7 < uniforms.log_odds(np.array([0.95]), across=True)[0]


@given(st.floats(0.3, 0.95), st.floats(0.02, 0.15), st.floats(0.1, 0.9), st.floats(0.2, 0.5), st.floats(0.05, 0.4))
def test_who_is_more_alike_is_never_less_surely_the_same(
    same: float, std: float, share: float, low: float, apart: float
) -> None:
    humps = TwoHumps((1 - share, share), (low, low + apart), (0.05, 0.05))
    odds = humps_log_odds(np.linspace(-1, 1, 301), (same, std), humps, 0.9, 0.02)
    assert np.isfinite(odds).all() and (np.diff(odds) >= -1e-9).all()


def test_two_humps_of_one_kind_are_as_one_normal() -> None:
    at = np.linspace(0.5, 1, 101)
    twice = TwoHumps((0.5, 0.5), (0.5, 0.5), (0.1, 0.1))
    once = normal_log_odds(at, (0.8, 0.1), (0.5, 0.1), 0.9, 0.02)
    assert humps_log_odds(at, (0.8, 0.1), twice, 0.9, 0.02) == pytest.approx(once, abs=1e-3)


def test_what_was_found_is_written_and_read_back_and_damage_is_told() -> None:
    calibration, rng = SimilarityCalibration(FusionConfig()), np.random.default_rng(4)
    for _ in range(400):
        calibration.differ(rng.normal(0.6, 0.08, 3), draw(rng, 3))
    told = told_of(calibration)
    assert "humps_across" in told and "humps_within" not in told
    again = calibration_of({"similarity": told}, FusionConfig())
    at = np.linspace(0, 1, 50)
    assert again.log_odds(at, across=True) == pytest.approx(calibration.log_odds(at, across=True), abs=1e-3)
    for damage in ({"share": [1.0]}, {**told["humps_across"], "std": [0.0, 0.1]}, "two"):
        with pytest.raises(AssociationFileError, match="similarities are missing or damaged"):
            calibration_of({"similarity": told | {"humps_across": damage}}, FusionConfig())


@pytest.mark.parametrize("groups", [0, 2])
def test_uniforms_of_a_simulated_site_are_noticed_and_other_sites_have_none(groups: int) -> None:
    looks = AppearanceNoise(factor=1.0, uniform_groups=groups)
    run = simulate_site(ready_site("corridor:4").with_noise(appearance=looks), 180.0, seed=5)
    fuser = build_fuser(FusionConfig(), [None] * 4, run.site.overlaps(), looks.dim)
    for items in embedded_frames(run, fps=2.0):
        fuser.step(items)
    found = fuser._state.calibration.humps_across.found  # type: ignore[attr-defined]
    assert (found is not None) == bool(groups)
