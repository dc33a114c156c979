"""Finds long thin lines in ink, and removes them: rules, the squares of graph paper, combs, boxes.

A line may slope up to `STEEPEST`. Where a stroke crosses it, where the ink is darker than the line,
and where the ink is thicker than the line, the ink stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.framing import Floats
from lenet_digits.reading.pictures import Bytes

# All these were tuned on the open real-world sets and on drawn surroundings, 2026-11.
FEWEST_COLUMNS = 8  # that a line is fitted to, and that it is long
ROUNDS = 3  # of fitting; each leaves out what lies far from the line that was found before
FAR = 1.5  # times the median distance of columns from a line: what lies farther is left out
SCRAPS = 6  # columns: what is narrower than that, and as tall as the widest line, is upright
BRIDGE = 2  # pieces of a line have gaps of less than their shortest length over this
GAP = 1 / 16  # of the width: the longest gap in a line, or three pixels
END = 1 / 25  # of the width: how far from the picture's edge a rule may end, or three pixels
RUN = 1 / 8  # of the width: the shortest straight piece of a rule, or three pixels
SHORTEST_RULE = 1 / 3  # of the width: its longest piece without a gap, at least
EDGE = 1 / 50  # of the longest side: what is nearer to the edge reaches it, or two pixels
NOISE = 0.03  # of white: added to a line's contrast before ink is called darker
COMB_REACH = 5  # pixels: the window in which ticks touch a line
SIDE, SIDE_RUN, SIDE_WIDTH = 0.6, 1 / 6, 1 / 8  # of a box: its sides' length, pieces, most width
APART = 0.5  # of its height: the least between two sides of a box
RIM, RIM_BY = 1.5, 1.0  # times the usual depth of the first paper, and pixels: the rim of a circle
STEEPEST = 0.1  # rows a column: 5.7 degrees
DARKER = 1.35  # times a line's contrast: from here on the ink is a stroke, not the line
STRAIGHT = 1.5  # pixels: how far a line may lie from the straight one through it, on average
COVERED = 0.75  # of its length: less, and it is not a line but a row of strokes
WIDEST_RULE = 1 / 32  # of the longest side: a wider line is a stroke, or the border of a cell
WIDEST_BORDER = 0.16  # of the longest side: what is wider is not a line at all
EDGE_ZONE = 0.2  # of the picture's height: the borders of a cell lie within
CONVEX = 0.9  # of the convex hull's area: an outline with less is not a box or circle
SMALLEST_OUTLINE = 0.3  # of the picture's longest side
LEAST_CONTENT = 0.35  # of an outline's longest side: less inside it is a dot or dirt
OFF_CENTRE = 0.25  # of an outline's longest side: how far from its middle the content may lie
BOXY = 0.7  # of its bounding box: the least that the outline of a box encloses
HOLLOW = 0.5  # of its bounding box: the most that is ink
ROUND = 0.75, 0.85  # of its bounding box: what the outline of a circle encloses, pi/4 on average
NARROWEST_CIRCLE = 0.8  # shorter to longer side: a narrower one is a 0
EVEN = 0.6  # of all directions: how often the rim of a circle is seen at its usual width, at least
DIRECTIONS = 36  # in which the rim of a circle is measured
WIDEST_RIM = 0.15  # of a circle's longer side
LEAST_CIRCLED = 0.5  # of a circle's longer side: the digit that touches it; less is a loop of a 0
THINNEST = 0.25  # shorter to longer side: a thinner digit in a circle may be the stroke of a 0
TICK = 3.0  # height to width, at least, of the ticks of a comb
TICK_FILLED = 1 / 3  # of a tick's bounding box, at least, is ink
SMALLEST_DIGIT = 0.15  # of the shorter side: what is left without lines is a digit from here on

Outlines = tuple[list[Any], list[Any]]  # of parts, and of holes in them: OpenCV's, (N, 1, 2) int32


@dataclass(frozen=True)
class Line:
    """A nearly level line: its row is ``row + slope * column``, all in pixels."""

    row: float
    slope: float
    begin: int  # first column
    end: int  # column after the last one
    width: float  # median

    def rows(self, columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """Where the line is in some columns."""
        return np.asarray(self.row + self.slope * columns, np.float64)


def level_lines(mask: Bytes, *, least: int, run: int, widest: int) -> list[Line]:
    """The lines in a (H, W) mask that are `least` pixels long or longer, and nearly level.

    `run` is the shortest straight piece, in pixels, that is looked for; `widest` is the width, in
    pixels, from which on ink is a stroke or a border. For upright lines, turn the mask.
    """
    padded = cv2.copyMakeBorder(mask, widest, widest, 0, 0, cv2.BORDER_CONSTANT, value=0)
    # Narrow upright lines, as graph paper has them, do not count: they must not cut level ones.
    solid = cv2.morphologyEx(padded, cv2.MORPH_OPEN, np.ones((widest, SCRAPS), np.uint8))
    thin = mask - solid[widest:-widest]
    runs = cv2.dilate(thin, np.ones((3, 1), np.uint8))  # lets a line climb a little
    runs = cv2.morphologyEx(runs, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
    runs = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((1, max(3, run // BRIDGE)), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    lines = []
    for label in range(1, count):
        left, top, length, height, _ = stats[label]
        if length < least or height > 2 * STEEPEST * length + widest:
            continue
        part = (labels[top : top + height, left : left + length] == label) & (
            thin[top : top + height, left : left + length] > 0
        )
        line = _fitted(part, left, top, mask)
        if line is not None and line.end - line.begin >= least:
            lines.append(line)
    return lines


def _fitted(part: NDArray[np.bool_], left: int, top: int, mask: Bytes) -> Line | None:
    """The straight line through most of the columns of a part of a mask."""
    weights = np.ones((2, len(part)), np.float32)
    weights[1] = np.arange(len(part))
    counts, moments = weights @ part.astype(np.float32)  # exact: they are whole numbers
    columns = np.flatnonzero(counts)
    if len(columns) < FEWEST_COLUMNS:
        return None
    middles = moments[columns].astype(np.float64) / counts[columns]
    widths = counts[columns]
    good = widths <= _median(widths) + 1
    for _ in range(ROUNDS):
        if good.sum() < FEWEST_COLUMNS:
            return None
        x, y = columns[good], middles[good]
        middle_x, middle_y = x.sum() / len(x), y.sum() / len(y)  # `mean` takes twice as long
        off_x = x - middle_x
        slope = float(off_x @ y / max(1.0, float(off_x @ off_x)))
        row = float(middle_y - slope * middle_x)
        off = np.abs(middles - row - slope * columns)
        before, good = good, off <= max(STRAIGHT, FAR * _median(off))
        if np.array_equal(before, good):  # the same line would be found again
            break
    if abs(slope) > STEEPEST or off[good].mean() > STRAIGHT:
        return None
    row += top - slope * left
    height, width = mask.shape
    everywhere = np.arange(width)
    rows = np.rint(row + slope * everywhere).astype(int)
    # A margin of paper, so that the line may leave the mask; then each row has its neighbours' ink.
    tall = cv2.copyMakeBorder(mask, 2, 2, 0, 0, cv2.BORDER_CONSTANT, value=0)
    thick = cv2.dilate(tall, np.ones((3, 1), np.uint8))
    band = thick[(rows + 2).clip(0, height + 3), everywhere]
    _, gap = _tolerances(width)
    covered = cv2.morphologyEx(band[None], cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))[0]
    middle = left + int(columns[good][good.sum() // 2])
    holes = np.flatnonzero(covered == 0)
    before, after = holes[holes < middle], holes[holes > middle]
    begin = int(before[-1]) + 1 if len(before) else 0
    end = int(after[0]) if len(after) else width
    if end - begin < FEWEST_COLUMNS or band[begin:end].mean() < COVERED:
        return None
    return Line(float(row), float(slope), begin, end, _median(widths[good]))


def _median(values: NDArray[Any]) -> float:
    """The median, as NumPy's own, which takes several times as long for so few values."""
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2)


