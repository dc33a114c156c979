"""Cuts the ink of a page into lines, and each line into pieces from which digits are put together.

The method is over-segmentation, as in section IV of LeCun et al. (1998): there are many more cuts
than digits, and the lattice decides later which of them are right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.framing import BOX_SIZE, MARKER, STROKE, Canvas, Floats, frame
from lenet_digits.reading.page_ink import Box, Ints, Page, parts_in, pen_width, rows_of
from lenet_digits.reading.pictures import UnreadableImageError

# Limits on time and memory.
MOST_PARTS = 1000  # separate marks on a page
MOST_PIECES = 160  # of one line: that is about fifty digits
MOST_LINES = 150

# The others were tuned on the tune split of the open number sets, 2026-11. Lengths are in digit
# heights where nothing else is said.
# Dirt and what is too large
SPECK = 0.07  # what is smaller than this and than the pen is dirt
SPECK_PENS = 0.5  # pen widths: the same
LEAST_INKED = 0.3  # of the square of `SPECK`: the area of what is not dirt
LONGEST_PART = 60.0
# Remnants of a frame, a ruled line or a shadow at the picture's edge, see `_remnants`
AT_EDGE = 2  # pixels: what is so near to the picture's edge reaches it
BAR_WIDTH = 0.22  # a remnant is no wider
BAR_LENGTH, BAR_RATIO = 0.25, 2.5  # a remnant is at least so long, and so many times its width
BAR_OFF = 0.22  # it ends at least so far from where a digit would
LONG_BAR, LONG_BAR_RATIO = 0.7, 3.0  # a bar of such a length and ratio that reaches the edge
FINE = 0.7  # pen widths: what is thinner was not written with the pen
BESIDE, ALONG = 0.8, 0.3  # how near to the sides and ends a fine remnant is
STROKE_LENGTH, STROKE_WIDTH = 1.4, 0.5  # a longer and narrower part is not a digit
SOLID, SOLID_LENGTH = 0.75, 1.1  # of its box is ink, and its length: such a part is a block
WRITING = (0.2, 0.5, 2.0)  # least width, least height and the most of both of what digits look like
# Lines
WALL = 0.35  # what is so near to a cell, outside of it, is the rest of its border
OUTSIDE_HEIGHT, OUTSIDE_WIDTH = 3.0, 20.0  # of a part beside cells, at most
TALL = 0.45  # a lower part does not make a line of its own ...
ALONE = 0.25  # ... but it does, if it is so large and no line is near
COMMON = 0.4  # of the lower one's height that neighbours in a line have in common
OFF_LINE = 0.95  # how far, up or down, a small part may be from the line that it is in
NEXT_ON_LINE = 2.5  # how far, aside, it may be from the nearest digit there
ASIDE = 0.3  # weight of the second distance against the first one
NEIGHBOUR = 1.5  # the widest gap to a neighbour that shows the line's slope
NEIGHBOURLY = 0.3  # of the lower one's height that such neighbours have in common
FEWEST_SLOPES = 4  # slopes between neighbours, from which a line's slope is known
STEEPEST = 0.27  # tangent: 15 degrees
LONE_WIDTH = 1.2  # one narrower part alone in its line is level
UPPER_HALF = 0.5  # of the highest part of a line: higher ones tell the height of its digits
HEIGHTS = (0.6, 1.6)  # of the page's digits: the least and most height of a line's digits
FULL_HEIGHT = 0.6  # higher pieces tell where the line is
# Pieces
STRAIGHT_BONUS = 0.08  # share that a slant of tangent 1 loses against upright writing
ABOVE = 0.7  # of a part's width lies above or below another part: the two are one
ABOVE_GAP = 0.5  # between them, at most
POINT, POINT_AT = 0.2, 0.3  # size of a point, and how far above the bottom of a digit it may be
UNCUT = 0.3  # what is no wider is not cut
UNCUT_HEIGHT = 0.4  # nor what is no higher
LEAST_INK = 0.3  # of a pixel: what a seam pays for each pixel of a part
CUT_DISTANCE = 0.13  # between two cuts
CUTS = 3.5  # for each digit height of width, at most, and one more
CUT_INSET = 0.4  # pen widths: between a cut and either end of its part
MOST_SEVERED = 4.0  # pen widths: a cut through more ink is never right
NO_SEAM = 1e6  # pixels of ink: the cost beside the strip, more than that of any seam
SIDESTEP = 0.35  # of a pixel of ink: the cost of a seam's step to the side
UPRIGHT_LEAN = 0.2  # tangent: the lean of usual writing, where no other piece shows it
# Commas that touch a digit, see `_hangers`
HANGING = 0.12, 0.6  # how far such a comma reaches below the line
HANGING_FROM = 0.35  # above the line: the part of the digit that is looked at
HANGING_AT = 0.2  # from the line: where the comma begins
HANGING_REACH = 2.0  # pen widths: what is so near above a comma is where it hangs from
NARROW = 2.2  # pen widths: the widest row of such a comma
LEVEL = 3.0  # pen widths: the stroke that it hangs from is at least so long
# Candidates
MOST_IN_ONE = 5  # pieces of one digit
WIDEST = 1.6  # of one digit
LARGEST = 3.0  # of one digit, in any direction
SMALLEST = 0.2  # of one digit, in its larger direction; less is a point
WIDEST_GAP = 0.3  # between the pieces of one digit
MARGIN = 2  # pixels of paper around a line
SLANTS = np.arange(-0.4, 0.96, 0.1)  # tangents of the slant of writing that are tried

Point = tuple[int, int]  # x and y


@dataclass(frozen=True, eq=False)
class Pieces:
    """One line of writing, cut into pieces from left to right.

    The line is made level and its writing upright for cutting. Boxes are in those coordinates,
    while `labels` lies on the page as it is.
    """

    origin: tuple[int, int]  # left, top of `ink` and `labels` on the page
    ink: Floats  # (H, W), the line's own ink on the page
    labels: NDArray[np.int16]  # (H, W), 1 + the piece's number, 0 on the ground
    boxes: Floats  # (N, 4): left, top, right, bottom of each piece, made upright
    corners: Ints  # (N, 4): left, top, right, bottom of each piece in `ink`
    areas: Floats  # (N,) of ink in pixels
    parts: Ints  # (N,) the number of the connected part that the piece belongs to
    severed: Floats  # (N,) ink cut at the left side of the piece, in pen widths
    hangs: NDArray[np.bool_]  # (N,) whether it seems to be a comma that touches the piece before it
    cells: Ints  # (N,) the number of the cell, -1 outside of cells
    leans: Floats  # (N,) tangent of the piece's direction less that of the others; right is > 0
    pen: float  # pixels: width of the strokes
    height: float  # pixels: of the line's digits
    top: float  # of the digits, made upright
    bottom: float


@dataclass(frozen=True, eq=False)
class Part:
    """A connected part of the ink on the page."""

    label: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def middle(self) -> tuple[float, float]:
        """The box's centre: x and y."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def lines_of(page: Page) -> list[Pieces]:
    """The lines of a page from the top, each cut into pieces."""
    labels, stats, _ = parts_in(page.mask)
    h = page.digit_height
    rows, width = page.mask.shape
    pen = pen_width(page.ink)
    x, y, w, tall, area = stats[1:].T
    small = np.maximum(w, tall) < max(SPECK * h, SPECK_PENS * pen)
    small |= area < LEAST_INKED * (SPECK * h) ** 2
    kept = ~small & (np.maximum(w, tall) <= LONGEST_PART * h)
    kept &= ~_remnants(stats[1:], kept, (rows, width), h, pen)
    parts = [
        Part(int(label) + 1, int(x[label]), int(y[label]), int((x + w)[label]),
             int((y + tall)[label]))
        for label in np.flatnonzero(kept)
    ]  # fmt: skip
    if len(parts) > MOST_PARTS:
        raise UnreadableImageError(
            f"The picture holds more than {MOST_PARTS} separate marks. Cut it to the numbers."
        )
    found: list[Pieces] = []
    for group, slope, cells in _groups(parts, page):
        if len(found) < MOST_LINES:
            pieces = _cut(page, labels, group, slope, cells)
            if pieces is not None:
                found.append(pieces)
    return found


