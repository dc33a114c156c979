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
# Of the digit's height; the foot of a 1 or a 2 is shorter than a line that touches or does not.
LONG_TOUCHING, LONG_APART = 1.1, 0.8
PAST = 0.06  # of the height of all ink: how far a line under a digit runs past it, on both sides
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


def _lowest_flat_part(stats: NDArray[Any]) -> int | None:
    """The part, by its number, that is a line below all others."""
    lowest = int((stats[:, 1] + stats[:, 3]).argmax())
    x, y, w, h, area = stats[lowest]
    rest = np.delete(stats, lowest, axis=0)
    left, right = rest[:, 0].min(), (rest[:, 0] + rest[:, 2]).max()
    top, bottom = rest[:, 1].min(), (rest[:, 1] + rest[:, 3]).max()
    flat = w * w > FLAT * area and w > 2.5 * h
    below = y + h / 2 > bottom - 0.02 * (bottom - top) and bottom - top > 0.4 * w
    beside = min(right, x + w) - max(left, x) > SHORTEST_UNDERLINE * (right - left)
    long = w > max(LONG_APART * (bottom - top), SHORTEST_UNDERLINE * (right - left))
    return lowest if flat and below and beside and long else None


def _touching_line(
    mask: Bytes, ink: Floats, box: tuple[int, int, int, int]
) -> NDArray[np.bool_] | None:
    """Where a line is that the digit stands on, and that runs past it on both sides."""
    left, top, width, height = box
    part = np.ascontiguousarray(mask[top : top + height, left : left + width])
    strength = ink[top : top + height, left : left + width]
    widest = max(4, height // 5)
    # Such a line, however steep and wide, leaves these rows to the digit, which it runs past.
    above = int(FOOT * height - STEEPEST * width / 2 - widest / 2) - 5
    if above > 0:
        x, _, w, _ = cv2.boundingRect(_cleaned(part[:above]))
        if w and (x < PAST * height or x + w > width - PAST * height):
            return None
    for line in level_lines(part, least=round(0.75 * width), run=max(3, width // 4), widest=widest):
        if line.rows(np.array([width // 2]))[0] < FOOT * height:
            continue
        covered = line_pixels(line, part, strength)
        rest = _cleaned(np.asarray(part & ~covered, np.uint8))
        x, y, w, h = cv2.boundingRect(rest)
        margin = PAST * height
        past = line.begin <= x - margin and line.end >= x + w + margin
        foot = y + h <= line.rows(np.array([x + w // 2]))[0] + line.width + 2
        long = line.end - line.begin > LONG_TOUCHING * h
        if w and h > 0.5 * height and past and foot and long:
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
