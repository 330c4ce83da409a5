"""How the tiles of a mosaic share the picture."""

from __future__ import annotations

from dataclasses import dataclass

GAP_PX = 4
_WIDE = 16 / 9


@dataclass(frozen=True, slots=True)
class Layout:
    """A grid of equal tiles, filled row by row; each tile has a strip for text above its picture. All in pixels."""

    columns: int
    rows: int
    picture_w: int
    picture_h: int
    strip_h: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the whole: even numbers, as video needs them, for all parts are even."""
        return _sum(self.columns, self.picture_w), _sum(self.rows, self.picture_h + self.strip_h)

    def corner(self, tile: int) -> tuple[int, int]:
        """(left, top) of the tile's strip."""
        row, column = divmod(tile, self.columns)
        return column * (self.picture_w + GAP_PX), row * (self.picture_h + self.strip_h + GAP_PX)


def grid_layout(num_tiles: int, aspect: float, max_size: tuple[int, int], largest_w: int) -> Layout:
    """The grid that shows `num_tiles` pictures of this aspect (width / height) largest, within `max_size`.

    Pictures get at most `largest_w` wide. Between equals: fewer empty places, then the shape nearest to 16:9.
    """
    best: tuple[tuple[float, ...], Layout] | None = None
    for columns in range(1, num_tiles + 1):
        rows = -(-num_tiles // columns)
        width = min((max_size[0] + GAP_PX) // columns - GAP_PX, largest_w)
        tile_h = (max_size[1] + GAP_PX) // rows - GAP_PX
        width = min(width, int((tile_h - _strip_h(width)) * aspect))
        if width < 1:
            continue
        width, strip_h = max(2, _even(width)), _strip_h(width)
        picture_h = max(2, _even(min(round(width / aspect), tile_h - strip_h)))
        layout = Layout(columns, rows, width, picture_h, strip_h)
        shape = abs(layout.size[0] / layout.size[1] - _WIDE)
        rank = (-float(width), float(columns * rows - num_tiles), shape)
        if best is None or rank < best[0]:
            best = rank, layout
    if best is None:
        raise ValueError(f"no room for {num_tiles} pictures in {max_size[0]}x{max_size[1]} pixels")
    return best[1]


def _strip_h(picture_w: int) -> int:
    return _even(min(26, max(14, round(0.042 * picture_w))))


def _sum(number: int, size_px: int) -> int:
    return number * (size_px + GAP_PX) - GAP_PX


def _even(size_px: int) -> int:
    return size_px - size_px % 2