def _remnants(
    stats: NDArray[Any], kept: NDArray[np.bool_], size: tuple[int, int], h: float, pen: float
) -> NDArray[np.bool_]:
    """Which parts are remnants of a frame, a ruled line or a shadow that the picture's edge cuts.

    Such a part is straight and reaches the edge, or it is thinner than the pen and near the edge. A
    digit 1 at the edge looks like that too, but it begins and ends where the digits beside it do.
    """
    x, y, w, tall, area = stats.T.astype(np.float64)
    right, bottom = x + w, y + tall
    rows, columns = size
    sides = (x <= AT_EDGE) | (right >= columns - AT_EDGE)
    ends = (y <= AT_EDGE) | (bottom >= rows - AT_EDGE)
    upright = (tall > BAR_LENGTH * h) & (w < BAR_WIDTH * h) & (tall > BAR_RATIO * w)
    level = (w > BAR_LENGTH * h) & (tall < BAR_WIDTH * h) & (w > BAR_RATIO * tall)
    fine = area < FINE * pen * np.maximum(w, tall)
    beside = np.minimum(x, columns - right) < BESIDE * h
    along = np.minimum(y, rows - bottom) < ALONG * h
    long = (np.maximum(w, tall) > STROKE_LENGTH * h) & (np.minimum(w, tall) < STROKE_WIDTH * h)
    solid = (area > SOLID * w * tall) & (np.maximum(w, tall) > SOLID_LENGTH * h)
    found = (sides & (tall > np.maximum(LONG_BAR * h, LONG_BAR_RATIO * w))) | (
        upright & (sides | ends)
    )
    found |= upright & fine & beside
    narrow, low, large = WRITING
    writing = kept & (w > narrow * h) & (tall > low * h) & (np.maximum(w, tall) < large * h)
    others = np.flatnonzero(writing & ~found)
    for number in np.flatnonzero(found):
        common = np.minimum(bottom[others], bottom[number]) - np.maximum(y[others], y[number])
        near = others[common > 0]
        if len(near):
            nearest = near[np.abs(x[near] + w[near] / 2 - x[number] - w[number] / 2).argmin()]
            off = max(abs(y[nearest] - y[number]), abs(bottom[nearest] - bottom[number]))
            found[number] = off > BAR_OFF * h
        elif not len(others) and not sides[number]:
            found[number] = False
    found |= (ends & (w > np.maximum(LONG_BAR * h, LONG_BAR_RATIO * tall))) | (level & ends)
    found |= level & fine & along & (beside | ends)
    return np.asarray(found | ((long | solid) & (sides | ends)))


