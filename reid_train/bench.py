"""`bench`: every system on a data set under its own protocol, beside what its authors published.

A system's weights come from a folder of checkpoints (of this package or the authors' own files), else the system is
trained as its recipe says; a run that was cut short goes on where it stopped. The scores go to `output`, one JSON file
and one HTML report per system.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.evaluation.retrieval import AveragePrecision
from reid_train.checkpoints import convert_official, count_pids, read_official
from reid_train.config import Recipe, load_recipe
from reid_train.data.build import explain, load_split
from reid_train.data.source import DataSetError
from reid_train.data.tracklet import ReidSplit
from reid_train.embedding import Show
from reid_train.evaluate import embed_split, score_split
from reid_train.models import MODELS, build_model
from reid_train.progress import StepReport
from reid_train.published import ADAPTED, NUM_SPLITS, OFFICIAL_FILES, PUBLISHED, Published, systems_on
from reid_train.report import write_report
from reid_train.scores import RERANKED, SplitScores, scores_dict, scores_text
from reid_train.speed import Speed, measure_speed, speed_table
from reid_train.state import find_checkpoint, load_model
from reid_train.train import train

log = logging.getLogger(__name__)

RECIPES = Path(__file__).resolve().parents[1] / "configs" / "reid_train"


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One system's line, in percent; a mean where the data set has several splits."""

    system: str
    weights: str  # where they came from
    ap: AveragePrecision
    rank1: float
    rank5: float
    mAP: float  # noqa: N815 - by the system's own definition
    map_rectangular: float
    map_trapezoidal: float
    reranked: tuple[float, float] | None  # Rank-1, mAP
    num_splits: int
    published: Published | None


@dataclass(frozen=True, slots=True)
class Bench:
    """The table of a data set, and of speed where it was measured."""

    dataset: str
    rows: tuple[BenchRow, ...]
    speeds: tuple[Speed, ...] = ()

    def text(self) -> str:
        """Markdown, with the sources of the published figures."""
        parts = [bench_table(self.dataset, self.rows)] if self.rows else []
        if self.speeds:
            parts.append("Speed\n\n" + speed_table(list(self.speeds)))
        return "\n\n".join(parts)


def run_bench(
    dataset: str,
    root: Path | None,
    *,
    models: Sequence[str] | None = None,
    checkpoints: Path | None = None,
    output: Path = Path("out/bench"),
    recipes: Path = RECIPES,
    settings: Sequence[str] = (),
    splits: int | None = None,
    device: str | None = None,
    speed: bool = False,
    say: Callable[[str], None] = lambda text: None,
    show: Show = lambda done, total: None,
    show_training: Callable[[StepReport], None] = lambda report: None,
) -> Bench:
    """Test `models` (None: those with published figures) on `dataset` under `root`, and say each one's scores.

    `settings` overrule every recipe, for example training.epochs=2; `splits` is the number of halvings of iLIDS-VID and
    PRID2011 (None: the customary 10). Raises DataSetError, which says what to fetch and where to put it, where the
    data are not at hand, and ValueError for unknown names.
    """
    names = _systems(dataset, models)
    if root is None or not Path(root).is_dir():
        place = root or Path("/data") / dataset
        then = f"Then: python -m reid_train bench {dataset} --root {place} --checkpoints FOLDER"
        raise DataSetError(f"{explain(dataset, place)}\n{weights_hint(names)}\n{then}")
    rows = []
    for name in names:
        count = splits or NUM_SPLITS.get(dataset, 1)
        all_scores, sources = [], []
        for number in range(count):
            recipe = bench_recipe(name, dataset, root, recipes, settings, split=number if count > 1 else None)
            split = load_split(dataset, Path(root), **recipe.data.options)
            place = output / dataset / name / (f"split{number}" if count > 1 else ".")
            model, source = _model(name, recipe, checkpoints, place, device, number, show_training)
            embedded = embed_split(model, split, recipe, show=show)
            scores = score_split(embedded, split, recipe.test, model=name)
            all_scores.append(scores)
            sources.append(source)
            say(scores_text(scores))
            _keep(place, scores, split, recipe, embedded, source)
        rows.append(_row(name, dataset, all_scores, sources[0]))
    result = Bench(dataset, tuple(rows), speeds_of(names, device=device) if speed else ())
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{dataset}.md").write_text(result.text() + "\n", encoding="utf-8")
    return result


