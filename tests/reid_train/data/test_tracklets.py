"""The values themselves, cutting them up, and data sets by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_train.data.build import DATASETS, SOURCES, explain, load_split
from reid_train.data.config import TransformConfig
from reid_train.data.loading import ScoringClips
from reid_train.data.source import DataSetError, natural_key
from reid_train.data.tracklet import (
    LabelledImage,
    LabelledTracklet,
    ReidSplit,
    dense_chunks,
    grouped_images,
    relabelled,
)
from tests.reid_train.data import trees


def tracklet(pid: int = 0, camid: int = 0, num: int = 3, start: int = 0) -> LabelledTracklet:
    frames = tuple(range(start, start + num))
    return LabelledTracklet(tuple(f"{pid}_{camid}_{f}.jpg" for f in frames), pid, camid, frames)


def test_a_tracklet_has_images_a_camera_and_a_frame_for_each_image() -> None:
    with pytest.raises(ValueError, match="no images"):
        LabelledTracklet((), 1, 0)
    with pytest.raises(ValueError, match=r"a\.jpg: camid -1"):
        LabelledTracklet(("a.jpg",), 1, -1)
    with pytest.raises(ValueError, match="2 frame numbers for 1 images"):
        LabelledTracklet(("a.jpg",), 1, 0, (1, 2))
    assert len(tracklet(num=4)) == 4


def test_a_split_is_checked_when_it_is_made() -> None:
    one = (tracklet(0), tracklet(1))
    ReidSplit("x", one, one[:1], one, 2, 1, True, (0,))
    with pytest.raises(ValueError, match=r"numbered 0\.\.2"):
        ReidSplit("x", one, (), (), 3, 1)
    with pytest.raises(ValueError, match="gallery_holds_query is False"):
        ReidSplit("x", one, one[:1], one, 2, 1, False, (0,))
    with pytest.raises(ValueError, match="2 query rows for 1 queries"):
        ReidSplit("x", one, one[:1], one, 2, 1, True, (0, 1))
    with pytest.raises(ValueError, match="gallery row 1 is not the query"):
        ReidSplit("x", one, one[:1], one, 2, 1, True, (1,))
    with pytest.raises(ValueError, match="camid 0 in a data set of 0 cameras"):
        ReidSplit("x", one, (), (), 2, 0)


def test_people_are_renumbered_in_ascending_order() -> None:
    found, num = relabelled([tracklet(40), tracklet(7), tracklet(40, 1), tracklet(1499)])
    assert [t.pid for t in found] == [1, 0, 1, 2] and num == 3
    assert relabelled([]) == ((), 0)


@pytest.mark.parametrize(
    ("num", "step", "lengths"),
    [(31, 32, [31]), (32, 32, [32]), (63, 32, [63]), (64, 32, [32, 32]), (100, 48, [48, 52]), (5, 0, [5])],
)
def test_the_last_chunk_keeps_the_remainder(num: int, step: int, lengths: list[int]) -> None:
    assert [len(t) for t in dense_chunks([tracklet(num=num)], step)] == lengths


@given(st.lists(st.integers(1, 200), max_size=5), st.integers(0, 60))
def test_chunks_are_the_whole_tracklets_again(lengths: list[int], step: int) -> None:
    whole = [tracklet(pid, num=num) for pid, num in enumerate(lengths)]
    chunks = dense_chunks(whole, step)
    assert [p for t in chunks for p in t.paths] == [p for t in whole for p in t.paths]
    assert [f for t in chunks for f in t.frames] == [f for t in whole for f in t.frames]
    assert all(len(t) >= min(step, len(whole[t.pid])) for t in chunks)


def test_a_negative_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="dense_step"):
        dense_chunks([], -1)


def test_images_of_a_person_in_a_camera_are_grouped_in_the_order_of_frames() -> None:
    frames = [(3, 0, 900), (3, 0, 100), (3, 1, 5), (2, 0, 1), (3, 0, 220), (-1, 0, 1), (-1, 0, 2)]
    images = [LabelledImage(p, c, f, f"{p}_{c}_{f}") for p, c, f in frames]
    whole = grouped_images(images)
    assert [(t.pid, t.camid, t.frames) for t in whole] == [
        (-1, 0, (1,)), (-1, 0, (2,)), (2, 0, (1,)), (3, 0, (100, 220, 900)), (3, 1, (5,))]  # fmt: skip
    cut = grouped_images(images, max_gap=600)
    assert [t.frames for t in cut if (t.pid, t.camid) == (3, 0)] == [(100, 220), (900,)]
    assert [t.frames for t in grouped_images(images, max_gap=680) if t.pid == 3] == [(100, 220, 900), (5,)]
    assert grouped_images(reversed(images)) == whole


def test_natural_order_knows_numbers() -> None:
    names = ["f10.jpg", "f2.jpg", "f2_b.jpg", "10", "9", "a"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "f2.jpg", "f2_b.jpg", "f10.jpg"]


def test_every_data_set_says_what_to_fetch_and_where_to_put_it(tmp_path: Path) -> None:
    assert list(SOURCES) == list(DATASETS)
    for name in DATASETS:
        text = explain(name, tmp_path / "here")
        assert f"belongs in {tmp_path / 'here'}" in text and len(text.splitlines()) >= 3
        with pytest.raises(DataSetError, match=r"is missing(.*\n)+"):
            load_split(name, tmp_path / "here")


def test_unknown_names_and_options_are_refused_with_the_near_miss(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"no data set 'marz', did you mean 'mars'\?; there are mars, ilids_vid"):
        load_split("marz", tmp_path)
    with pytest.raises(DataSetError, match=r"mars: no option 'keep_jnk', did you mean 'keep_junk'\?; it has info"):
        load_split("mars", tmp_path, keep_jnk=True)


class _Listing:
    """A directory's entries in a given order, as `os.scandir` gives them."""

    def __init__(self, entries: list[os.DirEntry[str]]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> _Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


TREES: dict[str, tuple[Callable[[Path], object], dict[str, Any]]] = {
    "mars": (lambda root: trees.write_mars(root, lists=False), {}),
    "ilids_vid": (trees.write_ilids, {}),
    "prid2011": (trees.write_prid, {"random_split": 3}),
    "duke_video": (trees.write_duke_video, {}),
    "ls_vid": (trees.write_ls_vid, {}),
    "market1501": (lambda root: trees.write_flat(root, trees.MARKET), {"protocol": "tracklet"}),
    "duke_reid": (lambda root: trees.write_flat(root, trees.DUKE), {}),
    "occluded_duke": (lambda root: trees.write_flat(root, trees.DUKE), {"protocol": "tracklet"}),
    "prai1581": (trees.write_prai, {}),
    "pku_reid": (
        lambda root: trees.write_images(root, [f"{p}/c{c}_{f}.png" for p in "123456" for c in "12" for f in "135"]),
        {},
    ),
}


@pytest.mark.parametrize("name", sorted(TREES))
def test_no_loader_depends_on_the_order_of_directories(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, options = TREES[name]
    write(tmp_path)
    scandir = os.scandir
    splits = []
    for reverse in (False, True):

        def in_order(path: str, reverse: bool = reverse) -> _Listing:
            with scandir(path) as entries:
                return _Listing(sorted(entries, key=lambda e: e.name, reverse=reverse))

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", in_order)
            splits.append(load_split(name, tmp_path, check_counts=False, **options))
    assert splits[0] == splits[1]
    assert splits[0].train and splits[0].query and splits[0].gallery


@pytest.mark.parametrize("name", sorted(TREES))
def test_every_loader_gives_images_that_can_be_read(name: str, tmp_path: Path) -> None:
    write, options = TREES[name]
    write(tmp_path)
    split = load_split(name, tmp_path, check_counts=False, **options)
    for part in (split.train, split.query, split.gallery):
        clip, _ = ScoringClips(part, TransformConfig(input_hw=(16, 8)), 2)[0]
        assert clip.shape == (2, 3, 16, 8)
