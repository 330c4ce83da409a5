"""What a network finds, to look at: rankings as pictures, and one HTML file with the scores around them.

The file needs nothing beside it: pictures are inside, there is no script and nothing is fetched.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.types import UInt8
from reid_train.config import TestConfig
from reid_train.data.images import read_image
from reid_train.data.tracklet import LabelledTracklet, ReidSplit
from reid_train.ranking import EmbeddedSplit, Ranker
from reid_train.scores import ScoreBlock, SplitScores

TOP = 10
NUM_QUERIES = 24
CROP_HW = (160, 80)
FRAME_PX = 5
RIGHT_RGB, WRONG_RGB, QUERY_RGB = (30, 150, 70), (205, 50, 50), (90, 90, 90)
JUNK_PIDS = (-1,)


@dataclass(frozen=True, slots=True)
class Match:
    """One place of a ranking."""

    row: int  # of the gallery
    distance: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best of the gallery for one query, junk left out, nearest first."""

    query: int
    matches: tuple[Match, ...]
    average_precision: float  # rectangular
    has_match: bool  # a right one anywhere in the gallery


def top_rankings(
    embedded: EmbeddedSplit,
    split: ReidSplit,
    test: TestConfig,
    queries: Sequence[int],
    block: ScoreBlock,
    *,
    top: int = TOP,
) -> list[Ranking]:
    """The rankings of some queries as `test` compares them; `block` tells their average precision."""
    ranker = Ranker(embedded, split, test)
    pids = np.array([t.pid for t in split.gallery], np.int64)
    camids = np.array([t.camid for t in split.gallery], np.int64)
    rankings = []
    for row in queries:
        query = split.query[row]
        distances = ranker.distances(np.array([row]))[0]
        counted = ~np.isin(pids, JUNK_PIDS) & ~((pids == query.pid) & (camids == query.camid))
        order = np.argsort(np.where(counted, distances, np.inf), kind="stable")[: min(top, int(counted.sum()))]
        matches = tuple(Match(int(i), float(distances[i]), bool(pids[i] == query.pid)) for i in order)
        found = bool(block.queries.first_hit[row] >= 0)
        rankings.append(Ranking(int(row), matches, float(block.queries.ap_rectangular[row]), found))
    return rankings


