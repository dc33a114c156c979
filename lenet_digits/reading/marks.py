"""Tells a digit from what is drawn with it: clutter beside it, a line under it, another digit.

All functions take ink, (H, W) float32 in [0, 1], as `ink.ink_of_one_digit` returns it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.framing import Floats
from lenet_digits.reading.lines import STEEPEST, level_lines, line_pixels
from lenet_digits.reading.pictures import Bytes

# Tuned on the open real-world sets and on drawn surroundings, 2026-11.
INKED = 0.3  # ink from here on belongs to a shape
MOST_PARTS = 60  # more, and it is a pattern, or noise
SOLID = 0.5  # thickness to size: from here on a part is a blob, not a stroke
FILLED, SOLID_BAR = 0.75, 0.25  # a part that fills so much of a box of such proportions is a bar
NEAR = 0.2  # of the digit's size: what is nearer may be its other stroke
BAR = 2.0  # times the digit's pen: a filled part that is wider is a bar or a button, not a minus
SIGN = 0.7  # of the digit's size: a flat part that is nearer may be a minus
AFAR = 2.0  # of the digit's size: what is farther does not belong to it, however small
PRINT = 4  # small parts, as many as print or the holes of a spiral have
RIVAL = 0.5  # of the digit's size: another shape of strokes from here on may be a digit, too
FLAT = 4.0  # length to thickness: from here on a part is a line
FOOT = 0.6  # of the digit's height: a line that it stands on lies below
SHORTEST_UNDERLINE = 0.5  # of the digit's width
LEVEL = 0.75  # of the width of all ink: a line that the digit touches is at least so long
RUNS = 4  # its straight pieces are at least the 4th part of that width
WIDEST = 5  # it is no wider than the 5th part of the height of all ink
# Of the digit's height; the foot of a 1 or a 2 is shorter than a line that touches or does not.
LONG_TOUCHING, LONG_APART = 1.1, 0.8
LYING = 2.5  # width to height of such a line, which may slope
SUNK = 0.02  # of the digit's height: how far it may reach below the middle of the line
LOWEST_DIGIT = 0.4  # of the line's length: the height of the digit on it
LEAST_ABOVE = 0.5  # of the height of all ink: the height of a digit that touches the line
PAST = 0.06  # of the height of all ink: how far a line under a digit runs past it, on both sides
DASH = (0.15, 0.9)  # of the digit's height: the length of a minus before it
DASH_AT = (0.25, 0.75)  # of the digit's height, from the top: where the minus is
DASH_FLAT = 3.0  # length to thickness of a minus, at least
SHORTEST_STRIKE = 40  # pixels of the picture at `ink.WORK_SIZE`: shorter ones are strokes
STEEPEST_STRIKE = 2.5  # rows a column: 68 degrees; steeper lines are stems, or of a dollar sign
ROOM = 1.3  # times its length: the side of the picture in which it is made level
TIP = 0.05  # of its length: the tips, which are rounded, do not tell its width
UNBROKEN = 0.97  # of its length is inked ...
CROSSED = 0.8  # ... and of the second line's, into which the first one may have left gaps
THICKEST_STRIKE = 0.12  # of its length
PAST_STRIKE = 0.05  # of its length: how far it runs past the digit, at either end
LEAST_STRUCK = 0.3  # of its length: the digit below it
ASIDE = 0.2  # of the digit's ink lies on either side
SLANT = 1.5  # of the line's width, about: how far a stroke moves sideways where it crosses
ALONG = 0.15  # of the picture in which it is level: a longer stroke beside it runs along it
CRUMB = 0.06  # of its length: smaller parts are left of the line itself
LEAST_HEIGHT = 0.28  # of all ink: each of two digits that stand one above the other
LEAST_WIDTH = 0.12  # of all ink: each of two digits side by side
GAP = 0.03  # of the height or width of all ink: a smaller gap is one in a stroke
EQUAL = 0.5  # one digit's height to the other's
TALL = (1.9, 4.5)  # height to width of two digits that touch, one above the other
MIDDLE = (0.38, 0.62)  # of the height: where they touch


def without_clutter(ink: Floats) -> Floats | None:
    """The ink without what lies beside the digit and is not like it; None where nothing is.

    That is a button, a finger, a spot of light, small print, the holes of a spiral. Two shapes of
    strokes of about one size both stay: they may be two digits, or a word.
    """
    mask = (ink > INKED).view(np.uint8)
    if not 2 <= _parts_in(mask) <= MOST_PARTS:
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes, areas = stats[1:, :4], stats[1:, cv2.CC_STAT_AREA]
    sizes, narrow = boxes[:, 2:].max(axis=1), boxes[:, 2:].min(axis=1)
    depth = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3), np.float32)
    thick = np.zeros(count, np.float32)
    np.maximum.at(thick, np.asarray(labels[mask > 0], np.intp), depth[mask > 0])
    filled = areas > FILLED * boxes[:, 2] * boxes[:, 3]
    solid = (2 * thick[1:] > SOLID * sizes) | (filled & (narrow > SOLID_BAR * sizes))
    strokes = np.where(solid, 0, sizes)
    if not strokes.any():
        return None
    main = int(strokes.argmax())
    left, top, width, height = (int(length) for length in boxes[main])
    size = max(width, height)
    dx = np.maximum(boxes[:, 0] - left - width, left - boxes[:, 0] - boxes[:, 2])
    dy = np.maximum(boxes[:, 1] - top - height, top - boxes[:, 1] - boxes[:, 3])
    away = np.maximum(dx, dy)
    flat = (sizes > FLAT * narrow) & (boxes[:, 2] > boxes[:, 3]) & (away > SIGN * size)
    pen = 2 * thick[1 + main]
    flat |= (sizes > FLAT / 2 * narrow) & (narrow > BAR * pen) & filled & (away > 0)
    small = sizes < RIVAL * size
    if (~solid & ~flat & ~small & (away > NEAR * size)).any():
        return None
    marks = small & (away < AFAR * size)  # a full stop, the dot of an i, the sign of a number
    kept = (away < NEAR * size) & (~solid | small) & ~flat
    if np.count_nonzero(marks & ~kept) < PRINT:
        kept |= marks & ~flat
    kept[main] = True
    if kept.all():
        return None
    keep = np.concatenate([[False], kept]).astype(np.uint8)[labels]
    around = cv2.dilate(keep, np.ones((5, 5), np.uint8))
    around[(mask > 0) & (keep == 0)] = 0
    return np.asarray(ink * around, np.float32)


def _parts_in(mask: Bytes) -> int:
    """How many parts a mask has."""
    left, top, width, height = cv2.boundingRect(mask)
    box = mask[top : top + height, left : left + width]
    return cv2.connectedComponents(box, connectivity=8)[0] - 1 if width else 0


def without_underline(ink: Floats) -> Floats | None:
    """The ink without a line under the digit; None where there is no such line."""
    mask = (ink > INKED).view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    foot = mask[top + int(FOOT * height) : top + height, left : left + width]
    if not len(foot) or np.count_nonzero(foot, axis=1).max() < SHORTEST_UNDERLINE * width:
        return None
    if _parts_in(mask) > 1:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        line = _lowest_flat_part(stats[1:])
        if line is not None:
            near = cv2.dilate((labels == line + 1).astype(np.uint8), np.ones((5, 5), np.uint8))
            return np.asarray(np.where(near > 0, 0, ink), np.float32)
    covered = _touching_line(mask, ink, (left, top, width, height))
    if covered is None:
        return None
    return np.asarray(np.where(covered, 0, ink), np.float32)


def without_minus(ink: Floats) -> Floats | None:
    """The ink without a short dash before the digit; None where there is no such dash."""
    mask = (ink > INKED).view(np.uint8)
    if not 2 <= _parts_in(mask) <= MOST_PARTS:
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    first = int(stats[1:, 0].argmin())
    x, y, w, h, area = stats[1 + first]
    rest = np.delete(stats[1:], first, axis=0)
    begin, top = rest[:, 0].min(), rest[:, 1].min()
    height = (rest[:, 1] + rest[:, 3]).max() - top
    before = x + w < begin - GAP * height
    level = DASH_AT[0] < (y + h / 2 - top) / height < DASH_AT[1]
    flat = w * w > DASH_FLAT * area and w > DASH_FLAT / 2 * h
    if not (before and level and flat and DASH[0] * height < w < DASH[1] * height):
        return None
    near = cv2.dilate((labels == 1 + first).view(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(np.where(near > 0, 0, ink), np.float32)


def without_strike(ink: Floats) -> Floats | None:
    """The ink without a straight line that strikes the digit through; None without such a line.

    The line is longer than the digit, so that its ends are the two points of the ink that are
    farthest from each other. It runs past the digit at both ends, with much of the digit on either
    side. Two such lines cross the digit out; then nothing is removed, and it is not read.
    """
    mask = (ink > INKED).view(np.uint8)
    line = _longest_line(mask, UNBROKEN)
    rest = _without_line(ink, mask, *line) if line else None
    crossed_out = rest is not None and _longest_line((rest > INKED).view(np.uint8), CROSSED)
    return None if crossed_out else rest


_Point = NDArray[np.float64]  # x, y


def _longest_line(mask: Bytes, inked: float) -> tuple[_Point, _Point] | None:
    """The ends of the line, the left one first, if the two farthest points of a mask end one.

    `inked` is the share of it that is ink, at least.
    """
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    corners = cv2.convexHull(np.concatenate(outlines)).reshape(-1, 2).astype(np.float64)
    away = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    one, two = np.unravel_index(int(away.argmax()), away.shape)
    length = float(away[one, two])
    begin, end = sorted((corners[one], corners[two]), key=lambda corner: float(corner[0]))
    across, down = end - begin
    if length < SHORTEST_STRIKE or abs(down) > STEEPEST_STRIKE * across:
        return None
    places = np.linspace(begin, end, int(length)).round().astype(int)
    if np.count_nonzero(mask[places[:, 1], places[:, 0]]) < inked * len(places):
        return None
    return begin, end


def _without_line(ink: Floats, mask: Bytes, begin: _Point, end: _Point) -> Floats | None:
    """The ink without the line between two points; None where it does not strike a digit through,
    or runs along a stroke of it."""
    across, down = end - begin
    length = float(np.hypot(across, down))
    # Turned until the line is level, in the middle of a picture into which all of it fits.
    side = 2 * int(ROOM * length / 2) + 1
    middle = (begin + end) / 2
    turn = cv2.getRotationMatrix2D(middle.tolist(), float(np.degrees(np.arctan2(down, across))), 1)
    turn = turn + np.array([[0, 0, shift] for shift in side // 2 - middle])
    level = np.asarray(cv2.warpAffine(ink, turn, (side, side)), np.float32)
    part = (level > INKED).view(np.uint8)
    tip = int((side - length) / 2 + TIP * length)
    row, width = _spine(part[:, tip : side - tip])
    if not 0 < width < THICKEST_STRIKE * length:
        return None
    rest = _without_band(part, row, width)
    if rest is None:
        return None
    left = _cleaned(rest)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(left, connectivity=8)
    crumbs = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    crumbs = np.asarray(crumbs < CRUMB * length)
    crumbs[0] = False
    left[crumbs[labels]] = 0
    x, _, w, h = cv2.boundingRect(left)
    margin = PAST_STRIKE * length
    past = x > (side - length) / 2 + margin and x + w < (side + length) / 2 - margin
    share = int(np.count_nonzero(left[: round(row)])) / max(1, int(np.count_nonzero(left)))
    if not past or max(w, h) < LEAST_STRUCK * length or not ASIDE < share < 1 - ASIDE:
        return None
    short, long = sorted(cv2.minAreaRect(cv2.findNonZero(left))[1])
    if long > FLAT * short:  # a cross, a plus, an X: two lines
        return None
    gone = _dilated(part & (1 - left), 3) * np.uint8(255)
    back = cv2.warpAffine(gone, turn, ink.shape[::-1], flags=cv2.WARP_INVERSE_MAP)
    rest = np.asarray(mask * (back < 128), np.uint8)
    return np.asarray(ink * _dilated(rest, 3), np.float32)  # with the soft edge of what is left


def _without_band(part: Bytes, row: float, width: float) -> Bytes | None:
    """A mask without a level line; strokes that cross it, also at a slant, stay whole.

    None where a stroke runs along the line, so that the two cannot be told apart.
    """
    half = int(np.ceil(width / 2)) + 1
    top, bottom = round(row) - half - 1, round(row) + half + 1
    rest = part.copy()
    rest[top + 1 : bottom] = 0
    above, below = _runs(part[top]), _runs(part[bottom])
    if max((end - begin for begin, end in above + below), default=0) > ALONG * part.shape[1]:
        return None
    if not (above and below):
        return rest
    bridges = np.zeros_like(part)
    off = np.abs([[sum(one) - sum(other) for other in below] for one in above]) / 2  # of middles
    pairs = {*enumerate(off.argmin(axis=1))} | {(n, m) for m, n in enumerate(off.argmin(axis=0))}
    for n, m in pairs:
        if off[n, m] <= SLANT * (bottom - top):
            (a, b), (c, d) = above[n], below[m]
            corners = np.array([[a, top], [b - 1, top], [d - 1, bottom], [c, bottom]], np.int32)
            cv2.fillConvexPoly(bridges, corners, 1)
    return np.asarray(rest | (bridges & part), np.uint8)


def _runs(row: Bytes) -> list[tuple[int, int]]:
    """Where the runs of 1 begin and end (exclusive) in a row of 0 and 1."""
    edges = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return [(int(begin), int(end)) for begin, end in edges]


def _dilated(mask: Bytes, side: int) -> Bytes:
    return np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), np.uint8)


def _spine(part: Bytes) -> tuple[float, float]:
    """The row of a level line through the middle of a mask, and its width; medians, in pixels."""
    middle = len(part) // 2
    blank = part[:, part[middle] > 0] == 0
    if not blank.size:
        return float(middle), 0.0
    up, down = blank[middle::-1].argmax(axis=0), blank[middle:].argmax(axis=0)
    return middle + float(np.median(down - up)) / 2, float(np.median(up + down - 1))


def _lowest_flat_part(stats: NDArray[Any]) -> int | None:
    """The part, by its number, that is a line below all others."""
    lowest = int((stats[:, 1] + stats[:, 3]).argmax())
    x, y, w, h, area = stats[lowest]
    rest = np.delete(stats, lowest, axis=0)
    left, right = rest[:, 0].min(), (rest[:, 0] + rest[:, 2]).max()
    top, bottom = rest[:, 1].min(), (rest[:, 1] + rest[:, 3]).max()
    height = bottom - top
    flat = w * w > FLAT * area and w > LYING * h
    below = y + h / 2 > bottom - SUNK * height and height > LOWEST_DIGIT * w
    beside = min(right, x + w) - max(left, x) > SHORTEST_UNDERLINE * (right - left)
    long = w > max(LONG_APART * height, SHORTEST_UNDERLINE * (right - left))
    return lowest if flat and below and beside and long else None


def _touching_line(
    mask: Bytes, ink: Floats, box: tuple[int, int, int, int]
) -> NDArray[np.bool_] | None:
    """Where a line is that the digit stands on, and that runs past it on both sides."""
    left, top, width, height = box
    part = np.ascontiguousarray(mask[top : top + height, left : left + width])
    strength = ink[top : top + height, left : left + width]
    widest = max(4, height // WIDEST)
    # Such a line, however steep and wide, leaves these rows to the digit, which it runs past.
    above = int(FOOT * height - STEEPEST * width / 2 - widest / 2) - 5
    if above > 0:
        x, _, w, _ = cv2.boundingRect(_cleaned(part[:above]))
        if w and (x < PAST * height or x + w > width - PAST * height):
            return None
    least, run = round(LEVEL * width), max(3, width // RUNS)
    for line in level_lines(part, least=least, run=run, widest=widest):
        if line.rows(np.array([width // 2]))[0] < FOOT * height:
            continue
        covered = line_pixels(line, part, strength)
        rest = _cleaned(np.asarray(part & ~covered, np.uint8))
        x, y, w, h = cv2.boundingRect(rest)
        margin = PAST * height
        past = line.begin <= x - margin and line.end >= x + w + margin
        foot = y + h <= line.rows(np.array([x + w // 2]))[0] + line.width + 2
        long = line.end - line.begin > LONG_TOUCHING * h
        if w and h > LEAST_ABOVE * height and past and foot and long:
            whole = np.zeros(mask.shape, np.bool_)
            wide = cv2.dilate(covered.astype(np.uint8), np.ones((3, 1), np.uint8)) > 0
            whole[top : top + height, left : left + width] = wide & (rest == 0)
            return whole
    return None


def _cleaned(mask: Bytes) -> Bytes:
    """The mask without what is a single pixel wide."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return np.asarray(opened, np.uint8)