def line_pixels(line: Line, mask: Bytes, contrast: Floats) -> NDArray[np.bool_]:
    """What a line covers alone, (H, W): strokes that cross it or lie on it are left out."""
    height = len(mask)
    half = int(np.ceil(line.width / 2)) + 1
    reach = half + 2
    columns = np.arange(line.begin, line.end)
    middle = np.rint(line.rows(columns)).astype(int)
    shifts = np.arange(-reach, reach + 1)[:, None]
    rows = middle + shifts
    outside = (rows < 0) | (rows >= height)
    rows = rows.clip(0, height - 1)
    ink = np.where(outside, 0, mask[rows, columns])
    strength = np.where(outside, 0, contrast[rows, columns])
    band = slice(reach - half, reach + half + 1)
    peak = strength[band].max(axis=0)
    above = ink[: reach - half].all(axis=0)
    below = ink[reach + half + 1 :].all(axis=0)
    typical = float(np.median(peak[~(above | below)])) if (~(above | below)).any() else 0.0
    crossing = (above & below) | (peak > DARKER * typical + NOISE)
    crossing = cv2.dilate(crossing.astype(np.uint8)[None], np.ones((1, 3), np.uint8))[0] > 0
    removed = np.zeros(mask.shape, np.bool_)
    taken = (ink[band] > 0) & ~crossing
    removed[rows[band][taken], np.broadcast_to(columns, taken.shape)[taken]] = True
    return removed


