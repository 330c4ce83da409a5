"""`test`: a trained network on a data set under its recipe's protocol, with a report in pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from pipeline.yaml_file import ConfigError
from reid_train.config import Recipe, load_recipe, recipe_from
from reid_train.data.build import load_split
from reid_train.embedding import Show
from reid_train.evaluate import embed_split, score_split
from reid_train.report import write_report
from reid_train.scores import SplitScores, scores_dict
from reid_train.state import load_model

RECIPES = Path(__file__).resolve().parents[1] / "configs" / "reid_train"


def run_test(
    weights: Path,
    *,
    recipe: Path | None = None,
    root: Path | None = None,
    settings: Sequence[str] = (),
    output: Path | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    show: Show = lambda done, total: None,
) -> SplitScores:
    """Score a checkpoint or a run's folder (its best, else its last); `settings` such as test.clips=dense on top.

    The protocol is that of `recipe`, else of the recipe in the checkpoint, else (official weights) of the published
    recipe of the network's name. With `output` the scores are written there as test.json, with report.html beside it.
    Raises CheckpointError, ConfigError, DataSetError.
    """
    model, about = load_model(weights, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    chosen = [*settings, *([f"data.root={json.dumps(str(root))}"] if root else [])]
    used = _recipe(recipe, about, chosen)
    if used.data.root is None:
        raise ConfigError(f"data.root: is missing; say where {used.data.name} lies with --root FOLDER")
    split = load_split(used.data.name, Path(used.data.root), **used.data.options)
    embedded = embed_split(model, split, used, precision=precision, show=show)
    scores = replace(score_split(embedded, split, used.test, model=about["network"]["name"]), clips=used.test.clips)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        document = scores_dict(scores) | {"weights": str(weights)}
        (output / "test.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        write_report(output / "report.html", scores, split, embedded, used.test, notes=[f"Weights: {weights}."])
    return scores


def _recipe(path: Path | None, about: dict[str, Any], settings: Sequence[str]) -> Recipe:
    if path is not None:
        return load_recipe(path, settings)
    if "recipe" in about:
        return recipe_from(about["recipe"], settings)
    published = RECIPES / f"{about['network']['name']}.yaml"
    if published.is_file():
        return load_recipe(published, settings)
    raise ConfigError(
        "the checkpoint holds no recipe; name one with --recipe, for example configs/reid_train/psta.yaml"
    )
