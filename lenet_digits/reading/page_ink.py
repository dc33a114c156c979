"""Finds the ink of a whole page at the scale of its digits, and the boxes that are printed on it.

Digits on a page may be 10 pixels high or 500. Here the page is brought to a size at which they are
about `DIGIT_HEIGHT` high. All thresholds then count in digit heights. Ruled lines, boxes and grids
are removed; where they form cells, the cells are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.framing import Floats
from lenet_digits.reading.pictures import Bytes, ImageInput, read

# Limits on time and memory.
PAGE_SIZE = 2000  # pixels: longest side, about, at which a page is read from its file
SURVEY_SIZE = 800  # pixels: longest side, at most, of the picture in which digits are measured
MOST_PIXELS = 3_000_000  # of the page that is segmented
MOST_MEASURED = 400  # parts that are measured: the largest
DIGIT_HEIGHT = 64.0  # pixels: height of a digit on the page that is segmented; 3 times a canvas's

# The others were tuned on the tune split of the open number sets, 2026-11.
# Scale
MOST_ENLARGED = 8.0  # a digit of 8 pixels is the smallest that can be read
MEASURED = (0.75, 1.33)  # of `DIGIT_HEIGHT`: what measures more or less is scaled once more
MOST_SCALED_UP = 3.0  # times: how much an enlarged page is enlarged further
LEAST_AREA, LEAST_SIZE = 6, 3  # pixels: area and longer side; smaller parts do not tell the height
HELD, HELD_MOST = 4.5, 0.9  # a part that holds others of 1 / 4.5 to 0.9 of its height is a box
ELONGATED = 6.0  # longer to shorter side: from here on a part is a line
SIDE_WEIGHT, MOST_WIDTH = 0.25, 1.5  # heights: added to a part's width in its weight, and the most
LIKENESS = 0.25  # natural logarithm: how much heights differ that count together
# Colours and paper
COLOUR_SIZE = 192  # pixels: longest side, at least, at which the colours of ink are judged
MEDIAN_REACH = 61  # pixels of that: the ground is the median of so many, wider than any stroke
STRONGEST = 50  # one of so many pixels tells the colour of the ink
COLOUR_NOISE = 5.0  # grey levels: noise that any channel has, at least
PLAIN = 3.0  # times the noise: what differs less from the ground does not tell light from dark
PAPER_REACH = 0.5  # digit heights: wider than any stroke, narrower than most shadows
SURVEY_REACH = 0.2  # of the shorter side: the same, before the height of the digits is known
DARKEST_PAPER = 0.1  # of white: contrast on darker paper would be noise
GREYS = 65535.0  # steps from black to white in which the paper is sought
# Ink; contrast is a share of the paper's light
NOISE = 4.0  # standard deviations of the paper's contrast: ink is above them ...
NOISE_OFFSET = 0.02  # ... and this contrast
STRONG = 0.4  # of the contrast of the darkest tenth of the ink: a part of the ink reaches this
WEAK = 0.22  # of the same: where ink ends
PALEST, FULL = 0.15, 0.9  # of the same: where ink is 0 and where it is 1
PARTED = 0.675  # share of the variance between ink and paper: plain noise has 0.61 to 0.66
FAINT = 0.04  # contrast: fainter ink counts only on clean paper ...
CLEAN = 0.8  # ... whose pixels it parts so well (see PARTED) ...
FAINTEST = 0.012  # ... and it is at least this dark
# Printed lines; lengths are in digit heights where nothing else is said
RULE_LENGTH = 1.6  # the shortest run that may be a printed line
RULE_PART = 0.5  # of that: its pieces without a gap are at least so long ...
RULE_PART_OF_PAGE = 0.4  # of the page's width: ... or so long, on a narrow page
RULE_WIDTH, MOST_WIDTH_OF_RULE = 0.2, 0.35  # the widest printed line ...
RULE_PENS = 1.5  # pen widths: ... or this, where that is more: on small pictures all lines are wide
RULE_GAP = 0.7  # the widest gap in a printed line
RULE_CLIMB, RULE_CLIMBS = 0.1, 1.5  # of its length, and times its width: the most that it climbs
RULE_SLOPES = (-0.07, 0.0, 0.07)  # tangents: with two pixels of tolerance, up to 5 degrees
SHORT_RULE = 1.1  # the shortest that meets another line at both of its ends
MEETS = 0.3  # an end that is so near to another line meets it
LONE_RULE = 3.0  # a line that meets no other is at least this long
EDGE = 0.5  # so near to the picture's edge, a long straight line is a cell's border
REACHES = 0.1  # a line that ends so near to the picture's edge runs to it
LEFT_OVER, LEFT_OVER_WIDTH = 0.5, 0.2  # share of a part beside lines, and its width: their remnant
# Cells; lengths are in digit heights
CELL_GAP, WALL_GAP = 0.6, 0.9  # the widest gaps in the level and in the upright lines around it
CELL_FILLED = 0.8  # of its box is inside of its lines
CELL_LOW, CELL_HIGH, CELL_NARROW, CELL_WIDE = 0.9, 5.0, 0.5, 30.0  # least and most of its sides
CELL_APART = 0.4  # two cells of a row that are nearer share an upright line

Ints = NDArray[np.intp]
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom exclusive


@dataclass(frozen=True, eq=False)
class Page:
    """The ink of a whole picture, brought to the scale of its digits."""

    ink: Floats  # (H, W) in [0, 1], without printed lines
    mask: Bytes  # (H, W), 1 where there is ink
    scale: float  # pixels here for each pixel of the picture
    digit_height: float  # pixels here: the height of most digits
    cells: list[Box]  # of printed grids, row by row; empty where no lines form two cells


def picture_of(image: ImageInput) -> Bytes:
    """The upright picture of a page: (H, W, 3), or (H, W) where it is the alpha of a layer of ink.

    Raises as `pictures.read` does.
    """
    picture = read(image, fine_size=PAGE_SIZE)
    return picture if picture.shape[2] == 3 else np.asarray(cv2.extractChannel(picture, 3))


def page_of(picture: Bytes) -> Page | None:
    """The ink of a picture, as `picture_of` returns it; None where there is none."""
    layer = picture.ndim == 2  # its alpha says what is ink
    grey = np.asarray(picture / np.float32(255), np.float32) if layer else grey_of(picture)

    def contrast_at(scale: float, reach: float) -> Floats:
        resized = _resized(grey, scale)
        return np.clip(resized, 0, 1) if layer else _contrast(resized, reach)

    scale = min(1.0, SURVEY_SIZE / max(grey.shape))
    reach = SURVEY_REACH * min(grey.shape) * scale
    height = _height_of_digits(_mask(contrast_at(scale, reach)))
    for _ in range(2):
        if height is None:
            return None
        scale *= min(MOST_SCALED_UP, DIGIT_HEIGHT / height) if scale > 1 else DIGIT_HEIGHT / height
        scale = min(scale, MOST_ENLARGED, (MOST_PIXELS / grey.size) ** 0.5)
        contrast = contrast_at(scale, PAPER_REACH * DIGIT_HEIGHT)
        mask = _mask(contrast)
        height = _height_of_digits(mask)
        if height is None or MEASURED[0] < height / DIGIT_HEIGHT < MEASURED[1]:
            break
    if height is None:
        return None
    mask, rules = _without_rules(mask, height)
    cells = _cells(rules, height) if rules is not None else []
    if rules is not None:  # a box is no longer taken for a digit
        height = _height_of_digits(mask)
        if height is None:
            return None
    ink = _soft(contrast, mask)
    return Page(ink, mask, scale, height, cells)


def grey_of(picture: Bytes) -> Floats:
    """The (H, W, 3) picture as (H, W) float32 in [0, 1], its ink dark on light.

    Ink is what differs from the median of its surroundings. The colours are mixed by a matched
    filter: a channel counts as the ink stands out in it, against the noise it has.
    """
    colours = np.asarray(cv2.extractChannel(picture, 0)) if _is_grey(picture) else picture
    factor = max(1, max(picture.shape[:2]) // COLOUR_SIZE)
    height, width = (max(1, length // factor) for length in picture.shape[:2])
    whole = colours[: height * factor, : width * factor]
    small = cv2.split(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))
    reach = min(MEDIAN_REACH, max(3, min(height, width) // 2)) | 1
    rest = np.stack([cv2.subtract(each, cv2.medianBlur(each, reach), dtype=cv2.CV_32F).ravel()
                     for each in small])  # fmt: skip
    strength = np.abs(rest).max(axis=0)
    rank = len(strength) - len(strength) // STRONGEST - 1
    sample = strength >= np.sort(strength)[rank]
    noise = np.sort(np.abs(rest), axis=1)[:, rest.shape[1] // 2] + COLOUR_NOISE
    grey_rest = rest.mean(axis=0)
    dark, light = (
        float((np.maximum(sign * grey_rest - PLAIN * noise.mean(), 0) ** 2).sum())
        for sign in (-1, 1)
    )
    chosen = sample & (grey_rest > 0 if light > dark else grey_rest < 0)
    signal = np.abs(rest[:, chosen if chosen.any() else sample].mean(axis=1)) + 1e-3
    weights = signal / noise**2
    weights = np.asarray(weights / weights.sum(), np.float32)
    grey = colours if len(weights) == 1 else cv2.transform(picture, weights[None])
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    return np.asarray(cv2.LUT(grey, 1 - levels if light > dark else levels), np.float32)


def _is_grey(picture: Bytes) -> bool:
    """Whether all channels of a picture, (H, W, 3), are the same."""
    for step in (16, 1):  # few pixels tell most pictures in colour from grey ones
        red, green, blue = np.moveaxis(picture[::step, ::step], 2, 0)
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return False
    return True


def _resized(grey: Floats, scale: float) -> Floats:
    if scale == 1:
        return grey
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=way), np.float32)


def _contrast(grey: Floats, reach: float) -> Floats:
    """The share of its paper's light that each pixel's ink takes: ink bright on an even ground."""
    smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), np.float32)
    paper = np.maximum(_paper(smooth, reach), smooth)
    taken = paper - smooth
    taken /= np.maximum(paper, np.float32(DARKEST_PAPER))
    return taken


def _paper(grey: Floats, reach: float) -> Floats:
    """The paper without the ink: a closing by squares of side `reach`, evened out.

    Numbers of 16 bits are twice as fast here as floats.
    """
    side = max(3, round(reach)) | 1
    greys = cv2.addWeighted(grey, GREYS, grey, 0.0, 0.0, dtype=cv2.CV_16U)
    wide = cv2.copyMakeBorder(greys, *(side - 1,) * 4, cv2.BORDER_REPLICATE)
    closed = _extremes(_extremes(wide, side, cv2.max), side, cv2.min)
    paper = np.asarray(closed * np.float32(1 / GREYS), np.float32)
    return np.asarray(cv2.blur(paper, (side, side)), np.float32)


def _extremes(values: Any, side: int, extreme: Callable[[Any, Any], Any]) -> Any:
    """The extreme of each square of `side` pixels: `cv2.max` or `cv2.min`.

    It comes from the extremes of runs of 2, 4, 8, ... pixels. The result has ``side - 1`` rows and
    columns less than ``values``.
    """
    for axis in (0, 1):
        run = 1
        while run < side:
            step = min(run, side - run)
            if axis == 0:
                values = extreme(values[:-step], values[step:])
            else:
                values = extreme(values[:, :-step], values[:, step:])
            run += step
    return values


def _level(contrast: Floats) -> tuple[float, float, float]:
    """The contrast above which a pixel may be ink, and that of the darkest tenth of the ink.

    The third number is how well the two are parted, see `_otsu`. Pixels far above the noise of the
    paper are ink. On patterned paper with much ink on it nothing is far above the noise; but there
    Otsu's threshold parts the two well.
    """
    values = np.sort(contrast[::2, ::2], axis=None)  # one pixel in four
    half = len(values) // 2
    middle = float(values[half])
    # Half of the values lie nearer to the median than this: the shortest run of so many.
    off = np.maximum(middle - values[: len(values) - half], values[half:] - middle).min()
    floor = middle + NOISE * 1.4826 * float(off) + NOISE_OFFSET
    otsu, parted = _otsu(values)
    if parted > PARTED:
        floor = min(floor, otsu)
    first = int(np.searchsorted(values, floor, "right"))
    darkest = first + int(0.9 * (len(values) - 1 - first) + 0.5)
    return floor, float(values[darkest]) if first < len(values) else 0.0, parted


def _otsu(values: Floats) -> tuple[float, float]:
    """Otsu's threshold for sorted values, and the share in [0, 1] of their variance that lies
    between its sides."""
    edges = np.linspace(0.0, float(values[-1]) + 1e-6, 129)
    counts = np.diff(np.searchsorted(values, edges))
    shares = counts / max(1, counts.sum())
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(shares)
    mass = np.cumsum(shares * middles)
    mean = mass[-1]
    variance = float((shares * (middles - mean) ** 2).sum()) + 1e-12
    between = (mean * below - mass) ** 2 / np.maximum(below * (1 - below), 1e-9)
    best = int(between[:-1].argmax())
    return float(edges[best + 1]), float(between[best]) / variance


def _mask(contrast: Floats) -> Bytes:
    """Where there is ink, (H, W) of 0 or 1.

    A part of the ink is dark somewhere, and it ends where it is no longer fairly dark.
    """
    floor, level, parted = _level(contrast)
    if level < FAINT and (level < FAINTEST or parted < CLEAN):
        return np.zeros(contrast.shape, np.uint8)
    weak = (contrast > max(floor, WEAK * level)).astype(np.uint8)
    strong = contrast > max(floor, STRONG * level)
    count, labels = cv2.connectedComponents(weak, connectivity=8)
    kept = np.zeros(count, np.uint8)
    kept[labels[strong]] = 1
    kept[0] = 0
    return weak if kept[1:].all() else kept.take(np.asarray(labels, np.int32))


def _soft(contrast: Floats, mask: Bytes) -> Floats:
    """The ink, (H, W) in [0, 1], where the mask is and at its soft edge."""
    inked = np.sort(contrast[mask > 0])
    level = float(inked[int(0.9 * (len(inked) - 1) + 0.5)])
    ink = (contrast - np.float32(PALEST * level)) * np.float32(1 / ((FULL - PALEST) * level))
    return np.asarray(np.clip(ink, 0, 1, out=ink) * _dilated(mask, 3, 3), np.float32)


def parts_in(mask: Bytes) -> tuple[NDArray[np.int32], Ints, NDArray[np.float64]]:
    """What `cv2.connectedComponentsWithStats` gives of the connected parts of a mask of 0 and 1.

    These are labels, (H, W); left, top, width, height and area, (N, 5), of each part; and centres,
    (N, 2). Row 0, of the ground, is empty. It is twice as fast: it goes through the runs of ink in
    each row instead of through all pixels.
    """
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    width = mask.shape[1] + 1
    flat = cv2.copyMakeBorder(mask, 0, 0, 0, 1, cv2.BORDER_CONSTANT, value=0).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[0]:
        changes = np.append(0, changes)
    row, left = np.divmod(changes[::2], width)
    right = left + changes[1::2] - changes[::2]
    part = np.asarray(labels[row, left], np.intp)
    boxes = np.zeros((4, count), np.intp)  # left, top, right, bottom
    boxes[:2] = np.array(mask.shape[::-1])[:, None]
    np.minimum.at(boxes[0], part, left)
    np.minimum.at(boxes[1], part, row)
    np.maximum.at(boxes[2], part, right)
    np.maximum.at(boxes[3], part, row + 1)
    area = np.bincount(part, right - left, count)
    sums = [(right - left) * (left + right - 1) / 2, (right - left) * row]
    centres = [np.bincount(part, each, count) / np.maximum(area, 1) for each in sums]
    size = boxes[2:] - boxes[:2]
    stats = np.stack([*boxes[:2], *size, area.astype(np.intp)], axis=1)
    stats[0] = 0
    return np.asarray(labels, np.int32), stats, np.stack(centres, axis=1)


def _height_of_digits(mask: Bytes) -> float | None:
    """The height that most of the ink has, in pixels: the mode of the heights of its parts.

    A part that holds others, of a quarter of its height or more, is a box. Boxes and lines do not
    count, unless there is nothing else.
    """
    _, stats, centres = parts_in(mask)
    if len(stats) < 2:
        return None
    x, y, w, h, area = stats[1:].T.astype(np.float64)
    centres = centres[1:]
    usable = (area >= LEAST_AREA) & (np.maximum(w, h) >= LEAST_SIZE)
    if not usable.any():
        usable[:] = True
    order = np.argsort(-(w * h) * usable)[:MOST_MEASURED]
    x, y, w, h = x[order], y[order], w[order], h[order]
    cx, cy = centres[order].T
    inside = (
        (cx[None] > x[:, None]) & (cx[None] < (x + w)[:, None])
        & (cy[None] > y[:, None]) & (cy[None] < (y + h)[:, None])
        & (h[None] > h[:, None] / HELD) & (h[None] < HELD_MOST * h[:, None])
    )  # fmt: skip
    boxes = inside.any(axis=1)
    flat = w > ELONGATED * h
    kept = ~(boxes | flat | (h > ELONGATED * w))
    if not kept.any():
        kept = ~(boxes | flat)
    if not kept.any():
        kept = ~flat if (~flat).any() else np.ones(len(h), np.bool_)
    heights, widths = h[kept], w[kept]
    weights = heights * np.minimum(widths + SIDE_WEIGHT * heights, MOST_WIDTH * heights)
    logs = np.log(heights)
    density = (weights[None] * np.exp(-(((logs[:, None] - logs[None]) / LIKENESS) ** 2))).sum(
        axis=1
    )
    peak = logs[density.argmax()]
    near = weights * np.exp(-(((logs - peak) / LIKENESS) ** 2))
    return float(np.exp((near * logs).sum() / near.sum()))


# Rules, boxes and grids --------------------------------------------------------------------------
# `lines.level_lines` fits a few straight lines that run past one digit. A page may hold hundreds of
# lines that are short, broken and bent, and that form cells. They stay masks here, not lines.


def _without_rules(mask: Bytes, height: float) -> tuple[Bytes, tuple[Bytes, Bytes] | None]:
    """The mask without printed lines, and the level and the upright lines, if there are any."""
    thick = _widest_rule(mask, height)
    level = _rules(mask, height, thick)
    turned = _turned(mask)
    upright = _turned(_rules(turned, height, thick))
    if not (cv2.hasNonZero(level) or cv2.hasNonZero(upright)):
        return mask, None
    long_level = _believable(level, upright, height)
    upright = _turned(_believable(_turned(upright), _turned(long_level), height))
    level = _believable(level, upright, height)
    if not (cv2.hasNonZero(level) or cv2.hasNonZero(upright)):
        return mask, None
    gone = _dilated(level, 3, 3) & _thin(mask, thick)
    gone |= _dilated(upright, 3, 3) & _turned(_thin(turned, thick))
    rest = mask & (1 - gone)
    labels, stats, _ = parts_in(rest)
    lines = cv2.dilate(level | upright, np.ones((7, 7), np.uint8))
    near = np.bincount(labels[lines > 0], minlength=len(stats))
    touching = near > LEFT_OVER * stats[:, cv2.CC_STAT_AREA]
    touching &= stats[:, 2:4].min(axis=1) < LEFT_OVER_WIDTH * height  # what is left of the lines
    touching[0] = False
    rest[touching.take(labels)] = 0
    return rest, (level, upright)


def _turned(mask: Bytes) -> Bytes:
    """The mask with its rows and columns exchanged, so that upright lines become level."""
    return np.asarray(cv2.transpose(mask), np.uint8)


def _widest_rule(mask: Bytes, height: float) -> int:
    """The width in pixels from which on a line is not a printed one."""
    width = min(max(RULE_WIDTH * height, RULE_PENS * pen_width(mask)), MOST_WIDTH_OF_RULE * height)
    return max(3, round(width)) + 1


def pen_width(ink: Floats | Bytes) -> float:
    """The mean width of strokes in pixels: twice their area over their perimeter."""
    mask = np.asarray(ink > 0.5, np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
    return max(1.0, 2 * float(ink.sum()) / max(perimeter, 1.0))


def _thin(mask: Bytes, thick: int) -> Bytes:
    """The ink of a mask that is no higher than a printed line is wide."""
    return mask & (1 - _opened(mask, thick, 1))


def _opened(mask: Bytes, rows: int, columns: int) -> Bytes:
    kernel = np.ones((rows, columns), np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), np.uint8)


def _dilated(mask: Bytes, rows: int, columns: int) -> Bytes:
    return np.asarray(cv2.dilate(mask, np.ones((rows, columns), np.uint8)), np.uint8)


def _rules(mask: Bytes, height: float, thick: int) -> Bytes:
    """Long thin level lines, which may have gaps."""
    thin = _dilated(_thin(mask, thick), 3, 1)
    short = min(round(RULE_PART * RULE_LENGTH * height), round(RULE_PART_OF_PAGE * mask.shape[1]))
    found = np.zeros_like(mask)
    for slope in RULE_SLOPES:
        turned = _sheared(thin, slope) if slope else thin
        run = np.ones((1, max(3, short)), np.uint8)
        ends = cv2.erode(turned, run)
        if cv2.hasNonZero(ends):
            runs = np.asarray(cv2.dilate(ends, run), np.uint8)
            found |= _sheared(runs, -slope) if slope else runs
    if not cv2.hasNonZero(found):
        return found
    closed = _closed(found, RULE_GAP * height)
    labels, stats, _ = parts_in(closed)
    length, climb = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    kept = (length >= SHORT_RULE * height) & (climb < RULE_CLIMB * length + RULE_CLIMBS * thick)
    kept[0] = False
    return np.asarray(found * kept.view(np.uint8).take(labels), np.uint8)


def _closed(lines: Bytes, gap: float, *, edge: int = 0) -> Bytes:
    """Level lines with their gaps closed, those to the picture's edge only if `edge` is 1."""
    side = max(3, round(gap)) | 1
    wide = cv2.copyMakeBorder(lines, 1, 1, side, side, cv2.BORDER_CONSTANT, value=edge)
    wide = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones((3, side), np.uint8))
    return np.asarray(wide[1:-1, side:-side], np.uint8)