# Lines -------------------------------------------------------------------------------------------

Group = tuple[list[Part], float, list[int]]  # parts, slope of the line, cell of each part


def _groups(parts: list[Part], page: Page) -> list[Group]:
    """The parts of each line, from the top. Parts in cells form lines first, then the others."""
    h = page.digit_height
    groups: list[tuple[float, Group]] = []
    rest = parts
    if page.cells:
        rest = []
        inside: dict[int, list[Part]] = {}
        for part in parts:
            cell = _cell_at(part.middle, page.cells)
            if cell < 0:
                if not _beside_a_cell(part, page.cells, WALL * h):
                    rest.append(part)
            else:
                inside.setdefault(cell, []).append(part)
        for row in rows_of(page.cells):
            members = [(part, cell) for cell in row for part in inside.get(cell, [])]
            if members:
                top = min(page.cells[cell][1] for cell in row)
                chosen = [part for part, _ in members]
                groups.append((top, (chosen, 0.0, [cell for _, cell in members])))
        rest = [
            part
            for part in rest
            if part.height < OUTSIDE_HEIGHT * h and part.width < OUTSIDE_WIDTH * h
        ]
    for chosen, slope in _by_baseline(rest, h):
        y = float(np.mean([part.middle[1] for part in chosen]))
        groups.append((y, (chosen, slope, [-1] * len(chosen))))
    return [group for _, group in sorted(groups, key=lambda pair: pair[0])]


def _cell_at(point: tuple[float, float], cells: list[Box]) -> int:
    for number, (left, top, right, bottom) in enumerate(cells):
        if left <= point[0] < right and top <= point[1] < bottom:
            return number
    return -1


def _beside_a_cell(part: Part, cells: list[Box], near: float) -> bool:
    """Whether a part outside of all cells lies on a cell's wall: it is the rest of a line."""
    return any(
        part.left < right + near
        and part.right > left - near
        and part.top < bottom + near
        and part.bottom > top - near
        for left, top, right, bottom in cells
    )


