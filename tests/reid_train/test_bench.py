"""`bench` on a small data set with a tiny network: the table, where weights come from, what is said without data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import reid_train.bench as benching
from reid_train.bench import Bench, bench_recipe, bench_table, find_weights, load_weights_of, run_bench
from reid_train.config import recipe_yaml
from reid_train.data.source import DataSetError
from reid_train.flops import clip_macs, num_parameters
from reid_train.models import MODELS, build_model
from reid_train.published import ADAPTED, OFFICIAL_FILES, PUBLISHED, Published, systems_on
from reid_train.speed import measure_speed, speed_table
from reid_train.state import Checkpoint, about_network, save_checkpoint
from tests.reid_train.reference import needs_reference, official_shapes
from tests.reid_train.tiny import Tiny, tiny_recipe, write_people

CONFIGS = Path(__file__).parents[2] / "configs" / "reid_train"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture
def recipes(tmp_path: Path, people: Path) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    recipe = tiny_recipe(people, test={"rerank": {"k1": 2, "k2": 1}, "ap": "trapezoidal"})
    (folder / "tiny.yaml").write_text(recipe_yaml(recipe))
    return folder


def kept_weights(path: Path, name: str = "tiny", num_pids: int = 3) -> None:
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, Checkpoint(build_model(name, num_pids).state_dict(), about_network(name, num_pids, {})))


def bench(people: Path, recipes: Path, output: Path, **options: object) -> Bench:
    return run_bench(
        "tracklet_folder", people, models=["tiny"], recipes=recipes, output=output, device="cpu", **options
    )  # type: ignore[arg-type]


# --- runs --------------------------------------------------------------------------------------------------------


def test_without_weights_the_system_is_trained_once_and_its_files_stay(
    people: Path, recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        PUBLISHED, ("tracklet_folder", "tiny"), Published(90.0, 80.0, "trapezoidal", "a test", (91.0, 88.0))
    )
    said: list[str] = []
    options = {"say": said.append, "settings": ["training.epochs=8", "data.options={num_folds: 2}"]}
    result = bench(people, recipes, tmp_path / "out", **options)
    (row,) = result.rows
    assert row.weights == "trained 8 epochs" and row.ap == "trapezoidal"
    assert row.rank1 > 60 and row.mAP == row.map_trapezoidal <= row.map_rectangular
    assert row.reranked is not None
    assert "tiny on" in said[0] and "re-ranked:" in said[0]
    text = result.text()
    assert f"{row.map_trapezoidal:.2f}*" in text and "90.0 / 80.0 [1], re-ranked 91.0 / 88.0" in text
    assert f"{row.rank1 - 90:+.1f} / {row.mAP - 80:+.1f}" in text and "[1] a test" in text
    place = tmp_path / "out" / "tracklet_folder" / "tiny"
    assert json.loads((place / "bench.json").read_text())["weights"] == "trained 8 epochs"
    assert "<figure>" in (place / "report.html").read_text()
    assert (tmp_path / "out" / "tracklet_folder.md").read_text().strip() == text.strip()
    log = (place / "log.csv").read_text()
    again = bench(people, recipes, tmp_path / "out", **options)
    assert again.rows == result.rows and (place / "log.csv").read_text() == log


def test_weights_of_a_folder_are_tested_without_training(people: Path, recipes: Path, tmp_path: Path) -> None:
    kept_weights(tmp_path / "weights" / "tiny.safetensors")
    result = bench(
        people, recipes, tmp_path / "out", checkpoints=tmp_path / "weights", settings=["data.options={num_folds: 2}"]
    )
    assert result.rows[0].weights == "tiny.safetensors"
    assert not (tmp_path / "out" / "tracklet_folder" / "tiny" / "log.csv").exists()


def test_a_data_set_of_several_splits_gives_their_mean(people: Path, recipes: Path, tmp_path: Path) -> None:
    split_of = tmp_path / "weights" / "tracklet_folder" / "tiny"
    for number in (0, 1):
        kept_weights(split_of / f"split{number}" / "best.safetensors")
    seen = []

    def fold(recipe: object, *arguments: object, **options: object) -> object:
        seen.append(options["split"])
        return tiny_recipe(people, data={"options": {"num_folds": 2, "fold": options["split"]}, "workers": 0})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benching, "bench_recipe", fold)
        said: list[str] = []
        result = bench(people, recipes, tmp_path / "out", checkpoints=tmp_path / "weights", splits=2, say=said.append)
    assert seen == [0, 1] and len(said) == 2
    documents = [
        json.loads((tmp_path / "out" / "tracklet_folder" / "tiny" / f"split{k}" / "bench.json").read_text())
        for k in (0, 1)
    ]
    mean = sum(100 * d["blocks"]["appearance"]["mAP"] for d in documents) / 2
    assert result.rows[0].map_rectangular == pytest.approx(mean)
    assert "Means over 2 splits." in result.text()


# --- without data, without weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("root", [None, Path("/nowhere/MARS")])
def test_without_data_it_says_what_to_fetch_and_where_to_put_it(root: Path | None, tmp_path: Path) -> None:
    with pytest.raises(DataSetError) as error:
        run_bench("mars", root, output=tmp_path)
    words = str(error.value)
    assert f"MARS belongs in {root or '/data/mars'}" in words
    assert "bbox_train/<person>" in words and "tracks_test_info.mat" in words
    assert "nvan: nvan/ (folder of a run) or nvan.safetensors, or the authors' file (NVAN.pth)" in words


def test_unknown_names_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="did you mean 'mars'"):
        run_bench("marss", None)
    with pytest.raises(ValueError, match=r"unknown system 'psat'; there are .*psta"):
        run_bench("mars", tmp_path, models=["psat"])
    with pytest.raises(ValueError, match="no figures are published for pku_reid; name systems"):
        run_bench("pku_reid", tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder of checkpoints"):
        benching._model("tiny", tiny_recipe(tmp_path), tmp_path / "none", tmp_path, "cpu", 0, lambda report: None)


# --- weights and recipes -----------------------------------------------------------------------------------------


def test_weights_are_found_by_their_place_and_their_authors_names(tmp_path: Path) -> None:
    assert find_weights(tmp_path, "nvan", "mars") is None
    for place in ("NVAN.pth", "nvan.safetensors", "mars-nvan.safetensors"):
        (tmp_path / place).touch()
        assert find_weights(tmp_path, "nvan", "mars") == tmp_path / place
    run = tmp_path / "nvan"
    run.mkdir()
    assert find_weights(tmp_path, "nvan", "mars") == tmp_path / "mars-nvan.safetensors"
    (run / "last.safetensors").touch()
    assert find_weights(tmp_path, "nvan", "mars") == run
    assert find_weights(tmp_path, "ste_nvan", "mars") is None


def test_weights_of_another_system_are_refused(tmp_path: Path) -> None:
    kept_weights(tmp_path / "psta.safetensors")
    with pytest.raises(ValueError, match=r"psta\.safetensors holds tiny, not psta"):
        load_weights_of("psta", tmp_path / "psta.safetensors", "cpu")


@needs_reference("ste_nvan")
def test_the_authors_files_are_read_as_they_are(tmp_path: Path) -> None:
    weights = {f"module.{key}": torch.zeros(shape) for key, shape in official_shapes("ste_nvan").items()}
    torch.save(weights, tmp_path / "STE_NVAN.pth")
    path = find_weights(tmp_path, "ste_nvan", "mars")
    assert path is not None
    model = load_weights_of("ste_nvan", path, "cpu")
    assert not model.training and model.name == "ste_nvan"
    with pytest.raises(ValueError, match="not the official weights of psta"):
        load_weights_of("psta", path, "cpu")


@pytest.mark.parametrize(("dataset", "system"), [*PUBLISHED])
def test_every_published_system_has_a_recipe_for_its_data_set(dataset: str, system: str) -> None:
    recipe = bench_recipe(system, dataset, Path("/data/x"), CONFIGS, ["training.epochs=3"])
    assert (recipe.data.name, recipe.data.root, recipe.training.epochs) == (dataset, "/data/x", 3)
    assert recipe.test.ap == PUBLISHED[dataset, system].ap
    assert set(OFFICIAL_FILES) <= set(MODELS) and {name for _, name in ADAPTED} <= set(MODELS)


def test_recipes_are_bent_to_other_data_sets() -> None:
    def bent(system: str, dataset: str, **options: int) -> object:
        return bench_recipe(system, dataset, Path("/d"), CONFIGS, **options)  # type: ignore[arg-type]

    assert bent("staformer", "duke_video").data.options == {"dense_step": 32}  # type: ignore[attr-defined]
    assert bent("psta", "duke_video").test.clips == "dense"  # type: ignore[attr-defined]
    assert bent("psta", "mars").test.clips == "begin_interval"  # type: ignore[attr-defined]
    assert bent("st_reid", "duke_reid").test.joint.num_bins == 3000  # type: ignore[attr-defined]
    assert bent("psta", "ilids_vid", split=7).data.options == {"split_id": 7}  # type: ignore[attr-defined]


def test_the_published_figures_are_those_of_the_issue() -> None:
    figures = {key: (p.rank1, p.mAP, p.reranked) for key, p in PUBLISHED.items()}
    assert figures["mars", "staformer"] == (91.5, 89.1, None) and figures["ls_vid", "staformer"] == (90.9, 85.6, None)
    assert figures["mars", "psta"] == (91.5, 85.8, None) and figures["duke_video", "psta"] == (98.3, 97.7, None)
    assert figures["market1501", "st_reid"] == (98.1, 87.6, (98.0, 95.5))
    assert figures["duke_reid", "st_reid"] == (94.4, 83.9, (94.5, 92.7))
    assert figures["occluded_duke", "sticc"] == (57.1, 56.6, None)
    assert systems_on("mars") == ("staformer", "psta", "nvan", "ste_nvan", "ste_nvan_baseline")


def test_a_system_without_a_published_map_has_no_difference_of_it() -> None:
    row = benching.BenchRow("psta", "w", "rectangular", 60.0, 70.0, 50.0, 50.0, 49.0, None, 1, Published(
        52.4, None, "rectangular", "there"
    ))  # fmt: skip
    text = bench_table("prai1581", [row])
    assert "| - | 52.4 / - [1] | +7.6 / - |" in text


# --- operations and speed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gmacs"),  # per clip of 8 frames at 256 x 128, as the specifications have them; st_reid sees two images
    [("staformer", 30.54), ("psta", 37.34), ("ste_nvan", 17.67), ("nvan", 63.56), ("ste_nvan_baseline", 32.43),
     ("sticc", 35.9), ("st_reid", 2 * 9.12)],
)  # fmt: skip
def test_operations_are_those_of_the_specifications(name: str, gmacs: float) -> None:
    with torch.device("meta"):
        model = build_model(name, 625)
    assert clip_macs(model) / 1e9 == pytest.approx(gmacs, rel=2e-3)


def test_speed_is_measured_forward_and_in_training() -> None:
    model = Tiny(4)
    before = [p.clone() for p in model.parameters()]
    speed = measure_speed(model, batch=4, seconds=0.01)
    assert speed.forward_clips_per_s > 0 and speed.train_clips_per_s is not None and speed.train_clips_per_s > 0
    assert (speed.batch, speed.num_frames, speed.parameters) == (4, 2, num_parameters(model))
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert speed.forward_share is None and speed.peak_mb > 10
    assert "| tiny | cpu | fp32 | 4 x 2 |" in speed_table([speed])
    forward_only = measure_speed(model, batch=2, train=False, seconds=0.01)
    assert forward_only.train_clips_per_s is None and "| - | - |" in speed_table([forward_only])