def _sheared(mask: Bytes, slope: float) -> Bytes:
    height, width = mask.shape
    move = np.array([[1, 0, 0], [slope, 1, -slope * width / 2]])
    return np.asarray(cv2.warpAffine(mask, move, (width, height), flags=cv2.INTER_NEAREST))


def _believable(lines: Bytes, crossing: Bytes, height: float) -> Bytes:
    """The level lines that are printed ones.

    They meet upright lines, run to the picture's edge or along it, or are too long for a stroke.
    """
    closed = _closed(lines, RULE_GAP * height)
    labels, stats, _ = parts_in(closed)
    left, top, width, tall, _ = stats.T
    edge = max(3, round(REACHES * height))
    kept = (left <= edge) | (left + width >= lines.shape[1] - edge)
    near = cv2.dilate(crossing, np.ones((7, 7), np.uint8))
    kept[labels[near > 0]] = True
    kept &= width >= RULE_LENGTH * height
    beside = (top + tall <= EDGE * height) | (top >= lines.shape[0] - EDGE * height)
    kept |= (width >= LONE_RULE * height) | (beside & (width >= SHORT_RULE * height))
    reach = round(MEETS * height)
    for number in range(1, len(stats)):  # a short line joins two others
        if not kept[number]:
            x, y, w, h = stats[number, :4].tolist()
            rows = slice(max(0, y - 2), y + h + 2)
            starts = near[rows, max(0, x - reach) : x + reach].any()
            kept[number] = starts and near[rows, max(0, x + w - reach) : x + w + reach].any()
    kept[0] = False
    return np.asarray(lines * kept.view(np.uint8).take(labels), np.uint8)