def _by_baseline(parts: list[Part], h: float) -> list[tuple[list[Part], float]]:
    """The parts of each line, and the lines' slope. Tall parts form the lines; small ones join."""
    tall = [part for part in parts if part.height >= TALL * h]
    small = [part for part in parts if part.height < TALL * h]
    if not tall:
        tall, small = parts, []
    if not tall:
        return []
    slope = _slope(tall, h)
    rows: list[list[Part]] = []
    for part in sorted(tall, key=lambda part: part.left):
        shares = [_share_in_common(row[-2:], part, slope) for row in rows]
        best = max(range(len(rows)), key=shares.__getitem__, default=-1)
        if best >= 0 and shares[best] >= COMMON:
            rows[best].append(part)
        else:
            rows.append([part])
    row_of = np.array([number for number, row in enumerate(rows) for _ in row])
    boxes = np.array([(o.left, o.top, o.right, o.bottom) for row in rows for o in row], np.float64)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    lower = np.maximum(boxes[:, 3] - boxes[:, 1] - h, 0) / 2
    for part in small:
        x, y = part.middle
        gaps = np.maximum(np.maximum(boxes[:, 0] - part.right, part.left - boxes[:, 2]), 0)
        off = np.abs(y - middles[:, 1] - slope * (x - middles[:, 0])) - lower
        distance = np.where(
            (off < OFF_LINE * h) & (gaps < NEXT_ON_LINE * h), off + ASIDE * gaps, np.inf
        )
        nearest = int(distance.argmin())
        if np.isfinite(distance[nearest]):
            rows[row_of[nearest]].append(part)
        elif max(part.width, part.height) > ALONE * h:
            rows.append([part])
    return [(row, slope) for row in rows]


def _share_in_common(others: list[Part], part: Part, slope: float) -> float:
    """The height that a part has in common with its neighbours to the left, on average.

    It is a share of the lower one's height.
    """
    total = 0.0
    for other in others:
        drop = slope * (part.left + part.right - other.left - other.right) / 2
        common = min(part.bottom - drop, other.bottom) - max(part.top - drop, other.top)
        total += common / max(1, min(part.height, other.height))
    return total / len(others)


def _slope(parts: list[Part], h: float) -> float:
    """The tangent of the lines' slope: the median over neighbours in a line, `STEEPEST` at most."""
    boxes = np.array([(part.left, part.top, part.right, part.bottom) for part in parts], np.float64)
    left, top, right, bottom = boxes.T
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    found = []
    for number in range(len(parts)):
        common = np.minimum(bottom, bottom[number]) - np.maximum(top, top[number])
        lower = np.minimum(bottom - top, bottom[number] - top[number])
        beside = (left > middles[number, 0]) & (left - right[number] < NEIGHBOUR * h)
        beside = np.flatnonzero(beside & (common > NEIGHBOURLY * lower))
        for other in beside[np.argsort(left[beside])][:2]:
            dx, dy = middles[other] - middles[number]
            found.append((dx, (bottom[other] - bottom[number]) / dx))
            found.append((dx, dy / dx))
    if len(found) < FEWEST_SLOPES:
        return 0.0
    widths, slopes = np.array(found).T
    order = np.argsort(slopes)
    weights = np.cumsum(widths[order])
    slope = float(slopes[order][np.searchsorted(weights, weights[-1] / 2)])
    return float(np.clip(slope, -STEEPEST, STEEPEST))


# Cuts --------------------------------------------------------------------------------------------