def without_rules(mask: Bytes, contrast: Floats) -> Bytes:
    """The mask without thin lines that run from edge to edge, past the digit at both ends."""
    level = _rules(mask, contrast) if _is_spanned(mask.max(axis=0)) else None
    turned = np.asarray(cv2.transpose(mask), np.uint8)
    upright = _rules(turned, contrast.T) if _is_spanned(turned.max(axis=0)) else None
    if level is None and upright is None:
        return mask
    nowhere = np.zeros(mask.shape, np.bool_)
    level = nowhere if level is None else level
    upright = nowhere if upright is None else upright.T
    rest = np.where(level | upright, 0, mask)
    opened = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    _, _, parts, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if len(parts) < 2:
        return mask
    x, y, w, h, _ = parts[1 + parts[1:, cv2.CC_STAT_AREA].argmax()]  # the digit
    height, width = mask.shape
    edge = max(2, int(EDGE * max(height, width)))
    if max(w, h) <= SMALLEST_DIGIT * min(height, width):
        return mask
    if edge <= x and x + w <= width - edge:
        mask = _without_ticks(np.where(level, 0, mask), level)
    if edge <= y and y + h <= height - edge:
        mask = np.where(upright, 0, mask)
    return mask


def _without_ticks(mask: Bytes, level: NDArray[np.bool_]) -> Bytes:
    """The mask without the short upright lines that stand on level ones, as in a comb."""
    if not level.any():
        return mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    near = cv2.dilate(level.astype(np.uint8), np.ones((COMB_REACH, 1), np.uint8))
    touching = np.unique(labels[near > 0])
    _, _, width, height, area = stats.T
    ticks = (height > TICK * width) & (TICK_FILLED * height * width < area)
    ticks &= np.isin(np.arange(count), touching)
    ticks[[0, int(area[1:].argmax()) + 1 if count > 1 else 0]] = False
    return np.asarray(mask * ~ticks[labels], np.uint8) if ticks.any() else mask


def outlines_in(mask: Bytes) -> Outlines:
    """The outlines of the parts of a mask, and those of the holes in them."""
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    holes = [] if tree is None else (tree[0, :, 3] >= 0).tolist()  # whether each has a parent
    parts: Outlines = ([], [])
    for outline, hole in zip(outlines, holes, strict=True):
        parts[hole].append(outline)
    return parts