def _cells(rules: tuple[Bytes, Bytes], height: float) -> list[Box]:
    """The cells that printed lines form, row by row; none where there are fewer than two.

    The picture's edge may close a cell, but two cells of a row share an upright line.
    """
    level, upright = rules
    if not (level.any() and upright.any()):
        return []
    columns = _dilated(upright.max(axis=0, keepdims=True), 1, 7)
    bridged = _turned(_closed(_turned(upright | level), WALL_GAP * height, edge=1))
    level = _closed(level, CELL_GAP * height, edge=1)
    upright = bridged * columns
    walls = _dilated(level | upright, 3, 3)
    walls[[0, -1]] = 1
    walls[:, [0, -1]] = 1
    _, _, stats, _ = cv2.connectedComponentsWithStats(1 - walls, connectivity=4)
    found = []
    for x, y, w, h, area in stats[1:].tolist():
        high, wide = h / height, w / height
        fits = CELL_LOW <= high <= CELL_HIGH and CELL_NARROW <= wide <= CELL_WIDE
        if fits and area >= CELL_FILLED * w * h:
            found.append((x, y, x + w, y + h))
    kept = []
    for row in rows_of(found):
        boxes = [found[number] for number in row]
        if any(b[0] - a[2] < CELL_APART * height for a, b in pairwise(boxes)):
            kept += boxes
    return kept


def rows_of(boxes: list[Box]) -> list[list[int]]:
    """The numbers of the boxes side by side, from the left, in rows from the top."""
    rows: list[list[int]] = []
    for number in sorted(range(len(boxes)), key=lambda n: boxes[n][1] + boxes[n][3]):
        _, top, _, bottom = boxes[number]
        if rows and boxes[rows[-1][0]][1] < (top + bottom) / 2 < boxes[rows[-1][0]][3]:
            rows[-1].append(number)
        else:
            rows.append([number])
    return [sorted(row, key=lambda n: boxes[n][0]) for row in rows]