def _cut(
    page: Page, labels: NDArray[np.int32], group: list[Part], slope: float, cells: list[int]
) -> Pieces | None:
    left = max(0, min(part.left for part in group) - MARGIN)
    top = max(0, min(part.top for part in group) - MARGIN)
    right = min(page.mask.shape[1], max(part.right for part in group) + MARGIN)
    bottom = min(page.mask.shape[0], max(part.bottom for part in group) + MARGIN)
    local = labels[top:bottom, left:right]
    number_of = np.zeros(int(labels.max()) + 1, np.int32)
    for number, part in enumerate(group):
        number_of[part.label] = number + 1
    owner = number_of[local]  # (H, W), 1 + the number of the part
    mask = (owner > 0).astype(np.uint8)
    if not mask.any():
        return None
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    ink = page.ink[top:bottom, left:right] * near
    pen = pen_width(ink)
    h = _line_height(group, page.digit_height)
    rows, columns = np.nonzero(mask)
    if len(group) == 1 and group[0].width < LONE_WIDTH * h:
        slope = 0.0
    centre = mask.shape[1] / 2
    level = rows - np.rint(slope * (columns - centre)).astype(np.intp)
    level -= level.min()
    slant = _slant(columns, level, h)
    upright = columns + np.rint(slant * (level - level.max() / 2)).astype(np.intp)
    upright -= upright.min()
    owners = owner[rows, columns].astype(np.intp) - 1
    values = ink[rows, columns]
    merged = _merged(owners, upright, level, len(group), np.array(cells), h)
    piece_of, part_of, severed, hangs = _pieces(merged[owners], upright, level, values, h, pen)
    count = int(piece_of.max()) + 1
    if count > MOST_PIECES:  # a line of text, or a texture: one piece, which is not a digit
        piece_of, part_of, severed = piece_of * 0, part_of[:1] * 0, severed[:1] * 0
        hangs = hangs[:1] & False
        count = 1
    boxes = _boxes(piece_of, upright, level, count).astype(np.float32)
    corners = _boxes(piece_of, columns, rows, count)
    areas = np.bincount(piece_of, minlength=count).astype(np.float32)
    piece_labels = np.zeros(mask.shape, np.int16)
    piece_labels[rows, columns] = piece_of + 1
    cell_of = np.full(count, -1, np.intp)
    cell_of[piece_of] = np.array(cells)[owners]
    tops, bottoms = boxes[:, 1], boxes[:, 3]
    tall = bottoms - tops > FULL_HEIGHT * h
    line_top = float(np.median(tops[tall])) if tall.any() else float(tops.min())
    line_bottom = float(np.median(bottoms[tall])) if tall.any() else float(bottoms.max())
    return Pieces(
        (left, top), np.asarray(ink, np.float32), piece_labels, boxes, corners, areas, part_of,
        severed, hangs, cell_of, _leans(piece_of, columns, level, count, tall), pen, h, line_top,
        line_bottom,
    )  # fmt: skip


def _line_height(group: list[Part], h: float) -> float:
    """The height of a line's digits: the median of its taller parts."""
    heights = np.array([part.height for part in group], np.float64)
    tall = heights[heights > UPPER_HALF * heights.max()]
    own = float(np.median(tall))
    return float(np.clip(own, HEIGHTS[0] * h, HEIGHTS[1] * h))