def within_outline(mask: Bytes, outlines: Outlines) -> Bytes:
    """What lies inside a box or a circle that is drawn around ink; else the mask itself.

    The outline must be convex, with ink in its middle that does not touch it.
    """
    parts, holes = outlines
    if len(parts) < 2:
        return mask
    boxes: list[Any] = []
    best = None
    for hole in holes:
        left, top, width, height = cv2.boundingRect(hole)
        if max(width, height) < SMALLEST_OUTLINE * max(mask.shape):
            continue
        area = cv2.contourArea(hole)
        if area < CONVEX * cv2.contourArea(cv2.convexHull(hole)):
            continue
        boxes = boxes or [cv2.boundingRect(part) for part in parts]
        for x, y, w, h in boxes:
            if max(w, h) < LEAST_CONTENT * max(width, height):
                continue
            off = max(abs(x + w / 2 - left - width / 2), abs(y + h / 2 - top - height / 2))
            within = left < x and top < y and x + w < left + width and y + h < top + height
            if within and off < OFF_CENTRE * max(width, height) and (not best or area < best[0]):
                best = area, hole
    if best is None:
        return mask
    inside = np.zeros_like(mask)
    cv2.drawContours(inside, [best[1]], 0, 1, cv2.FILLED)
    rim = np.zeros_like(mask)  # OpenCV draws a hole with the ink around it
    cv2.drawContours(rim, [best[1]], 0, 1, 1)
    return np.asarray(mask & inside & (1 - rim), np.uint8)


def without_box(mask: Bytes, contrast: Floats, outlines: Outlines) -> Bytes:
    """The mask without a box around the digit that the digit touches or crosses."""
    parts, holes = outlines
    if not holes:
        return mask
    outline = max(parts, key=lambda each: float(cv2.contourArea(each)))
    left, top, width, height = cv2.boundingRect(outline)
    if min(width, height) < SMALLEST_OUTLINE * max(mask.shape):
        return mask
    if cv2.contourArea(outline) < BOXY * width * height:
        return mask
    box = slice(top, top + height), slice(left, left + width)
    part = np.ascontiguousarray(mask[box])
    if np.count_nonzero(part) > HOLLOW * part.size:
        return mask
    strength = contrast[box]
    level = _two_sides(part, strength)
    if level is None:
        return mask
    upright = _two_sides(np.ascontiguousarray(part.T), strength.T)
    if upright is None:
        return mask
    rest = np.where(level | upright.T, 0, part)
    rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    if max(cv2.boundingRect(rest)[2:]) < LEAST_CONTENT * max(width, height):
        return mask
    mask = mask.copy()
    mask[box] = rest
    return mask


def without_circle(mask: Bytes, outlines: Outlines) -> Bytes:
    """The mask without a circle around the digit that the digit touches.

    A 0 with a loop or with one stroke through it stays whole.
    """
    parts, holes = outlines
    if not holes:
        return mask
    outline = max(parts, key=lambda each: float(cv2.contourArea(each)))
    left, top, width, height = cv2.boundingRect(outline)
    shorter, longer = sorted((width, height))
    if longer < SMALLEST_OUTLINE * max(mask.shape) or shorter < NARROWEST_CIRCLE * longer:
        return mask
    area = cv2.contourArea(outline)
    if not ROUND[0] < area / (width * height) < ROUND[1]:
        return mask
    if area < CONVEX * cv2.contourArea(cv2.convexHull(outline)):
        return mask
    inside = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(inside, [outline], 0, 1, cv2.FILLED)
    box = slice(top, top + height), slice(left, left + width)
    framed = cv2.copyMakeBorder(inside[box], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 3), np.float32)[1:-1, 1:-1]
    part = mask[box]
    rim = _rim(part, depth)
    if not 0 < rim < WIDEST_RIM * longer:
        return mask
    rest = np.where(depth > rim, part, 0).astype(np.uint8)
    rest = np.asarray(cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)), np.uint8)
    found, _ = outlines_in(rest)
    if not found:
        return mask
    middle, sides, _ = cv2.minAreaRect(max(found, key=lambda each: float(cv2.contourArea(each))))
    off = max(abs(middle[0] - width / 2), abs(middle[1] - height / 2))
    if max(sides) < LEAST_CIRCLED * longer or off > OFF_CENTRE * longer:
        return mask
    if min(sides) < THINNEST * max(sides):
        return mask
    mask = mask.copy()
    mask[box] = rest
    return mask