def chosen_queries(block: ScoreBlock, count: int = NUM_QUERIES) -> tuple[list[int], list[int]]:
    """Queries to look at: the worst, and others evenly over the rest, from the best down; those without a match are
    left out. At most `count` in all, each once."""
    valid = np.flatnonzero(block.queries.first_hit >= 0)
    by_score = valid[np.argsort(block.queries.ap_rectangular[valid], kind="stable")]
    num_worst = min(count // 2, len(by_score))
    worst, rest = by_score[:num_worst], by_score[num_worst:][::-1]
    places = np.unique(np.linspace(0, len(rest) - 1, min(count - num_worst, len(rest))).round().astype(int))
    return worst.tolist(), rest[places].tolist()


def ranking_picture(split: ReidSplit, ranking: Ranking, *, crop_hw: tuple[int, int] = CROP_HW) -> UInt8:
    """(H, W, 3) RGB: the query in a grey frame, a gap, then its ranking, right ones framed green and wrong ones red.

    Of a tracklet the middle image is shown. Raises ImageError for a missing or damaged one.
    """
    height = crop_hw[0] + 2 * FRAME_PX
    gap = np.full((height, 4 * FRAME_PX, 3), 255, np.uint8)
    cells = [_framed(split.query[ranking.query], QUERY_RGB, crop_hw), gap]
    for match in ranking.matches:
        cells.append(_framed(split.gallery[match.row], RIGHT_RGB if match.is_right else WRONG_RGB, crop_hw))
        cells.append(gap[:, :FRAME_PX])
    return np.concatenate(cells, axis=1)


def save_pictures(folder: Path, split: ReidSplit, rankings: Sequence[Ranking]) -> list[Path]:
    """One JPEG per ranking, `query_<row>_person_<pid>.jpg`, in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ranking in rankings:
        path = folder / f"query_{ranking.query:05d}_person_{split.query[ranking.query].pid}.jpg"
        path.write_bytes(_jpeg(ranking_picture(split, ranking)))
        paths.append(path)
    return paths


def write_report(
    path: Path,
    scores: SplitScores,
    split: ReidSplit,
    embedded: EmbeddedSplit,
    test: TestConfig,
    *,
    num_queries: int = NUM_QUERIES,
    notes: Sequence[str] = (),
) -> Path:
    """Write the HTML report to `path`: scores, CMC curves, scores by pair of cameras, and rankings as pictures."""
    block = scores.blocks[0]
    worst, others = chosen_queries(block, num_queries)
    parts = [
        f"<h1>{html.escape(scores.model or 'network')} on {html.escape(scores.dataset)}</h1>",
        f"<p>{html.escape(scores.protocol)}. {scores.num_query:,} queries, {scores.num_gallery:,} in the gallery, "
        f"vectors of {scores.dim} numbers, test clips: {html.escape(scores.clips)}.</p>",
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        _score_table(scores),
        _curves(scores),
        _camera_table(block, split),
    ]
    for title, rows in (("Worst queries", worst), ("From the best down", others)):
        rankings = top_rankings(embedded, split, test, rows, block)
        if rankings:
            parts += [f"<h2>{title}</h2>", *(_ranking_part(split, ranking) for ranking in rankings)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PAGE.format(title=html.escape(scores.dataset), body="\n".join(parts)), encoding="utf-8")
    return path


def _framed(tracklet: LabelledTracklet, colour: tuple[int, int, int], crop_hw: tuple[int, int]) -> UInt8:
    crop = read_image(tracklet.paths[len(tracklet) // 2], crop_hw, "bilinear")
    cell = np.empty((crop_hw[0] + 2 * FRAME_PX, crop_hw[1] + 2 * FRAME_PX, 3), np.uint8)
    cell[:] = colour
    cell[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX] = crop
    return cell


def _jpeg(picture: UInt8) -> bytes:
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise ValueError("the picture can not be written as JPEG")
    return data.tobytes()


def _score_table(scores: SplitScores) -> str:
    first = scores.result
    ranks = scores.ranks
    mark = {ap: " *" if ap == scores.ap else "" for ap in ("rectangular", "trapezoidal")}
    head = "".join(f"<th>Rank-{k}</th>" for k in ranks)
    rows = []
    for block in scores.blocks:
        own = block.under(scores.ap)
        cells = "".join(f"<td>{100 * own.rank(k):.2f}</td>" for k in ranks)
        maps = f"<td>{100 * block.rectangular.mAP:.2f}</td><td>{100 * block.trapezoidal.mAP:.2f}</td>"
        rows.append(f"<tr><th>{html.escape(block.name)}</th>{cells}{maps}</tr>")
    return (
        f"<table><tr><th></th>{head}<th>mAP rectangular{mark['rectangular']}</th>"
        f"<th>mAP trapezoidal{mark['trapezoidal']}</th></tr>{''.join(rows)}</table>"
        f"<p class=small>Percent. * the system's own definition, over "
        f"{'the queries with a match' if scores.ap == 'rectangular' else 'all queries'}; the ranks likewise. "
        f"{first.num_valid:,} of {first.num_queries:,} queries have a match.</p>"
    )


def _curves(scores: SplitScores, *, width: int = 460, height: int = 200) -> str:
    """The CMC of every block as SVG."""
    count = min(20, scores.num_gallery, *(len(block.under(scores.ap).cmc) for block in scores.blocks))
    curves = [block.under(scores.ap).cmc[:count] for block in scores.blocks]
    values = np.concatenate(curves)
    if count < 2 or not np.isfinite(values).all():
        return ""
    low = float(np.floor(values.min() * 10) / 10) if values.min() < 1 else 0.9
    colours = ("#2563a8", "#c2571a", "#6b7280")
    lines, legend = [], []
    for place, (block, curve) in enumerate(zip(scores.blocks, curves, strict=True)):
        points = " ".join(
            f"{50 + (width - 60) * i / (count - 1):.1f},{10 + (height - 40) * (1 - (v - low) / (1 - low)):.1f}"
            for i, v in enumerate(curve)
        )
        colour = colours[place % len(colours)]
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        legend.append(f'<span style="color:{colour}">&#9644; {html.escape(block.name)}</span>')
    base = height - 30
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="CMC curves">'
        f'<path d="M50 10V{base}H{width - 10}" fill="none" stroke="#999"/>{"".join(lines)}'
        f'<text x="44" y="16" text-anchor="end">100 %</text><text x="44" y="{base}" text-anchor="end">'
        f'{100 * low:.0f} %</text><text x="50" y="{height - 12}">rank 1</text>'
        f'<text x="{width - 10}" y="{height - 12}" text-anchor="end">rank {count}</text></svg>'
        f"<p class=small>{' '.join(legend)}</p>"
    )


def _camera_table(block: ScoreBlock, split: ReidSplit) -> str:
    """Rank-1 and mAP by the query's camera."""
    camids = np.array([t.camid for t in split.query])
    valid = block.queries.first_hit >= 0
    rows = []
    for camid in np.unique(camids[valid]).tolist():
        mine = valid & (camids == camid)
        rank1 = float((block.queries.first_hit[mine] == 0).mean())
        score = float(block.queries.ap_rectangular[mine].mean())
        rows.append(f"<tr><th>{camid}</th><td>{int(mine.sum())}</td><td>{100 * rank1:.1f}</td>"
                    f"<td>{100 * score:.1f}</td></tr>")  # fmt: skip
    if len(rows) < 2:
        return ""
    return (
        "<h2>By the query's camera</h2><table><tr><th>camera</th><th>queries</th><th>Rank-1</th>"
        f"<th>mAP rectangular</th></tr>{''.join(rows)}</table>"
    )


def _ranking_part(split: ReidSplit, ranking: Ranking) -> str:
    query = split.query[ranking.query]
    right = sum(match.is_right for match in ranking.matches)
    words = (
        f"query {ranking.query}: person {query.pid}, camera {query.camid}, {len(query)} images; average precision "
        f"{100 * ranking.average_precision:.1f} %, {right} of the first {len(ranking.matches)} right"
    )
    cells = "; ".join(
        f"{place}: person {split.gallery[m.row].pid}, camera {split.gallery[m.row].camid}, {m.distance:.3f}"
        for place, m in enumerate(ranking.matches, 1)
    )
    picture = base64.b64encode(_jpeg(ranking_picture(split, ranking))).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{picture}" alt="{html.escape(words)}" title="{html.escape(cells)}">'
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Retrieval: {title}</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1120px; padding: 0 1rem; color: #1d2430;
  background: #fff }}
table {{ border-collapse: collapse; margin: 1rem 0 }} th, td {{ padding: .3rem .8rem; text-align: right;
  border-bottom: 1px solid #dde2ea }} tr > th:first-child {{ text-align: left }}
figure {{ margin: 1rem 0 }} img {{ max-width: 100% }} figcaption, .small {{ color: #5b6472; font-size: 13px }}
svg text {{ font-size: 11px; fill: #5b6472 }}
</style></head><body>
{body}
</body></html>
"""
