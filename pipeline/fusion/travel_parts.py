"""Travel times of some of the cameras, taken out of those of all and put back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from pipeline.fusion.travel import TransitCounts, TravelModel
from pipeline.fusion.zones import NUM_ZONES, Zones

Part: TypeAlias = tuple[TravelModel, Zones]
_TABLES = (("zones", NUM_ZONES), ("cameras", 1), ("by_chance", 1))


def hand_out(known: Part, part: Part, camids: Sequence[int]) -> None:
    """What is known of the cameras `camids` goes into a model of them alone, in which they have their places."""
    place = {camid: at for at, camid in enumerate(camids)}
    for name, per_camera in _TABLES:
        _copy(getattr(known[0], name), getattr(part[0], name), place, per_camera, lambda camid: camid in place)
    for camid, at in place.items():
        part[1].widen(at, known[1].borders(camid))


def collect(part: Part, known: Part, camids: Sequence[int], own: Collection[int]) -> None:
    """What a site has learned of the ways to its `own` cameras goes into the model of all."""
    place = dict(enumerate(camids))
    for name, per_camera in _TABLES:
        _copy(getattr(part[0], name), getattr(known[0], name), place, per_camera, lambda at: place[at] in own)
    for at, camid in place.items():
        if camid in own:
            known[1].widen(camid, part[1].borders(at))


def _copy(
    source: TransitCounts,
    target: TransitCounts,
    place: dict[int, int],
    per_camera: int,
    wanted: Callable[[int], bool],
) -> None:
    """place: of cameras of the source in the target; wanted: cameras of the source, of which arrivals are copied."""

    def there(at: int) -> int:
        return place[at // per_camera] * per_camera + at % per_camera

    for start, goal, count in source.pairs():
        if start // per_camera in place and wanted(goal // per_camera):
            target.put(there(start), there(goal), count.copy())
    for at in range(len(source.arrivals)):
        if at // per_camera in place and wanted(at // per_camera):
            target.departures[there(at)], target.arrivals[there(at)] = source.departures[at], source.arrivals[at]
