from __future__ import annotations

from pipeline.evaluation.scores import association_ceiling, score, without_association
from pipeline.evaluation.tracklets import no_association, true_association
from tests.evaluation.scenes import standing, table

# One person, five frames in each of two cameras; the tracker of camera b loses them once, and the association is wrong.
TRUTH = table(standing(0, "a", [4] * 5) + standing(0, "b", [4] * 5))
PRED = table(
    standing(0, "a", [10] * 5) + standing(0, "b", [20, 20, 30, 30, 30]) + standing(9, "b", [10]),
    track_id=[1] * 5 + [1, 1, 2, 2, 2] + [3],
)


def test_without_association_each_tracklet_is_an_identity_of_its_own() -> None:
    assert no_association(PRED).identity.tolist() == [1] * 5 + [2, 2, 3, 3, 3] + [4]
    overall = without_association(TRUTH, PRED).overall
    assert overall.identity.num_right == 5
    assert overall.num_pred_ids == 4


def test_the_ceiling_gives_each_tracklet_the_person_it_matches_and_leaves_the_rest_alone() -> None:
    identity = true_association(TRUTH, PRED).identity.tolist()
    assert identity[:10] == [4] * 10
    assert identity[10] not in identity[:10]
    overall = association_ceiling(TRUTH, PRED).overall
    assert (overall.identity.num_right, overall.identity.num_missed, overall.identity.num_false) == (10, 0, 1)
    assert score(TRUTH, PRED).overall.identity.num_right < 10


def test_a_mixed_tracklet_gets_the_person_it_matches_in_most_frames_ties_to_the_lower() -> None:
    truth = table(standing(0, "a", [7] * 5) + standing(1, "a", [3] * 5))
    mixed = [*standing(0, "a", [1, 1, 1]), *standing(1, "a", [None, None, None, 1, 1])]
    assert set(true_association(truth, table(mixed)).identity.tolist()) == {7}
    even = [*standing(0, "a", [1, 1]), *standing(1, "a", [None, None, 1, 1])]
    assert set(true_association(truth, table(even)).identity.tolist()) == {3}


def test_the_same_track_number_in_two_cameras_is_two_tracklets() -> None:
    pred = table(standing(0, "a", [1]) + standing(0, "b", [1]))
    assert no_association(pred).identity.tolist() == [1, 2]


def test_nothing_tracked_has_a_ceiling_of_nothing() -> None:
    assert association_ceiling(TRUTH, table([], cameras=["a", "b"])).overall.identity.idf1 == 0.0
    assert len(true_association(TRUTH, table([]))) == 0
    assert true_association(table([], cameras=["a"]), PRED).identity.tolist() == no_association(PRED).identity.tolist()
