"""Appearance vectors have the cosines that their noise model promises, and those of the network it was fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.retrieval import evaluate
from pipeline.simulate.appearance import AppearanceModel, NormalTable, spectrum
from pipeline.simulate.appearance_fit import figures, fit_appearance, simulated_figures, sizes_from
from pipeline.simulate.noise import AppearanceNoise

# OSNet x0.25 on PKU-Reid, camera 1 to 2: benchmarks/results/2026-11-21-simulate-sites.md
REAL_MEAN = (0.738, 0.570, 0.487, 0.401)
REAL_STD = (0.086, 0.082, 0.084, 0.071)
REAL_CROP_MAP, REAL_TRACKLET_MAP = 0.568, 0.897
PLAIN = AppearanceNoise(
    dim=512, identity_spread=0, crop_spread=0, identity_decay=0, view_decay=0, crop_decay=0, camera_share=0
)


def vectors(noise: AppearanceNoise, people: np.ndarray, seed: int = 0, **columns: int) -> np.ndarray:
    """One clip of each of these people, in camera 0, every one a visit of its own."""
    count = len(people)
    camid = np.full(count, columns.get("camid", 0))
    view = np.arange(count) + columns.get("view", 0)
    model = AppearanceModel(noise, seed)
    found, _ = model.vectors(people, camid, view, view, view, np.full(count, columns.get("num_crops", 1)))
    return found


def test_mean_cosines_are_the_shares_of_the_parts() -> None:
    count = 400
    person, other = np.arange(count), np.arange(count) + count
    one = vectors(PLAIN, person)
    parts = PLAIN
    total = parts.mean_var + parts.identity_var + parts.camera_var + parts.view_var + parts.crop_var

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.einsum("nd,nd->n", a, b).mean())

    same_camera = mean(one, vectors(PLAIN, person, view=count))
    assert same_camera == pytest.approx((parts.mean_var + parts.identity_var + parts.camera_var) / total, abs=0.01)
    elsewhere = mean(one, vectors(PLAIN, person, view=count, camid=1))
    assert elsewhere == pytest.approx((parts.mean_var + parts.identity_var) / total, abs=0.015)
    stranger = mean(one, vectors(PLAIN, other, view=count))
    assert stranger == pytest.approx((parts.mean_var + parts.camera_var) / total, abs=0.015)
    stranger_elsewhere = mean(one, vectors(PLAIN, other, view=count, camid=1))
    assert stranger_elsewhere == pytest.approx(parts.mean_var / total, abs=0.02)


def test_clips_of_more_crops_are_nearer_to_each_other() -> None:
    people = np.arange(200)
    alike = [
        np.einsum("nd,nd->n", vectors(PLAIN, people, num_crops=n), vectors(PLAIN, people, num_crops=n, view=200)).mean()
        for n in (1, 4, 8)
    ]
    assert alike[0] + 0.05 < alike[1] < alike[2]


def test_defaults_have_the_figures_of_the_real_network() -> None:
    sets = [simulated_figures(AppearanceNoise(), num_people=50, num_cams=2, num_crops=8, seed=s) for s in range(8)]
    assert np.mean([f.mean for f in sets], axis=0) == pytest.approx(REAL_MEAN, abs=0.02)
    assert np.mean([f.std for f in sets], axis=0) == pytest.approx(REAL_STD, abs=0.02)
    assert np.mean([f.crop[1] for f in sets]) == pytest.approx(REAL_CROP_MAP, abs=0.06)
    assert np.mean([f.tracklet[1] for f in sets]) == pytest.approx(REAL_TRACKLET_MAP, abs=0.05)


def test_figures_equal_the_reference_scorer() -> None:
    rng = np.random.default_rng(0)
    pids, camids = np.repeat(np.arange(12), 6), np.tile([0, 0, 0, 1, 1, 1], 12)
    made = (rng.standard_normal((12, 1, 16)) + 1.2 * rng.standard_normal((12, 6, 16))).reshape(-1, 16)
    got = figures(made.astype(np.float32), pids, camids)
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    a, b = camids == 0, camids == 1
    wanted = evaluate(1 - unit[a] @ unit[b].T, pids[a], pids[b], camids[a], camids[b])
    assert got.crop == pytest.approx((wanted.rank(1), wanted.mAP))
    cosine = unit @ unit.T
    pairs = [
        [cosine[i, j] for i in range(72) for j in range(i) if (pids[i] == pids[j], camids[i] == camids[j]) == kind]
        for kind in ((True, True), (True, False), (False, True), (False, False))
    ]
    assert got.mean == pytest.approx([np.mean(p) for p in pairs], abs=1e-6)
    assert got.std == pytest.approx([np.std(p) for p in pairs], abs=1e-6)


def test_fitting_finds_the_noise_again_that_made_the_vectors() -> None:
    true = AppearanceNoise(dim=64, identity_var=0.3, mean_var=0.3, crop_var=0.2, view_var=0.1, camera_var=0.1)
    count = 20 * 2 * 4
    pid, camid = np.arange(count) // 8, np.arange(count) % 8 // 4
    view = pid * 2 + camid
    made, _ = AppearanceModel(true, 5).vectors(pid, camid, view, view, np.arange(count), np.ones(count, np.int64))
    found, losses = fit_appearance(made, pid, camid, dim=64, trials=12, seeds=2)
    assert (np.diff(losses) <= 0).all()
    wanted, got = figures(made, pid, camid), [
        simulated_figures(found, num_people=20, num_cams=2, num_crops=4, seed=50 + s).mean for s in range(8)
    ]  # fmt: skip
    assert np.mean(got, axis=0) == pytest.approx(wanted.mean, abs=0.06)
    sizes = sizes_from(wanted.mean)
    assert sum(sizes.values()) == pytest.approx(1.0, abs=0.01)


def test_more_noise_makes_people_harder_to_find_again_and_none_makes_it_trivial() -> None:
    maps = [
        simulated_figures(AppearanceNoise(factor=f), num_people=40, num_cams=2, num_crops=4, seed=1).crop[1]
        for f in (0.0, 1.0, 2.0)
    ]
    assert maps[0] == pytest.approx(1.0)
    assert maps[0] > maps[1] + 0.2 > maps[2] + 0.3


def test_people_in_one_uniform_look_alike_and_those_in_another_do_not() -> None:
    noise = AppearanceNoise(uniform_groups=3, uniform_likeness=0.9, factor=0.0, identity_spread=0.0)
    people = np.arange(60)
    unit = vectors(noise, people)
    cosine = unit @ unit.T
    same = people[:, None] % 3 == people[None] % 3
    aside = ~np.eye(60, dtype=bool)
    assert cosine[same & aside].mean() > 0.93
    assert cosine[~same].mean() < 0.85
    half = noise.model_copy(update={"uniform_people": 0.5})
    few = vectors(half, people)
    alike = ((few @ few.T)[same & aside] > 0.9).mean()
    assert 0.1 < alike < 0.5


def test_noisier_clips_have_a_lower_quality_and_less_in_common() -> None:
    noise = AppearanceNoise(crop_spread=0.5)
    people, index = np.zeros(600, np.int64), np.arange(600)
    none = np.zeros(600, np.int64)
    made, quality = AppearanceModel(noise, 0).vectors(people, none, none, none, index, none + 1)
    assert quality.min() > 0 and quality.max() <= 1
    centre = made.mean(axis=0)
    assert np.corrcoef(made @ centre, quality)[0, 1] > 0.5


def test_rows_of_a_table_do_not_depend_on_the_order_in_which_they_are_asked_for() -> None:
    forwards, backwards = NormalTable(3, 1, 8), NormalTable(3, 1, 8)
    index = np.array([0, 700, 5, 99_999, 511, 512])
    one = forwards.rows(index)
    two = backwards.rows(index[::-1])
    np.testing.assert_array_equal(one[0], two[0][::-1])
    np.testing.assert_array_equal(one[1], two[1][::-1])
    assert not np.array_equal(one[0], NormalTable(4, 1, 8).rows(index)[0])
    assert (spectrum(10, 0.0) ** 2).sum() == pytest.approx(1.0)
    assert (np.diff(spectrum(10, 1.0)) < 0).all()
