"""`test`: score weights on a data set as a recipe says, and leave a report to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.yaml_file import ConfigError, validate
from reid_train.checkpoints import convert_official, count_pids, read_official
from reid_train.config import Recipe, load_recipe, parse_setting
from reid_train.data.build import load_split
from reid_train.embedding import Show
from reid_train.evaluate import SplitScores, embed_split, score_split
from reid_train.models import build_model
from reid_train.report import NUM_QUERIES, chosen_queries, save_pictures, top_rankings, write_report
from reid_train.score_text import scores_dict
from reid_train.state import find_checkpoint, load_model


def run_test(
    weights: Path,
    *,
    recipe: Path | None = None,
    root: Path | None = None,
    settings: Sequence[str] = (),
    output: Path | None = None,
    device: str | None = None,
    precision: str = "fp32",
    num_queries: int = NUM_QUERIES,
    pictures: bool = False,
    show: Show = lambda done, total: None,
) -> SplitScores:
    """Score a checkpoint, a run's folder (its best, else its last) or an authors' file.

    `recipe` None: the one by which the weights were trained; an authors' file needs one, which also says whose it is.
    `root` and `settings` overrule it. With `output` the folder gets scores.json and report.html, which shows the
    rankings of `num_queries` queries, and with `pictures` these as images too. Raises ConfigError, DataSetError,
    CheckpointError, ImageError and ValueError.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    chosen = [*([f"data.root={json.dumps(str(root))}"] if root else []), *settings]
    if weights.is_dir() or weights.suffix == ".safetensors":
        source = find_checkpoint(weights)
        model, about = load_model(source, where)
        used = load_recipe(recipe, chosen) if recipe else _trained_by(about, source, chosen)
        if about["network"]["name"] != used.model.name:
            raise ConfigError(f"{source} holds {about['network']['name']}, the recipe is for {used.model.name}")
    else:
        source = weights
        if recipe is None:
            raise ConfigError(f"{weights}: name the recipe too, for example configs/reid_train/psta.yaml")
        used = load_recipe(recipe, chosen)
        model = official_model(used.model.name, weights, used.model.options).to(where)
    if used.data.root is None:
        raise ConfigError(f"data.root: is missing; say where {used.data.name} lies with --root FOLDER")
    split = load_split(used.data.name, Path(used.data.root), **used.data.options)
    embedded = embed_split(model, split, used, precision=precision, show=show)
    scores = replace(score_split(embedded, split, used.test, model=used.model.name), clips=used.test.clips)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        document = scores_dict(scores) | {"weights": source.name}
        (output / "scores.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        write_report(
            output / "report.html",
            scores,
            split,
            embedded,
            used.test,
            num_queries=num_queries,
            notes=[f"Weights: {source.name}."],
        )
        if pictures:
            block = scores.blocks[0]
            rows = [row for part in chosen_queries(block, num_queries) for row in part]
            save_pictures(output / "pictures", split, top_rankings(embedded, split, used.test, rows, block))
    return scores


def official_model(name: str, path: Path, options: dict[str, Any] | None = None) -> nn.Module:
    """The network of an authors' file, in eval mode on the CPU. Raises ValueError where it is another's."""
    state = convert_official(name, read_official(path))
    model = build_model(name, count_pids(name, state), **(options or {}))
    model.load_state_dict(state)
    return model.eval()


def _trained_by(about: dict[str, Any], source: Path, settings: Sequence[str]) -> Recipe:
    """The recipe inside a checkpoint, with settings on top."""
    if "recipe" not in about:
        raise ConfigError(f"{source}: holds no recipe; name one, for example configs/reid_train/psta.yaml")
    data: dict[str, Any] = json.loads(json.dumps(about["recipe"]))
    overrides = {}
    for setting in settings:
        key, value = parse_setting(setting)
        place = data
        for part in key[:-1]:
            below = place.get(str(part))
            place[str(part)] = below if isinstance(below, dict) else {}
            place = place[str(part)]
        place[str(key[-1])] = value
        overrides[key] = f"--set {setting}"
    return validate(Recipe, data, None, overrides)
