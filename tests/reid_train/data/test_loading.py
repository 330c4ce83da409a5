"""Images, clips and batches: what is read, that it repeats whatever the workers, and what is said of damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid_train.data.config import ErasingConfig, SamplerConfig, TransformConfig
from reid_train.data.images import ImageError, ImageReader, read_image
from reid_train.data.loading import (
    ClipDataset,
    PathTable,
    ScoringClips,
    collate_padded,
    scoring_loader,
    train_loader,
)
from reid_train.data.samplers import ClipBatches, ClipKey
from reid_train.data.tracklet import LabelledTracklet
from tests.shared import SHARED, needs_shared

TRANSFORM = TransformConfig(input_hw=(16, 8), pad_px=2, erasing=ErasingConfig())


@pytest.fixture(scope="module")
def tracklets(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledTracklet]:
    """Four people, two cameras, of 3 to 12 frames of noise."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    found = []
    for row in range(8):
        paths = []
        for frame in range(3 + row):
            path = root / f"{row}ü_{frame}.png"
            Image.fromarray(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)).save(path)
            paths.append(str(path))
        found.append(LabelledTracklet(tuple(paths), row // 2, row % 2))
    return found


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_images_are_resized_exactly_as_pillow_does(tmp_path: Path, interpolation: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (48, 20, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, quality=90)
    with Image.open(path) as image:
        wanted = image.resize((128, 256), Image.Resampling[interpolation.upper()])
    found = read_image(str(path), (256, 128), interpolation)  # type: ignore[arg-type]
    assert np.array_equal(found, np.asarray(wanted))
    assert read_image(str(path)).shape == (48, 20, 3)


def test_grey_and_palette_images_become_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(np.arange(32, dtype=np.uint8).reshape(8, 4))
    grey.save(tmp_path / "grey.png")
    grey.convert("P").save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        assert np.array_equal(read_image(str(tmp_path / name)), np.repeat(np.asarray(grey)[..., None], 3, axis=2))


def test_a_fragment_reads_that_part_of_the_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    part = read_image(f"{tmp_path / 'frame.png'}#xywh=4,5,6,7")
    assert np.array_equal(part, pixels[5:12, 4:10])


def test_missing_damaged_and_foreign_files_are_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg is missing; copy or unpack"):
        read_image(str(tmp_path / "gone.jpg"))
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(ImageError, match=r"text\.jpg is not an image.*copy it again"):
        read_image(str(tmp_path / "text.jpg"))
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("jpg", "png"):
        Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes((tmp_path / f"whole.{suffix}").read_bytes()[:1500])
        with pytest.raises(ImageError, match=rf"cut\.{suffix}.*(damaged|not an image)"):
            read_image(str(cut))
    with pytest.raises(ImageError, match=r"whole\.png"):
        read_image(f"{tmp_path / 'whole.png'}#xywh=1,2,3")


def test_the_cache_keeps_what_was_used_last_and_stays_in_its_bounds(tracklets: list[LabelledTracklet]) -> None:
    reader = ImageReader((16, 8), cache_bytes=3 * 16 * 8 * 3)
    a, b, c, d = tracklets[2].paths[:4]
    first = reader.read(a)
    for path in (b, c, a, d):  # d pushes b out, a was just used
        reader.read(path)
    assert reader.held_bytes == 3 * 16 * 8 * 3
    assert reader.read(a) is first
    assert ImageReader((16, 8)).read(a) is not first
    assert np.array_equal(reader.clip([a, b, a]), np.stack([read_image(p, (16, 8)) for p in (a, b, a)]))
    with pytest.raises(ValueError, match="cache_bytes"):
        ImageReader((16, 8), cache_bytes=-1)


def test_the_path_table_gives_back_every_path(tracklets: list[LabelledTracklet]) -> None:
    table = PathTable(tracklets)
    assert len(table) == len(tracklets)
    for row, tracklet in enumerate(tracklets):
        assert table.length(row) == len(tracklet)
        assert tuple(table.paths(row, np.arange(len(tracklet)))) == tracklet.paths
    with pytest.raises(IndexError):
        table.paths(len(tracklets), np.zeros(1, np.int64))


def test_an_item_is_a_clip_with_its_person_and_camera(tracklets: list[LabelledTracklet]) -> None:
    dataset = ClipDataset(tracklets, TRANSFORM, 4, rule="rrs_floor", seed=3)
    clip, pid, camid = dataset[5]
    assert len(dataset) == 8
    assert clip.shape == (4, 3, 16, 8) and clip.dtype == torch.float32
    assert (pid, camid) == (2, 1)


def test_an_item_depends_on_its_key_and_not_on_the_cache(tracklets: list[LabelledTracklet]) -> None:
    plain = ClipDataset(tracklets, TRANSFORM, 4, seed=3)
    cached = ClipDataset(tracklets, TRANSFORM, 4, seed=3, cache_bytes=1 << 20)
    key = ClipKey(7, 2, 11)
    assert torch.equal(plain[key][0], cached[key][0]) and torch.equal(cached[key][0], cached[key][0])
    others = [plain[ClipKey(7, 3, 11)], plain[ClipKey(7, 2, 12)], ClipDataset(tracklets, TRANSFORM, 4, seed=4)[key]]
    assert not any(torch.equal(plain[key][0], other[0]) for other in others)


def epoch_of(tracklets: list[LabelledTracklet], workers: int, epoch: int, first: int = 0) -> list[torch.Tensor]:
    dataset = ClipDataset(tracklets, TRANSFORM, 4, rule="psta_interval", seed=3)
    batches = ClipBatches([t.pid for t in tracklets], SamplerConfig(name="chunk", num_ids=1, per_id=2), seed=3)
    batches.set_epoch(epoch, first)
    return [
        torch.cat([c.flatten(), p.float(), k.float()]) for c, p, k in train_loader(dataset, batches, workers=workers)
    ]


def test_an_epoch_is_the_same_to_the_last_bit_with_any_number_of_workers_and_after_a_resume(
    tracklets: list[LabelledTracklet],
) -> None:
    alone = epoch_of(tracklets, 0, 5)
    assert len(alone) == 4
    for other in (epoch_of(tracklets, 2, 5), [*epoch_of(tracklets, 0, 5)[:2], *epoch_of(tracklets, 1, 5, first=2)]):
        assert all(torch.equal(a, b) for a, b in zip(alone, other, strict=True))
    assert not torch.equal(alone[0], epoch_of(tracklets, 0, 6)[0])


def test_loading_draws_nothing_from_the_global_generators(tracklets: list[LabelledTracklet]) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]  # noqa: NPY002
    epoch_of(tracklets, 0, 0)
    list(scoring_loader(ScoringClips(tracklets, TRANSFORM, 4)))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]  # noqa: NPY002


def test_a_damaged_image_is_named_through_a_worker(tracklets: list[LabelledTracklet], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    broken = [*tracklets[:7], LabelledTracklet((str(bad),), 3, 1)]
    with pytest.raises(ImageError, match=r"bad\.png"):
        epoch_of(broken, 1, 0)


def test_scoring_clips_say_which_tracklet_they_belong_to(tracklets: list[LabelledTracklet]) -> None:
    clips = ScoringClips(tracklets, TRANSFORM, 4, rule="all_frames")
    assert clips.rows.tolist() == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7]
    batches = list(scoring_loader(clips, batch_clips=5))
    assert torch.cat([rows for _, _, rows in batches]).tolist() == clips.rows.tolist()
    assert all(bool(mask.all()) for _, mask, _ in batches)
    assert [len(c) for c, _, _ in batches] == [5, 5, 5, 1]
    reread = ScoringClips(tracklets, TRANSFORM, 4, rule="all_frames", cache_bytes=1 << 20)
    assert torch.equal(clips[3][0], reread[3][0])


def test_scoring_clips_are_not_augmented(tracklets: list[LabelledTracklet]) -> None:
    clip, row = ScoringClips(tracklets, TRANSFORM, 3, rule="whole")[0]
    images = np.stack([read_image(p) for p in tracklets[0].paths]).astype(np.float32)
    wanted = (images / 255 - np.array(TRANSFORM.mean)) / np.array(TRANSFORM.std)
    assert row == 0
    np.testing.assert_allclose(clip.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-5)


def test_clips_of_different_lengths_are_padded_with_zeros_and_masked(tracklets: list[LabelledTracklet]) -> None:
    clips = ScoringClips(tracklets, TRANSFORM, 8, rule="whole")
    padded, mask, rows = collate_padded([clips[0], clips[2]])
    assert padded.shape == (2, 5, 3, 16, 8)
    assert mask.tolist() == [[True, True, True, False, False], [True] * 5]
    assert rows.tolist() == [0, 2]
    assert torch.equal(padded[0, :3], clips[0][0]) and not bool(padded[0, 3:].any())


def test_no_tracklets_make_no_clips() -> None:
    assert len(ScoringClips([], TRANSFORM, 8)) == 0
    assert list(scoring_loader(ScoringClips([], TRANSFORM, 8))) == []
    with pytest.raises(IndexError):
        ScoringClips([], TRANSFORM, 8)[0]


def test_unknown_rules_are_refused_with_a_list() -> None:
    with pytest.raises(ValueError, match="all_frames"):
        ScoringClips([], TRANSFORM, 8, rule="every")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rrs_floor"):
        ClipDataset([], TRANSFORM, 8, rule="every")  # type: ignore[arg-type]


@needs_shared("data/pku_reid/001/c1_1.png")
def test_real_crops_become_clips() -> None:
    paths = tuple(str(SHARED / f"data/pku_reid/001/c1_{k}.png") for k in range(1, 9))
    transform = TransformConfig(erasing=ErasingConfig())
    clip, pid, _ = ClipDataset([LabelledTracklet(paths, 4, 0)], transform, 8, rule="rrs_ceil")[0]
    assert clip.shape == (8, 3, 256, 128) and pid == 4
    assert -2.2 < float(clip.min()) < float(clip.max()) < 2.7
    assert float(clip.std()) > 0.2