def _rim(part: Bytes, depth: Floats) -> float:
    """How deep the rim of a circle reaches, in pixels; 0 where the outline has no even rim.

    `depth` is how deep each pixel lies inside the outline. In most directions from the middle, the
    first paper lies behind the rim.
    """
    height, width = part.shape
    rows, columns = np.nonzero((part == 0) & (depth > 0))
    angle = np.arctan2(rows - height / 2, columns - width / 2) / (2 * np.pi)
    first = np.full(DIRECTIONS, np.inf)
    np.minimum.at(first, (angle * DIRECTIONS).astype(int) % DIRECTIONS, depth[rows, columns])
    rim = RIM * float(np.median(first)) + RIM_BY  # what is left of a wider place is opened away
    return rim if np.mean(first < rim) >= EVEN else 0


def _two_sides(part: Bytes, contrast: Floats) -> NDArray[np.bool_] | None:
    """Where the upper and the lower side of a box are that a mask holds; None without them."""
    height, width = part.shape
    lines = level_lines(
        part,
        least=round(SIDE * width),
        run=max(3, int(SIDE_RUN * width)),
        widest=max(4, int(SIDE_WIDTH * height)),
    )
    if len(lines) < 2:
        return None
    rows = [float(line.rows(np.array([width // 2]))[0]) for line in lines]
    if max(rows) - min(rows) < APART * height:
        return None
    ends = lines[rows.index(min(rows))], lines[rows.index(max(rows))]
    return line_pixels(ends[0], part, contrast) | line_pixels(ends[1], part, contrast)


def _is_spanned(columns: Bytes) -> bool:
    """Whether ink, (W,) of 0 or 1, reaches from side to side, with gaps that a rule may have."""
    edge, gap = _tolerances(len(columns))
    return bool(cv2.dilate(columns[None], np.ones((1, 2 * (edge + gap) + 1), np.uint8)).all())


def _tolerances(width: int) -> tuple[int, int]:
    """How far from the picture's edge a rule may end, and how long its gaps are, in pixels."""
    return max(3, int(END * width)), max(3, int(GAP * width))


def _rules(mask: Bytes, contrast: Floats) -> NDArray[np.bool_] | None:
    """Where thin lines run from the left edge to the right one; None where none do."""
    width = mask.shape[1]
    edge, gap = _tolerances(width)
    run = max(3, int(RUN * width))
    runs = cv2.dilate(mask, np.ones((3, 1), np.uint8))
    runs = cv2.erode(runs, np.ones((1, run), np.uint8))[:, run // 2 : width - run // 2]
    if not (runs[:, : edge + gap].any() and runs[:, -edge - gap :].any()):
        return None
    removed = None
    widest = max(3, round(WIDEST_BORDER * max(mask.shape)))
    for line in level_lines(mask, least=int(SHORTEST_RULE * width), run=run, widest=widest):
        middle = float(line.rows(np.array([width // 2]))[0]) / mask.shape[0]
        inner = EDGE_ZONE < middle < 1 - EDGE_ZONE
        if inner and line.width > WIDEST_RULE * max(mask.shape):
            continue  # a stroke of a digit that fills the picture
        if line.begin <= edge and line.end >= width - edge:
            covered = line_pixels(line, mask, contrast)
            removed = covered if removed is None else removed | covered
    return removed
