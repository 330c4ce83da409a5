"""The files of a simulated run, read back by what reads such files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.detect.from_file import read_detections
from pipeline.evaluation.loaders import load_tracks
from pipeline.evaluation.scores import score
from pipeline.simulate.faults import ClockSkew
from pipeline.simulate.formats import write_site_run
from pipeline.simulate.graph import Site
from pipeline.simulate.noise import AppearanceNoise, Noise
from pipeline.simulate.ready_sites import square
from pipeline.simulate.run import SiteRun, simulate_site
from pipeline.truth import load_truth_and_prediction
from pipeline.yaml_file import YamlFile, validate

SITE = square(4).with_noise(appearance=AppearanceNoise(dim=16))


@pytest.fixture(scope="module")
def run() -> SiteRun:
    return simulate_site(SITE.model_copy(update={"faults": (ClockSkew(camera="c03", offset_s=2.0),)}), 90, seed=2)


@pytest.fixture(scope="module")
def folder(run: SiteRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    assert all(file.is_file() for file in write_site_run(run, path))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_run_gives_the_same_bytes_also_from_the_site_file_it_wrote(
    run: SiteRun, folder: Path, tmp_path: Path
) -> None:
    file = YamlFile(folder / "site.yaml")
    again = validate(Site, file.data, file)
    assert again == run.site
    write_site_run(simulate_site(again, 90, seed=2), tmp_path)
    assert contents(tmp_path) == contents(folder)
    assert len(contents(folder)) == 15


def test_truth_is_the_same_in_all_three_formats(run: SiteRun, folder: Path) -> None:
    table = load_tracks(folder / "ground_truth.csv", truth=True)
    assert len(table) == len(run.truth)
    for other in (load_truth_and_prediction(folder / "cams.yaml", folder / "ground_truth")[0],):
        scores = score(table, other, 0.9)
        assert scores.overall.identity.idf1 == pytest.approx(1.0)
    city = np.loadtxt(folder / "ground_truth_aicity.txt")
    assert city.shape == (len(run.truth), 9)
    order = np.lexsort((run.truth.pid, run.truth.frame_idx, run.truth.camid))
    np.testing.assert_array_equal(city[:, 0], run.truth.camid[order] + 1)
    np.testing.assert_array_equal(city[:, 1], run.truth.pid[order])
    np.testing.assert_array_equal(city[:, 2], run.truth.frame_idx[order])
    np.testing.assert_allclose(city[:, 3:5], run.truth.xyxy[order, :2], atol=0.51)
    np.testing.assert_allclose(city[:, 7:9], run.truth.ground_xy[order], atol=0.001)


def test_detections_are_read_by_the_detector_that_reads_files(run: SiteRun, folder: Path) -> None:
    total = 0
    for camid, name in enumerate(run.site.camera_names):
        table = read_detections(folder / "detections" / f"{name}.txt", name)
        assert table is not None
        mine = run.detections[run.detections.camid == camid]
        total += len(table.score)
        for frame in np.unique(mine.frame_idx)[:40].tolist():
            xyxy, scores = table.of_frame(frame)
            here = mine[mine.frame_idx == frame]
            order = np.argsort(-here.score, kind="stable")
            np.testing.assert_allclose(xyxy, here.xyxy[order], atol=0.011)
            np.testing.assert_allclose(scores, here.score[order], atol=1e-4)
    assert total == len(run.detections)


def test_tracks_people_and_vectors_belong_together(run: SiteRun, folder: Path) -> None:
    tracks = load_tracks(folder / "tracks.csv", truth=False)
    assert len(tracks) == len(run.boxes)
    lines = (folder / "tracklet_people.csv").read_text().splitlines()[1:]
    people = {(row[0], int(row[1])): int(row[2]) for row in (line.split(",") for line in lines)}
    names = run.site.camera_names
    assert people == {(names[c], t): max(pid, 0) for (c, t), pid in run.person_of().items()}
    with np.load(folder / "embeddings.npz") as arrays:
        assert {*arrays} == {"camera", "track_id", "frame", "time_s", "quality", "vector"}
        keys = set(zip(arrays["camera"].tolist(), arrays["track_id"].tolist(), strict=True))
        assert keys == set(people)
        assert arrays["vector"].shape == (len(arrays["frame"]), 16)
        rates = np.where(arrays["camera"] == "c03", 2.0, 0.0)
        np.testing.assert_allclose(arrays["time_s"], arrays["frame"] / 5.0 + rates)
    stamped = [line.split(",") for line in (folder / "tracks.csv").read_text().splitlines()[1:]]
    assert all(float(r[0]) == pytest.approx(int(r[2]) / 5 + (2.0 if r[1] == "c03" else 0.0)) for r in stamped)


def test_an_empty_site_is_written_too(tmp_path: Path) -> None:
    empty = SITE.model_copy(update={"arrivals": (), "noise": Noise.perfect(AppearanceNoise(dim=16))})
    write_site_run(simulate_site(empty, 5), tmp_path)
    assert len((tmp_path / "ground_truth.csv").read_text().splitlines()) == 1
    with np.load(tmp_path / "embeddings.npz") as arrays:
        assert arrays["vector"].shape == (0, 16)


def test_camera_names_that_no_file_may_have_are_written(tmp_path: Path) -> None:
    cameras = (SITE.cameras[2].model_copy(update={"id": 'a/b "c", d'}),)
    site = Site(cameras=cameras, arrivals=({"enter": 'a/b "c", d.left', "rate_per_s": 0.5},))  # type: ignore[arg-type]
    run = simulate_site(site, 30)
    write_site_run(run, tmp_path)
    table = load_tracks(tmp_path / "ground_truth.csv", truth=True)
    assert table.cameras == ('a/b "c", d',) and len(table) == len(run.truth) > 0


def test_the_command_writes_a_site_and_tells_what_it_holds(tmp_path: Path) -> None:
    runner = CliRunner()
    command = ["simulate", "site", "corridor:2", "--seconds", "30", "--seed", "1", "--output"]
    first = runner.invoke(app, [*command, str(tmp_path / "a")])
    assert first.exit_code == 0, first.output
    assert "2 cameras, 30 s:" in first.output and "person-seconds in view" in first.output
    runner.invoke(app, [*command, str(tmp_path / "b")])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    more = ["--perfect", "--factor", "0", "--seconds", "30", "--output", str(tmp_path / "c")]
    assert runner.invoke(app, ["simulate", "site", str(tmp_path / "a" / "site.yaml"), *more]).exit_code == 0
    assert "factor: 0.0" in (tmp_path / "c" / "site.yaml").read_text()


def test_the_command_names_the_line_of_a_fault(tmp_path: Path) -> None:
    runner = CliRunner()
    (tmp_path / "site.yaml").write_text("cameras:\n  - {id: a, fpss: 5}\n")
    wrong = runner.invoke(app, ["simulate", "site", str(tmp_path / "site.yaml"), "--output", str(tmp_path / "o")])
    assert wrong.exit_code == 2
    assert "site.yaml:2" in wrong.output and "did you mean fps?" in wrong.output
    unknown = runner.invoke(app, ["simulate", "site", "tunnel:3", "--output", str(tmp_path / "o")])
    assert unknown.exit_code == 2 and "no such ready site" in unknown.output


def test_the_description_in_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    example = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    site = Site.model_validate(example)
    assert simulate_site(site, 120).num_people > 0