def two_digits(ink: Floats) -> tuple[list[Floats], bool]:
    """The ink of two shapes that may be a digit each, and whether there is a gap between them.

    They stand one above the other or side by side. Without a gap, tall ink is cut where it is
    narrowest, near its middle. The list is empty where two digits are out of the question.
    """
    mask = (ink > INKED).view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return [], False
    part = mask[top : top + height, left : left + width]
    soft = ink[top : top + height, left : left + width]
    for axis in (0, 1):
        for place in _middles_of_gaps(part.max(axis=1 - axis) > 0):
            parts = np.split(soft, [place], axis=axis)
            sizes = [cv2.boundingRect((some > INKED).view(np.uint8))[2:] for some in parts]
            least = (LEAST_HEIGHT * height, LEAST_WIDTH * width)[axis]
            heights = [size[1] for size in sizes]
            along = [size[1 - axis] for size in sizes]
            if min(along) > least and min(heights) > EQUAL * max(heights):
                return parts, True
    if not TALL[0] * width < height < TALL[1] * width:
        return [], False
    begin, end = (round(share * height) for share in MIDDLE)
    if end <= begin:
        return [], False
    cut = begin + int(part[begin:end].sum(axis=1).argmin())
    return [soft[:cut], soft[cut + 1 :]], False


def _middles_of_gaps(lines: NDArray[np.bool_]) -> list[int]:
    """The middles of runs of False between runs of True, the longest run first."""
    edges = np.flatnonzero(np.diff(lines.astype(np.int8))).reshape(-1, 2)
    gaps = [(int(end - begin), int(begin + end) // 2 + 1) for begin, end in edges]
    return [middle for length, middle in sorted(gaps, reverse=True) if length > GAP * len(lines)]