def speeds_of(
    names: Sequence[str], *, device: str | None = None, batch: int | None = None, train: bool = True
) -> tuple[Speed, ...]:
    """Speed of the networks as their authors size them, fp32, on the accelerator if there is one."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    size = batch or (16 if where.type == "cuda" else 2)
    speeds = []
    for name in names:
        model = build_model(name, 625, **({"pretrained": False} if name == "light" else {})).to(where)
        speeds.append(measure_speed(model, batch=size, train=train))
        del model
    return tuple(speeds)


def bench_recipe(
    name: str, dataset: str, root: Path, recipes: Path, settings: Sequence[str] = (), *, split: int | None = None
) -> Recipe:
    """A system's recipe bent to a data set. Raises ConfigError."""
    path = recipes / f"{name}.yaml"
    own = load_recipe(path)
    bent = [f"data.root={json.dumps(str(root))}", f"data.name={dataset}"]
    if own.data.name != dataset:
        bent.append("data.options={}")
    bent += ADAPTED.get((dataset, name), ())
    if split is not None:
        bent.append(f"data.options.split_id={split}")
    return load_recipe(path, [*bent, *settings])


def find_weights(folder: Path, name: str, dataset: str, split: int = 0) -> Path | None:
    """The weights of a system in a folder of checkpoints: a run's folder, a .safetensors, or the authors' file.

    Tried in this order: `<dataset>/<name>/split<k>`, `<dataset>/<name>`, `<name>` (folders of runs),
    `<dataset>-<name>.safetensors`, `<name>.safetensors`, and for the first split the authors' names.
    """
    for place in (folder / dataset / name / f"split{split}", folder / dataset / name, folder / name):
        if any((place / file).is_file() for file in ("best.safetensors", "last.safetensors")):
            return place
    for file in (f"{dataset}-{name}.safetensors", f"{name}.safetensors"):
        if (folder / file).is_file():
            return folder / file
    for pattern in OFFICIAL_FILES.get(name, ()):
        if found := sorted(folder.glob(pattern)):
            return found[0]
    return None


