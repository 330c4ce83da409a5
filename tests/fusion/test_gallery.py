"""Exemplars of identities and their search."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fusion.gallery import Gallery


def unit(rng: np.random.Generator, num: int, dim: int = 16) -> np.ndarray:
    vectors = rng.standard_normal((num, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_search_of_an_empty_gallery_or_with_no_query_finds_nothing() -> None:
    gallery = Gallery(16, 4)
    ids, similarity = gallery.search(unit(np.random.default_rng(0), 2), 5)
    assert ids.shape == similarity.shape == (2, 0)
    gallery.add(1, 0, unit(np.random.default_rng(0), 1)[0])
    assert gallery.search(np.zeros((0, 16), np.float32), 5)[0].shape[0] == 0
    assert gallery.exemplars([])[0].shape == (0, 16)


def test_search_equals_brute_force() -> None:
    rng = np.random.default_rng(1)
    gallery = Gallery(16, 4)
    vectors = unit(rng, 300)
    for row, vector in enumerate(vectors):
        gallery.add(row + 1, 0, vector)
    queries = unit(rng, 5)
    ids, similarity = gallery.search(queries, 7)
    order = np.argsort(-queries @ vectors.T, axis=1)[:, :7]
    assert np.array_equal(ids, order + 1)
    assert np.allclose(similarity, np.take_along_axis(queries @ vectors.T, order, 1), atol=1e-5)


def test_identity_appears_once_with_its_best_exemplar() -> None:
    rng = np.random.default_rng(2)
    gallery = Gallery(16, 4)
    vectors = unit(rng, 3)
    gallery.add(1, 0, vectors[0])
    gallery.add(1, 1, vectors[1])
    gallery.add(2, 0, vectors[2])
    ids, similarity = gallery.search(vectors[1:2], 3)
    assert ids[0].tolist() == [1, 2, 0] and similarity[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_clips_of_one_camera_become_their_weighted_mean() -> None:
    gallery = Gallery(2, 4)
    gallery.add(1, 0, np.array([3, 0], np.float32))
    gallery.add(1, 0, np.array([0, 4], np.float32))
    vector, camid, owner = gallery.exemplars([1])
    assert np.allclose(vector, [[0.6, 0.8]]) and camid.tolist() == [0] and owner.tolist() == [0]


def test_number_of_exemplars_is_bounded_and_a_further_camera_joins_the_nearest() -> None:
    rng = np.random.default_rng(3)
    gallery = Gallery(16, 2)
    for camid, vector in enumerate(unit(rng, 6)):
        gallery.add(1, camid, vector)
    assert gallery.num_vectors == 2 and gallery.exemplars([1])[1].tolist() == [0, 1]


def test_removed_identity_is_not_found_and_its_rows_are_used_again() -> None:
    rng = np.random.default_rng(4)
    gallery = Gallery(16, 4)
    for gid in range(1, 2001):
        gallery.add(gid, 0, unit(rng, 1)[0])
        gallery.remove(gid - 5)
    assert len(gallery) == 5 and len(gallery._vector) == 64
    ids, _ = gallery.search(unit(rng, 1), 100)
    assert sorted(ids[ids > 0].tolist()) == [1996, 1997, 1998, 1999, 2000]


def test_merge_sums_what_both_knew_of_a_camera() -> None:
    gallery = Gallery(2, 4)
    gallery.add(1, 0, np.array([3, 0], np.float32))
    gallery.add(2, 0, np.array([0, 4], np.float32))
    gallery.add(2, 1, np.array([1, 0], np.float32))
    gallery.merge(1, 2)
    vector, camid, _ = gallery.exemplars([1])
    assert np.allclose(vector, [[0.6, 0.8], [1, 0]]) and camid.tolist() == [0, 1] and 2 not in gallery


def test_search_of_a_large_gallery_finds_whom_brute_force_finds() -> None:
    rng = np.random.default_rng(5)
    gallery, exact = Gallery(16, 4, exact_rows=500), Gallery(16, 4, exact_rows=10**9)
    vectors = unit(rng, 1500)
    for table in (gallery, exact):
        for row, vector in enumerate(vectors):
            table.add(row // 2 + 1, row % 2, vector)
        for gone in range(1, 100):
            table.remove(gone)
        table.merge(200, 201)
    queries = unit(rng, 40)
    ids, similarity = gallery.search(queries, 10)
    true_ids, true_similarity = exact.search(queries, 10)
    assert np.array_equal(ids[:, 0], true_ids[:, 0])
    assert (similarity[:, 0] == pytest.approx(true_similarity[:, 0], abs=1e-5)) and (np.diff(similarity) <= 0).all()
    shared = [len(set(one) & set(other)) for one, other in zip(ids.tolist(), true_ids.tolist(), strict=True)]
    assert np.mean(shared) > 9
    assert not np.isin(ids, [*range(1, 100), 201]).any()


def test_search_finds_many_identities_though_the_nearest_has_many_exemplars() -> None:
    rng = np.random.default_rng(6)
    for exact_rows in (0, 10**9):
        gallery, vectors = Gallery(16, 60, exact_rows=exact_rows), unit(rng, 8)
        for camid in range(60):
            gallery.add(1, camid, vectors[0])
        for gid in range(2, 9):
            gallery.add(gid, 0, vectors[gid - 1])
        ids, similarity = gallery.search(vectors[:1], 8)
        assert ids[0, 0] == 1 and sorted(ids[0].tolist()) == list(range(1, 9))
        assert np.allclose(similarity[0], vectors[ids[0] - 1] @ vectors[0], atol=1e-5)


def test_gallery_of_many_identities_takes_back_what_they_took() -> None:
    rng = np.random.default_rng(7)
    gallery = Gallery(16, 2)
    for start in (1, 20_001):
        for gid in range(start, start + 3000):
            gallery.add(gid, 0, unit(rng, 1)[0])
            gallery.add(gid, 1, unit(rng, 1)[0])
        assert len(gallery) == 3000 and gallery.num_vectors == 6000 and len(gallery._vector) <= 8192
        assert gallery.exemplars([start + 5, 7, start])[2].tolist() == (
            [0, 0, 1, 1, 2, 2] if start == 1 else [0, 0, 2, 2]
        )
        for gid in range(start, start + 3000):
            gallery.remove(gid)
        assert len(gallery) == gallery.num_vectors == len(gallery._index) == 0
        assert not gallery._rows._page_of and len(gallery._rows._rows) <= 14 * 256
    assert gallery.exemplars([20_001])[0].shape == (0, 16)


def test_exemplar_of_many_people_is_less_coherent_than_one_of_a_single_person() -> None:
    gallery = Gallery(16, num_exemplars=2)
    people = unit(np.random.default_rng(1), 2)
    gallery.add(1, 0, 0.5 * people[0], 0.5)
    gallery.add(1, 0, 0.5 * people[0], 0.5)
    gallery.add(2, 0, people[0], 1.0)
    gallery.add(2, 0, people[1], 1.0)
    nobody, both = np.zeros(2, np.int64), np.arange(2)
    seen = gallery.likeness(people[:1], nobody[:1], (nobody, both), [1, 2])
    one, two = seen.coherence.tolist()
    assert seen.cosine.tolist() == pytest.approx((gallery.exemplars([1, 2])[0] @ people[0]).tolist(), abs=1e-6)
    assert one == pytest.approx(1.0, abs=1e-6)
    assert two == pytest.approx(np.linalg.norm(people.sum(axis=0)) / 2, abs=1e-6) and two < 0.9
    gallery.merge(1, 2)
    (mixed,) = gallery.likeness(people[:1], nobody[:1], (nobody[:1], nobody[:1]), [1]).coherence.tolist()
    assert mixed == pytest.approx(np.linalg.norm(2 * people[0] + people[1]) / 3, abs=1e-6)


def test_vectors_are_compared_with_all_exemplars_of_the_identities_they_are_paired_with() -> None:
    gallery, people = Gallery(16, num_exemplars=4), unit(np.random.default_rng(2), 6)
    for gid, camid in ((1, 0), (1, 3), (2, 1), (3, 5), (3, 6), (3, 7)):
        gallery.add(gid, camid, people[(gid + camid) % 6])
    vectors, owner = people[:4], np.array([0, 0, 2, 3])
    row, col = np.array([0, 0, 1, 2, 3]), np.array([0, 2, 1, 1, 3])
    seen = gallery.likeness(vectors, owner, (row, col), [1, 2, 3, 9])
    table, camid, of_identity = gallery.exemplars([1, 2, 3, 9])
    true = [
        (pair, one, int(camid[other]))
        for pair in range(len(row))
        for one in np.flatnonzero(owner == row[pair]).tolist()
        for other in np.flatnonzero(of_identity == col[pair]).tolist()
    ]
    assert list(zip(seen.pair.tolist(), seen.one.tolist(), seen.camid.tolist(), strict=True)) == true
    at = [np.flatnonzero((camid == c) & (of_identity == col[pair]))[0] for pair, _, c in true]
    assert np.abs(seen.cosine - (vectors[seen.one] * table[at]).sum(axis=1)).max() < 1e-6


def test_likeness_is_the_same_without_compiled_code() -> None:
    gallery, people = Gallery(16, num_exemplars=2), unit(np.random.default_rng(3), 5)
    for gid in (1, 2, 3):
        gallery.add(gid, gid, people[gid])
    asked = people[:2], np.array([0, 1]), (np.array([0, 1, 1]), np.array([2, 0, 1])), [1, 2, 3]
    compiled = gallery.likeness(*asked)
    gallery._index._search = None
    assert np.abs(gallery.likeness(*asked).cosine - compiled.cosine).max() < 1e-6
