"""Ready sites of any size: a corridor, a station, a grid of streets, and a square that two pairs of cameras share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from pipeline.simulate.graph import Arrivals, Dwell, Exit, Link, Place, Reentry, Site, SiteCamera, Spread


def corridor(num_cams: int = 4, *, rate_per_s: float = 0.1, gap_s: float = 8.0) -> Site:
    """Cameras in a row; people come in at either end and at a door in the middle of every fourth camera.

    rate_per_s: people per second that come to the site. gap_s: mean time out of sight between neighbours; every gap
    has its own, up to half as long again.
    """
    names = _names(num_cams)
    cameras = tuple(SiteCamera(id=name, x_m=25.0 * i) for i, name in enumerate(names))
    links = []
    for i, (one, two) in enumerate(pairwise(names)):
        travel = _travel(gap_s * (1 + 0.5 * (i % 4) / 3))
        links += [_link(f"{one}.right", f"{two}.left", travel), _link(f"{two}.left", f"{one}.right", travel)]
    doors = [f"{name}.interior" for name in names[1:-1:4]]
    ends = [f"{names[0]}.left", f"{names[-1]}.right"]
    return Site(
        cameras=cameras,
        links=tuple(links),
        exits=tuple(Exit(leave=gate) for gate in ends) + tuple(Exit(leave=gate, weight=0.15) for gate in doors),
        arrivals=_arrivals({**dict.fromkeys(ends, 1.0), **dict.fromkeys(doors, 0.3)}, rate_per_s),
        reentry=Reentry(probability=0.15),
    )


def station(num_cams: int = 8, *, rate_per_s: float = 0.2) -> Site:
    """Entrances, halls in a row, and platforms where people wait; trains take people away and bring others."""
    if num_cams < 4:
        raise ValueError(f"a station needs at least 4 cameras (two entrances, a hall, a platform), got {num_cams}")
    names = _names(num_cams)
    num_doors = max(2, num_cams // 8)
    num_halls = max(1, (num_cams - num_doors) // 3)
    doors, halls = names[:num_doors], names[num_doors : num_doors + num_halls]
    platforms = names[num_doors + num_halls :]
    waits = Dwell(probability=0.8, time=Spread(mean_s=70.0, std_s=45.0, min_s=5.0, kind="gamma"))
    looks = Dwell(probability=0.25, time=Spread(mean_s=12.0, std_s=8.0, min_s=2.0))
    dwell = {**dict.fromkeys(platforms, waits), **dict.fromkeys(halls, looks)}
    cameras = tuple(SiteCamera(id=n, x_m=25.0 * i, dwell=dwell.get(n, Dwell())) for i, n in enumerate(names))
    pairs = [(f"{door}.top", f"{halls[i % num_halls]}.bottom", 10.0) for i, door in enumerate(doors)]
    pairs += [(f"{a}.right", f"{b}.left", 6.0) for a, b in pairwise(halls)]
    pairs += [(f"{halls[i % num_halls]}.top", f"{p}.bottom", 14.0 + 4.0 * (i % 3)) for i, p in enumerate(platforms)]
    links = [_link(a, b, _travel(mean)) for a, b, mean in pairs] + [_link(b, a, _travel(mean)) for a, b, mean in pairs]
    trains = [f"{platform}.interior" for platform in platforms]
    streets = [f"{door}.bottom" for door in doors]
    per_street, per_train = 0.55 / len(streets), 0.45 / len(trains)
    return Site(
        cameras=cameras,
        links=tuple(links),
        exits=tuple(Exit(leave=gate) for gate in streets) + tuple(Exit(leave=gate, weight=3.0) for gate in trains),
        arrivals=_arrivals({**dict.fromkeys(streets, per_street), **dict.fromkeys(trains, per_train)}, rate_per_s),
        reentry=Reentry(probability=0.05, delay=Spread(mean_s=600.0, std_s=300.0, min_s=60.0)),
    )


def grid(rows: int = 4, cols: int = 4, *, rate_per_s: float = 0.3, gap_s: float = 15.0) -> Site:
    """A camera at every crossing of a grid of streets, with ways to its neighbours; people come in at the edges."""
    if rows < 1 or cols < 1:
        raise ValueError(f"a grid needs at least one row and one column, got {rows} x {cols}")
    names = _names(rows * cols)
    cameras = tuple(SiteCamera(id=n, x_m=40.0 * (i % cols), y_m=-40.0 * (i // cols)) for i, n in enumerate(names))
    links: list[Link] = []
    edges: list[str] = []
    for i, name in enumerate(names):
        row, col = divmod(i, cols)
        for border, back, drow, dcol in (
            ("left", "right", 0, -1),
            ("right", "left", 0, 1),
            ("top", "bottom", -1, 0),
            ("bottom", "top", 1, 0),
        ):
            if 0 <= row + drow < rows and 0 <= col + dcol < cols:
                other = names[i + drow * cols + dcol]
                longer = 1 + 0.4 * ((min(i, names.index(other)) * 7) % 5) / 4
                links.append(_link(f"{name}.{border}", f"{other}.{back}", _travel(gap_s * longer)))
            else:
                edges.append(f"{name}.{border}")
    return Site(
        cameras=cameras,
        links=tuple(links),
        exits=tuple(Exit(leave=gate) for gate in edges),
        arrivals=_arrivals(dict.fromkeys(edges, 1.0), rate_per_s),
        reentry=Reentry(probability=0.1),
    )


def square(num_cams: int = 4, *, rate_per_s: float = 0.15) -> Site:
    """A square of 14 x 12 m that half of the cameras look at from its corners, calibrated; the others stand apart on
    the streets that lead to it."""
    if num_cams < 3:
        raise ValueError(f"a square needs at least 3 cameras, two of them on it, got {num_cams}")
    names = _names(num_cams)
    shared = max(2, min(4, num_cams // 2))
    corners = ((1.0, -3.0, 25.0), (13.0, -3.0, -25.0), (13.0, 15.0, -155.0), (1.0, 15.0, 155.0))[:shared]
    on_square = tuple(
        SiteCamera(id=n, place="square", x_m=x, y_m=y, yaw_deg=yaw, mount_m=4.0, fov_deg=75, calibrated=True)
        for n, (x, y, yaw) in zip(names, corners, strict=False)
    )
    apart = tuple(SiteCamera(id=n, x_m=60.0 + 40.0 * i) for i, n in enumerate(names[shared:]))
    sides = ("left", "right", "top", "bottom")
    links, ends = [], []
    for i, camera in enumerate(apart):
        side, travel = sides[i % 4], _travel(10.0 + 3.0 * i)
        links += [
            _link(f"square.{side}", f"{camera.id}.left", travel),
            _link(f"{camera.id}.left", f"square.{side}", travel),
        ]
        ends.append(f"{camera.id}.right")
    ends += [f"square.{side}" for side in sides[len(apart) :]] or ["square.top"]
    return Site(
        cameras=(*on_square, *apart),
        places=(Place(id="square", width_m=14, depth_m=12, dwell=Dwell(probability=0.3)),),
        links=tuple(links),
        exits=tuple(Exit(leave=gate) for gate in ends),
        arrivals=_arrivals(dict.fromkeys(ends, 1.0), rate_per_s),
        reentry=Reentry(probability=0.1),
    )


def _names(num_cams: int) -> list[str]:
    if num_cams < 1:
        raise ValueError(f"a site needs at least one camera, got {num_cams}")
    width = max(2, len(str(num_cams)))
    return [f"c{i + 1:0{width}d}" for i in range(num_cams)]


def _travel(mean_s: float) -> Spread:
    return Spread(mean_s=mean_s, std_s=0.3 * mean_s, min_s=0.4 * mean_s)


def _link(leave: str, enter: str, travel: Spread) -> Link:
    return Link(leave=leave, enter=enter, travel=travel)


def _arrivals(weights: dict[str, float], rate_per_s: float) -> tuple[Arrivals, ...]:
    total = sum(weights.values())
    return tuple(Arrivals(enter=gate, rate_per_s=rate_per_s * w / total) for gate, w in weights.items())


READY_SITES: dict[str, Callable[[int], Site]] = {
    "corridor": corridor,
    "station": station,
    "square": square,
}
"""By number of cameras; `grid` takes rows and columns."""


def ready_site(text: str) -> Site:
    """`corridor:4`, `station:16`, `square:4` or `grid:4x4`. Raises ValueError that lists what there is."""
    name, _, size = text.partition(":")
    try:
        if name == "grid":
            rows, _, cols = (size or "4x4").partition("x")
            return grid(int(rows), int(cols or rows))
        if name in READY_SITES:
            return READY_SITES[name](int(size)) if size else READY_SITES[name](4)
    except ValueError as error:
        if "invalid literal" not in str(error):
            raise
    raise ValueError(f"{text!r}: no such ready site; want corridor:N, station:N, square:N or grid:ROWSxCOLS")