def load_weights_of(name: str, path: Path, device: str | None = None) -> nn.Module:
    """A system's network from any file that `find_weights` finds, in eval mode. Raises ValueError for another's."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if path.is_dir() or path.suffix == ".safetensors":
        model, about = load_model(path, where)
        if about["network"]["name"] != name:
            raise ValueError(f"{find_checkpoint(path)} holds {about['network']['name']}, not {name}")
        return model
    state = convert_official(name, read_official(path))
    model = build_model(name, count_pids(name, state))
    model.load_state_dict(state)
    return model.to(where).eval()


def weights_hint(names: Sequence[str]) -> str:
    """Where weights may come from, in a line per system."""
    lines = ["Weights: name a folder with --checkpoints, or let the systems be trained (days on a good GPU). In it:"]
    for name in names:
        official = " or ".join(OFFICIAL_FILES.get(name, ()))
        theirs = f", or the authors' file ({official})" if official else ""
        lines.append(f"  {name}: {name}/ (folder of a run) or {name}.safetensors{theirs}")
    return "\n".join(lines)


def bench_table(dataset: str, rows: Sequence[BenchRow]) -> str:
    """Markdown: ours, published, the difference; both mAPs, the system's own marked."""
    lines = [
        f"{dataset}, percent",
        "",
        "| system | weights | Rank-1 | Rank-5 | mAP rect. | mAP trap. | re-ranked Rank-1 / mAP "
        "| published Rank-1 / mAP | difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    notes: list[str] = []
    for row in rows:
        marks = {ap: "*" if ap == row.ap else "" for ap in ("rectangular", "trapezoidal")}
        published, difference = "-", "-"
        if row.published is not None:
            notes.append(f"[{len(notes) + 1}] {row.published.source}")
            again = row.published.reranked
            published = f"{_pair(row.published.rank1, row.published.mAP)} [{len(notes)}]" + (
                f", re-ranked {_pair(*again)}" if again else ""
            )
            difference = f"{row.rank1 - row.published.rank1:+.1f} / " + (
                "-" if row.published.mAP is None else f"{row.mAP - row.published.mAP:+.1f}"
            )
        lines.append(
            f"| {row.system} | {row.weights} | {row.rank1:.2f} | {row.rank5:.2f} "
            f"| {row.map_rectangular:.2f}{marks['rectangular']} | {row.map_trapezoidal:.2f}{marks['trapezoidal']} "
            f"| {_pair(*row.reranked) if row.reranked else '-'} | {published} | {difference} |"
        )
    lines += ["", "* the definition that the system's authors use; the published mAP is of that kind.", *notes]
    splits = max((row.num_splits for row in rows), default=1)
    return "\n".join(lines + ([f"Means over {splits} splits."] if splits > 1 else []))


def _systems(dataset: str, models: Sequence[str] | None) -> tuple[str, ...]:
    explain(dataset, Path())  # raises for an unknown data set
    names = tuple(models or systems_on(dataset))
    if not names:
        raise ValueError(f"no figures are published for {dataset}; name systems with --models ({', '.join(MODELS)})")
    for name in names:
        if name not in MODELS:
            raise ValueError(f"unknown system {name!r}; there are {', '.join(MODELS)}")
    return names


def _model(
    name: str,
    recipe: Recipe,
    checkpoints: Path | None,
    place: Path,
    device: str | None,
    split: int,
    show: Callable[[StepReport], None],
) -> tuple[nn.Module, str]:
    """The network with weights, and where they came from. Trains where there are none."""
    if checkpoints is not None:
        if not checkpoints.is_dir():
            raise FileNotFoundError(f"{checkpoints}: no such folder of checkpoints")
        found = find_weights(checkpoints, name, recipe.data.name, split)
        if found is not None:
            return load_weights_of(name, found, device), found.name
        log.warning("%s: no weights of %s; training", checkpoints, name)
    summary = train(recipe, place, resume=(place / "last.safetensors").exists(), device=device, show=show)
    return load_weights_of(name, place, device), f"trained {summary.epochs_done} epochs"


def _keep(place: Path, scores: SplitScores, split: ReidSplit, recipe: Recipe, embedded: Any, source: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    document = scores_dict(scores) | {"weights": source}
    (place / "bench.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    write_report(place / "report.html", scores, split, embedded, recipe.test, notes=[f"Weights: {source}."])


def _row(name: str, dataset: str, all_scores: Sequence[SplitScores], source: str) -> BenchRow:
    def mean(value: Callable[[SplitScores], float]) -> float:
        return 100 * float(np.mean([value(scores) for scores in all_scores]))

    first = all_scores[0]
    again = next((place for place, block in enumerate(first.blocks) if block.name == RERANKED), None)
    ap = first.ap
    return BenchRow(
        system=name,
        weights=source,
        ap=ap,
        rank1=mean(lambda s: s.result.rank(1)),
        rank5=mean(lambda s: s.result.rank(5)),
        mAP=mean(lambda s: s.result.mAP),
        map_rectangular=mean(lambda s: s.blocks[0].rectangular.mAP),
        map_trapezoidal=mean(lambda s: s.blocks[0].trapezoidal.mAP),
        reranked=None
        if again is None
        else (
            mean(lambda s: s.blocks[again].under(ap).rank(1)),
            mean(lambda s: s.blocks[again].under(ap).mAP),
        ),
        num_splits=len(all_scores),
        published=PUBLISHED.get((dataset, name)),
    )


def _pair(rank1: float, mean: float | None) -> str:
    return f"{rank1:.1f} / {'-' if mean is None else f'{mean:.1f}'}"
