"""The association on simulated sites: what travel times bring, learned and known beforehand, and where they can't help.

    python benchmarks/association_sites.py [--minutes 20] [--seeds 2] [--reranking 0.3 0.7]

People walk through a graph of cameras (docs/simulation.md); their looks come from the noise model fitted to OSNet, or
a noisier one. Compared are no travel times, travel times learned from nothing while the footage comes in, and those
learned beforehand from other footage of the same site. Also: everybody in one of few uniforms, and a route that closes
half-way. With --reranking: travel times learned on the way, with such shares of k-reciprocal similarity in the looks
(`fusion.reranking`) and without, and nothing else. IDF1 counts seconds of tracklets; pair precision is the share of
links between tracklets that are right.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.simulate.graph import Site
from pipeline.simulate.noise import AppearanceNoise
from pipeline.simulate.ready_sites import ready_site
from pipeline.simulate.run import SiteRun, simulate_site
from pipeline.simulate.scoring import final_identities, score_identities
from pipeline.simulate.stream import embedded_frames
from pipeline.types import Event

WAYS = ("no travel times", "learned on the way", "learned beforehand")
MODES = ("off", "end")  # `fusion.resolve`: what was decided online, and made anew at the end


@dataclass(frozen=True)
class Scene:
    name: str
    site: Site


def scenes() -> list[Scene]:
    """Ready sites under rising noise of looks, uniforms, and a site of which one route closes."""
    found = []
    for name in ("corridor:4", "station:6", "grid:3x3"):
        for factor in (1.0, 1.5):
            site = ready_site(name).with_noise(appearance=AppearanceNoise(factor=factor))
            found.append(Scene(f"{name}, noise {factor:g}", site))
    uniforms = AppearanceNoise(factor=1.0, uniform_groups=2, uniform_people=1.0)
    found.append(Scene("corridor:4, two uniforms", ready_site("corridor:4").with_noise(appearance=uniforms)))
    return found


def closing(site: Site, at_s: float) -> Site:
    """The same site, whose first link closes at `at_s`."""
    first, *rest = site.links
    return site.model_copy(update={"links": (first.model_copy(update={"closes_s": at_s}), *rest)})


def associate(run: SiteRun, memory: TravelMemory, config: FusionConfig, dim: int) -> tuple[list[Event], float]:
    """-> events, seconds that the fuser took."""
    fuser = build_fuser(config, [None] * len(run.site.cameras), run.site.overlaps(), dim, memory)
    events, taken = [], 0.0
    for items in embedded_frames(run, fps=2.0):
        begin = time.perf_counter()
        events += [event for frame in fuser.step(items) for event in frame.events]
        taken += time.perf_counter() - begin
    return events + [event for frame in fuser.flush() for event in frame.events], taken


def memory_of(site: Site, config: FusionConfig) -> TravelMemory:
    return TravelMemory(config, tuple(camera.id for camera in site.cameras))


def compare(scene: Scene, seconds: float, seeds: Sequence[int], shares: Sequence[float] = ()) -> None:
    """One table row per way, the mean over the seeds, of all footage and of its last half; online and offline.

    shares: of re-ranking, compared in place of travel times.
    """
    ways = {f"{WAYS[1]}, re-ranking {share:g}": (WAYS[1], share) for share in shares} or {way: (way, 0) for way in WAYS}
    rows: dict[str, list[list[float]]] = {way: [] for way in ways}
    tracklets = 0
    for seed in seeds:
        run = simulate_site(scene.site, seconds, seed)
        tracklets += len(run.tracklets.track_id)
        for way, setting in ways.items():
            rows[way].append([number for mode in MODES for number in scored(run, scene.site, *setting, mode)])
    for way in ways:
        numbers = np.mean(rows[way], axis=0)
        idf1, late, precision, recall = (
            f"{on:.3f} / {off:.3f}" for on, off in zip(numbers[:4], numbers[4:], strict=True)
        )
        print(
            f"| {scene.name} | {tracklets // len(seeds)} | {way} | {idf1} | {late} | {precision} | {recall} |",
            flush=True,
        )


def scored(run: SiteRun, site: Site, way: str, share: float, mode: str) -> tuple[float, float, float, float]:
    """IDF1, that of the last half, pair precision and recall."""
    travel = "off" if way == WAYS[0] else "zones"
    config = FusionConfig.model_validate({"travel": travel, "resolve": mode, "reranking": share})
    memory, dim, seconds = memory_of(site, config), site.noise.appearance.dim, run.seconds
    if way == WAYS[2]:  # learned from other footage of the site, anew for each mode: the fuser goes on learning
        associate(simulate_site(site, seconds, run.seed + 1000), memory, FusionConfig(), dim)
    gids = final_identities(associate(run, memory, config, dim)[0])
    whole, late = score_identities(run, gids), score_identities(run, gids, from_s=seconds / 2)
    return whole.idf1, late.idf1, whole.pair_precision, whole.pair_recall


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--reranking", type=float, nargs="+", default=[], metavar="SHARE")
    args = parser.parse_args()
    shares = [0.0, *args.reranking] if args.reranking else []
    seconds, seeds = 60 * args.minutes, range(1, args.seeds + 1)
    print(f"{date.today()}: {args.minutes:g} minutes of footage, mean of {args.seeds} seeds\n")
    print("online / offline\n")
    print("| site | tracklets | travel times | IDF1 | its last half | pair precision | pair recall |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for scene in scenes():
        compare(scene, seconds, seeds, shares)
    corridor = ready_site("corridor:4").with_noise(appearance=AppearanceNoise(factor=1.5))
    compare(
        Scene("corridor:4, noise 1.5, a route closes half-way", closing(corridor, seconds / 2)), seconds, seeds, shares
    )


if __name__ == "__main__":
    main()
