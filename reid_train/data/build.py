"""Data sets by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reid_train.data import (
    duke_reid,
    duke_video,
    folder,
    ilids_vid,
    ls_vid,
    market1501,
    mars,
    occluded_duke,
    pets2009,
    prai1581,
    prid2011,
)
from reid_train.data.source import DataSetError, DataSource
from reid_train.data.tracklet import ReidSplit

DATASETS: dict[str, Callable[..., ReidSplit]] = {
    "mars": mars.load,
    "ilids_vid": ilids_vid.load,
    "prid2011": prid2011.load,
    "duke_video": duke_video.load,
    "ls_vid": ls_vid.load,
    "market1501": market1501.load,
    "duke_reid": duke_reid.load,
    "occluded_duke": occluded_duke.load,
    "prai1581": prai1581.load,
    "pets2009": pets2009.load,
    "tracklet_folder": folder.load,
    "pku_reid": folder.load_pku_reid,
}
SOURCES: dict[str, DataSource] = {
    "mars": mars.SOURCE,
    "ilids_vid": ilids_vid.SOURCE,
    "prid2011": prid2011.SOURCE,
    "duke_video": duke_video.SOURCE,
    "ls_vid": ls_vid.SOURCE,
    "market1501": market1501.SOURCE,
    "duke_reid": duke_reid.SOURCE,
    "occluded_duke": occluded_duke.SOURCE,
    "prai1581": prai1581.SOURCE,
    "pets2009": pets2009.SOURCE,
    "tracklet_folder": folder.SOURCE,
    "pku_reid": folder.PKU,
}


def load_split(name: str, root: Path, **options: Any) -> ReidSplit:
    """The data set `name` below `root`; `options` are the loader's. Raises DataSetError, which says what to do."""
    load = DATASETS[_known(name)]
    if not Path(root).is_dir():
        raise SOURCES[name].missing(Path(root), root)
    known = [p.name for p in inspect.signature(load).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise DataSetError(f"{name}: no option {option!r}{_near(option, known)}; it has {', '.join(known)}")
    return load(Path(root), **options)


def explain(name: str, root: Path) -> str:
    """What to fetch for a data set and where to put it. Raises DataSetError for an unknown name."""
    return SOURCES[_known(name)].explain(Path(root))


def _known(name: str) -> str:
    if name not in DATASETS:
        raise DataSetError(f"no data set {name!r}{_near(name, list(DATASETS))}; there are {', '.join(DATASETS)}")
    return name


def _near(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1)
    return f", did you mean {near[0]!r}?" if near else ""