def _slant(columns: Ints, level: Ints, h: float) -> float:
    """The tangent of the writing's slant.

    Of several shears, it is the one under which some columns have much ink and others little.
    """
    step = max(1, len(columns) // 4000)
    x, y = columns[::step], level[::step]
    best, most = 0.0, 0.0
    for slant in SLANTS:
        moved = x + np.rint(slant * y).astype(np.intp)
        counts = np.bincount(moved - moved.min()).astype(np.float64)
        counts = np.convolve(counts, np.ones(3))
        score = float((counts**2).sum()) * (1 - STRAIGHT_BONUS * abs(slant))
        if score > most:
            best, most = float(slant), score
    return best


def _boxes(owners: Ints, x: Ints, y: Ints, count: int) -> Ints:
    """Left, top, right and bottom of each owner's pixels: (count, 4)."""
    boxes = np.empty((count, 4), np.intp)
    boxes[:, :2] = 1 << 30
    boxes[:, 2:] = -1
    np.minimum.at(boxes[:, 0], owners, x)
    np.minimum.at(boxes[:, 1], owners, y)
    np.maximum.at(boxes[:, 2], owners, x + 1)
    np.maximum.at(boxes[:, 3], owners, y + 1)
    return boxes


def _merged(owners: Ints, x: Ints, y: Ints, count: int, cells: Ints, h: float) -> Ints:
    """The number of each part's group. Parts that lie one above the other are one group.

    A broken stroke, the bar of a 5 or the second point of a colon lies above or below another part.
    """
    boxes = _boxes(owners, x, y, count)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    group = np.arange(count)
    for one in np.argsort(-widths):  # the widest first
        if widths[one] > WIDEST * h:
            continue
        common = np.minimum(boxes[one, 2], boxes[:, 2]) - np.maximum(boxes[one, 0], boxes[:, 0])
        gap = np.maximum(boxes[one, 1], boxes[:, 1]) - np.minimum(boxes[one, 3], boxes[:, 3])
        small = np.maximum(widths, heights) < POINT * h
        apart = small & (boxes[:, 1] > boxes[one, 3] - POINT_AT * h) & (common < widths)
        above = (
            (common >= ABOVE * widths) & (widths <= widths[one]) & (gap < ABOVE_GAP * h) & ~apart
        )
        above &= (cells == cells[one]) & (group == np.arange(count))
        above[one] = False
        for other in np.flatnonzero(above):
            group[group == other] = group[one]
    return group


def _pieces(
    groups: Ints, x: Ints, y: Ints, values: Floats, h: float, pen: float
) -> tuple[Ints, Ints, Floats, NDArray[np.bool_]]:
    """Cuts the parts of a line into pieces.

    Returns the number of its piece for each pixel, from the left. For each piece, it returns the
    part, the ink that the cut on its left severs, and whether it hangs from the piece before it.
    """
    names, groups = np.unique(groups, return_inverse=True)
    count = len(names)
    boxes = _boxes(groups, x, y, count)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    wide = (widths > UNCUT * h) & (heights > UNCUT_HEIGHT * h)
    interval = np.zeros(len(x), np.intp)
    cut_cost: dict[tuple[int, int], float] = {}
    if wide.any():
        starts = np.zeros(count, np.intp)
        position = 1
        for group in np.flatnonzero(wide):
            starts[group] = position
            position += widths[group] + 1
        strip = np.zeros((int(y.max()) + 1, position), np.float32)
        chosen = wide[groups]
        strip_x = x - boxes[groups, 0] + starts[groups]
        strip[y[chosen], strip_x[chosen]] = np.maximum(values[chosen], LEAST_INK)
        walls = np.zeros(position, np.bool_)
        walls[starts[wide] - 1] = True
        walls[-1] = True
        strip[:, walls] = 100.0
        costs, paths = _seams(strip)
        for group in np.flatnonzero(wide):
            begin, end = starts[group], starts[group] + widths[group]
            seeds = _seeds(costs[begin:end], h, pen)
            own = np.flatnonzero(groups == group)
            sides = np.zeros(len(own), np.intp)
            for number, seed in enumerate(seeds):
                path = paths(begin + seed)
                sides += strip_x[own] >= path[y[own]]
                cut_cost[int(group), number + 1] = float(costs[begin + seed]) / pen
            interval[own] = sides
    key = groups * 64 + np.minimum(interval, 62)
    hangers = _hangers(groups, x, y, boxes, h, pen)
    held: dict[int, int] = {}  # of the piece that a point hangs from, by the point's own key
    for hanging, (own, above) in hangers.items():
        values_above, counts = np.unique(key[above], return_counts=True)
        held[hanging * 64 + 63] = int(values_above[counts.argmax()])
        cut_cost[hanging, 63] = 1.0
        key[own] = hanging * 64 + 63
    keys, piece = np.unique(key, return_inverse=True)
    middles = np.bincount(piece, x) / np.bincount(piece)
    for number, name in enumerate(keys.tolist()):
        if name in held:  # it comes right after the piece that it hangs from
            middles[number] = middles[np.searchsorted(keys, held[name])] + 1e-3
    order = np.argsort(middles, kind="stable")
    # The pieces of one part stay in the order of its cuts.
    rank = np.empty(len(keys), np.intp)
    rank[order] = np.arange(len(keys))
    part_of = keys // 64
    severed = np.zeros(len(keys), np.float32)
    for number, name in enumerate(keys.tolist()):
        severed[number] = cut_cost.get((name // 64, name % 64), 0.0)
    hangs = np.array([name in held for name in keys.tolist()])
    return rank[piece], part_of[order], severed[order], hangs[order]


def _hangers(
    groups: Ints, x: Ints, y: Ints, boxes: Ints, h: float, pen: float
) -> dict[int, tuple[Ints, Ints]]:
    """Commas that touch a digit: for the digit's group, the comma's pixels and the digit's near it.

    A comma is narrow ink that hangs from a level stroke at the bottom of a digit, below where the
    other digits end. The stems of 4, 7 and 9 begin higher up.
    """
    tall = np.flatnonzero(boxes[:, 3] - boxes[:, 1] > FULL_HEIGHT * h)
    if len(tall) < 2:
        return {}
    found = {}
    for group in tall.tolist():
        others = np.sort(boxes[tall[tall != group], 3])
        line = float(others[(len(others) - 1) // 2])
        if not HANGING[0] * h < boxes[group, 3] - line < HANGING[1] * h:
            continue
        own = np.flatnonzero((groups == group) & (y > line - HANGING_FROM * h))
        comma = _comma(x[own], y[own], line, h, pen)
        hangs, rest = own[comma], own[~comma]
        if len(hangs) and len(rest):
            reach = pen + np.ptp(x[hangs]) / 2
            near = rest[(np.abs(x[rest] - x[hangs].mean()) <= reach)]
            near = near[y[near] > y[hangs].min() - HANGING_REACH * pen]
            if len(near):
                found[group] = hangs, near
    return found


def _comma(x: Ints, y: Ints, line: float, h: float, pen: float) -> NDArray[np.bool_]:
    """Which of the pixels of a digit's lower part are a comma that hangs from it."""
    first = int(y.min())
    rows = y - first
    left = np.full(int(rows.max()) + 1, 1 << 30)
    right = np.full(len(left), -1)
    np.minimum.at(left, rows, x)
    np.maximum.at(right, rows, x)
    widths = right - left + 1
    wide = np.flatnonzero(widths > NARROW * pen)
    if not len(wide):
        return np.zeros(len(x), np.bool_)
    top = int(wide[-1]) + 1  # the first row of the comma
    above = widths[max(0, top - max(1, round(pen))) : top]
    long = len(left) - top > max(HANGING[0] * h, pen)
    if long and above.max() > LEVEL * pen and abs(first + top - line) < HANGING_AT * h:
        return np.asarray(rows >= top)
    return np.zeros(len(x), np.bool_)


def _seams(strip: Floats) -> tuple[Floats, Callable[[int], Ints]]:
    """The seams from top to bottom that cross the least ink, one through each column's middle.

    Returns the cost by column, and a function from a column to the seam's column by row.
    """
    height, width = strip.shape
    middle = height // 2
    # From the top and from the bottom to the middle, both at once. A shorter lower half begins with
    # a blank row. No seam passes the sides.
    halves = np.zeros((middle + 1, 2, width), np.float32)
    halves[:, 0] = strip[: middle + 1]
    halves[middle - height :, 1] = strip[middle:][::-1]
    costs = np.full((len(halves), 2, width + 2), NO_SEAM, np.float32)
    costs[0, :, 1:-1] = halves[0]
    for before, after, row in zip(costs[:-1], costs[1:], halves[1:], strict=True):
        aside = np.minimum(before[:, :-2], before[:, 2:])
        aside += SIDESTEP
        np.minimum(aside, before[:, 1:-1], out=aside)
        np.add(aside, row, out=after[:, 1:-1])
    straight, left, right = costs[:, :, 1:-1], costs[:, :, :-2], costs[:, :, 2:]
    steps = np.where(left <= right, np.int8(-1), np.int8(1))
    steps[straight <= np.minimum(left, right) + np.float32(SIDESTEP)] = 0

    def path(column: int) -> Ints:
        found = np.empty(height, np.intp)
        for half, rows in enumerate((range(middle, -1, -1), range(middle, height))):
            at = column
            for number, row in enumerate(rows):
                if number:
                    at += int(steps[-1 - number, half, at])
                found[row] = at
        return found

    return costs[-1, 0, 1:-1] + costs[-1, 1, 1:-1] - strip[middle], path


def _seeds(costs: Floats, h: float, pen: float) -> list[int]:
    """The columns of the cuts through one part: the cheapest, but never too close together."""
    distance, inset = max(2, round(CUT_DISTANCE * h)), max(2, round(CUT_INSET * pen))
    around = cv2.erode(costs[None], np.ones((1, 2 * (distance // 2) + 1), np.uint8))[0]
    usable = (costs < MOST_SEVERED * pen) & (costs <= around + 1e-3)
    usable[:inset] = False
    usable[len(costs) - inset :] = False
    most = max(1, round(CUTS * len(costs) / h)) + 1
    seeds: list[int] = []
    left = np.where(usable, costs, np.inf)
    while len(seeds) < most and np.isfinite(left).any():
        low = left.min()
        run = np.flatnonzero(left <= low + 1e-3)
        first = run[0]
        last = first
        while last + 1 < len(left) and left[last + 1] <= low + 1e-3:
            last += 1
        seed = int((first + last) // 2)
        seeds.append(seed)
        left[max(0, seed - distance + 1) : seed + distance] = np.inf
    return sorted(seeds)


def _leans(piece: Ints, x: Ints, y: Ints, count: int, tall: NDArray[np.bool_]) -> Floats:
    """How far each piece leans to the right, (count,): a tangent, less the other pieces' median."""
    n = np.bincount(piece, minlength=count).astype(np.float64)
    mx, my = np.bincount(piece, x) / n, np.bincount(piece, y) / n
    dx, dy = x - mx[piece], y - my[piece]
    yy = np.bincount(piece, dy * dy)
    xy = np.bincount(piece, dx * dy)
    lean = -xy / np.maximum(yy, 1e-6)  # the shear that makes the piece upright
    others = np.flatnonzero(tall)
    found = np.empty(count, np.float32)
    for number in range(count):
        rest = lean[others[others != number]]
        found[number] = lean[number] - (np.median(rest) if len(rest) else UPRIGHT_LEAN)
    return found


def cuts_of(pieces: Pieces) -> list[tuple[int, tuple[Point, Point]]]:
    """Each cut through ink: the piece on its right, and its upper and lower end in `ink`."""
    left, right = pieces.labels[:, :-1], pieces.labels[:, 1:]
    rows, columns = np.nonzero((left != right) & (left > 0) & (right > 0))
    later = np.maximum(left, right)[rows, columns] - 1
    found = []
    for number in np.flatnonzero(pieces.severed > 0).tolist():
        own = later == number
        if own.any():  # rows come in order
            x, y = columns[own] + 1, rows[own]
            found.append((number, ((int(x[0]), int(y[0])), (int(x[-1]), int(y[-1]) + 1))))
    return found


# Candidates --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Candidates:
    """Runs of neighbouring pieces that may be one digit."""

    spans: Ints  # (M, 2): the first piece, and the one after the last
    boxes: Floats  # (M, 4): left, top, right, bottom, made upright
    gaps: Floats  # (M,) digit heights: the widest gap inside


def candidates_of(pieces: Pieces) -> Candidates:
    """All runs of one to `MOST_IN_ONE` neighbouring pieces that are as small as a digit."""
    h = pieces.height
    spans, boxes, gaps = [], [], []
    for first in range(len(pieces.boxes)):
        left, top, right, bottom = pieces.boxes[first].tolist()
        widest = 0.0
        for last in range(first, min(first + MOST_IN_ONE, len(pieces.boxes))):
            box = pieces.boxes[last].tolist()
            if pieces.cells[last] != pieces.cells[first]:
                break
            widest = max(widest, (box[0] - right) / h)
            left, top = min(left, box[0]), min(top, box[1])
            right, bottom = max(right, box[2]), max(bottom, box[3])
            if last > first and (widest > WIDEST_GAP or right - left > WIDEST * h):
                break
            size = max(right - left, bottom - top)
            if size < SMALLEST * h or size > LARGEST * h:
                continue  # a point, or a drawing
            spans.append((first, last + 1))
            boxes.append((left, top, right, bottom))
            gaps.append(widest)
    return Candidates(
        np.array(spans, np.intp).reshape(-1, 2),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(gaps, np.float32),
    )


def canvas_of(pieces: Pieces, first: int, stop: int) -> Canvas:
    """The canvas of the pieces from `first` to before `stop`, drawn with the line's pen."""
    left, top = pieces.corners[first:stop, :2].min(axis=0)
    right, bottom = pieces.corners[first:stop, 2:].max(axis=0)
    window = np.s_[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]
    labels = pieces.labels[window]
    own = ((labels > first) & (labels <= stop)).astype(np.uint8)
    others = (labels > 0) & (own == 0)
    near = cv2.dilate(own, np.ones((3, 3), np.uint8))
    near[others] = 0
    return frame(_with_pen(pieces.ink[window] * near, pieces.pen))


def _with_pen(ink: Floats, pen: float) -> Floats:
    """The ink as `set_pen` leaves it, but with a pen of known width in pixels."""
    scale = BOX_SIZE / max(ink.shape)
    width = pen * scale
    target = STROKE if width < 0.75 * STROKE else MARKER if width > 1.15 * MARKER else width
    grow = round((target - width) / 2 / scale)
    if not grow or -2 * grow >= min(ink.shape):
        return ink
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(grow) + 1,) * 2)
    if grow > 0:
        wide = cv2.copyMakeBorder(ink, *(grow,) * 4, cv2.BORDER_CONSTANT, value=0)
        return np.asarray(cv2.dilate(wide, disc), np.float32)
    thin = np.asarray(cv2.erode(ink, disc), np.float32)
    return thin if thin.max() > 0.9 else ink
