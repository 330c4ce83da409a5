"""Ground truth beside a result: what `evaluate` compares."""

from __future__ import annotations

from pathlib import Path

from pipeline.cameras import load_cameras
from pipeline.evaluation.loaders import GroundTruthEntry, load_ground_truth, load_predictions, load_tracks
from pipeline.evaluation.tables import TrackTable
from pipeline.yaml_file import ConfigError


def load_truth_and_prediction(truth: Path, prediction: Path) -> tuple[TrackTable, TrackTable]:
    """The two tables. `truth` may be a cams.yaml whose cameras name `ground_truth`; crops are applied then.

    Raises ConfigError or TableError, which name the file, the line and the remedy.
    """
    if truth.suffix.lower() not in (".yaml", ".yml"):
        return load_tracks(truth, truth=True), load_predictions(prediction)
    cameras, _ = load_cameras(truth)
    entries = [
        GroundTruthEntry(camera.name, camera.ground_truth, camera.crop) for camera in cameras if camera.ground_truth
    ]
    if not entries:
        raise ConfigError(f"{truth}: no camera names its ground_truth; add `ground_truth: FILE` to those that have one")
    return load_ground_truth(entries), load_predictions(prediction)
