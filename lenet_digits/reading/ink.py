"""Finds the ink in a picture: first what is ink, then which ink is the one digit.

The steps are: reduce the picture to a size that suits the work, put it on one ground, even out the
light so that ink is bright on an even dark ground, apply a threshold, remove lines and boxes, and
keep the parts that belong to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.framing import Floats
from lenet_digits.reading.lines import (
    outlines_in,
    within_outline,
    without_box,
    without_circle,
    without_rules,
)
from lenet_digits.reading.pictures import Bytes, NoInkError

# Sizes of the work. `WORK_SIZE` was chosen by measuring: at 128 pixels a photo takes a fifth less
# time, but of 100 small digits 85 are read, not 95.
WORK_SIZE = 192  # pixels: the longest side at which ink is searched for; 7 times the canvas
SMALL_SIZE = 64  # pixels: the size at which polarity, colours and even paper are judged
TINY_SIZE = 64  # pixels: a picture up to this longest side is enlarged to about twice this
MARGIN = 2  # pixels around ink: its soft edge is one pixel wide, and paper must show beyond that

# All other thresholds were tuned on the open real-world sets and on drawn surroundings, 2026-11.

# Pictures as they come:
IMPULSE = 64  # grey levels that a pixel differs from its neighbours by: salt and pepper
MOST_IMPULSES = 0.01  # of a picture's pixels: dirt, and the tips of strokes, have fewer
BANDS = 64  # grey levels: the contrast, at least, of two bands of a ground
LEAST_BAND = 0.2  # of the width: the narrower band
MOST_CHANGES = 4  # from band to band: more is writing, or a pattern
BAND_NOISE = 0.05  # of the contrast: how even a band is, and how alike its two ends
CUT_OUT = 56  # pixels of `SMALL_SIZE`: ink that is so wide and high was cut out along its box
MIDDLE = (slice(12, -12),) * 2  # of `SMALL_SIZE`: the digit reaches into it, a border does not
MOST_OF_EDGE = 0.33  # of the picture's edge may be ink; more is a border
EVEN_PAPER = 0.12  # of the contrast: paper that varies by more, on average, is not continued
ADDED = 1 / 8  # of the longest side: the margin of paper that is added

# Paper and contrast:
OUTLIERS = 0.005  # of all pixels, on either side: what is lighter or darker is dirt or glare
EVEN, MOSTLY = 6, 0.7  # grey levels; so much of an even ground's edge is as near to its median
STROKES = 5, 9, 21  # pixels of `SMALL_SIZE`: reaches that remove thin strokes, strokes, all of them
EVEN_REACH = 0.33  # of the longest side: wider than any stroke, even a marker's
UNEVEN_REACH = 0.2  # the same on uneven ground: a wider reach would take shadows for ink
EVEN_SIZE, UNEVEN_SIZE = 64, 128  # pixels: where paper is looked for; shadows have finer edges
SIGNAL = 0.98  # of all pixels have less ink than those that the ink's colour is measured from
LEAST_NOISE = 0.02  # of white: noise that any channel is taken to have
LEAST_SIGNAL = 1e-6  # of white: keeps the weights of channels finite where nothing is drawn
DARKEST_PAPER = 0.1  # of white: contrast on darker paper would be noise

# What is ink:
GRAIN = 0.005  # of white: the standard deviation of noise from which a picture is smoothed
SMOOTHING = (5, 5)  # pixels of `WORK_SIZE`: the window that smooths it
DEVIATIONS = 4  # standard deviations above the paper: noise reaches that once in 30,000 pixels
LEAST_CONTRAST = 0.02  # of white, added to that; and the least alpha of a layer's ink: 5 of 255
PAGE_EDGE = 5  # pixels: the window that takes two pixels away from all edges of a page cut out

# Which ink is the digit:
LEVEL = 0.9  # of all ink is weaker than what is taken for the ink's full contrast
STRONG = 0.4  # of that level: what is stronger is certainly ink
WEAK = 0.2  # of that level: what is stronger is ink if strong ink is near
NEAR = 1 / 20  # of the longest side: how near
FAINT = 0.12  # of that level: weaker is paper, dirt or the other side's ink
SECOND_STRENGTH = 0.1  # of the strong ink: as much faint ink away from it is part of the writing
LOCAL = 1 / 40  # of the longest side: the surroundings of a pixel, where two strengths are possible
WIDER, WIDER_BY = 1.25, 2  # times the width of strong strokes, and pixels: wider is a shadow
MOST_WIDE = 0.2  # of faint ink may be as wide as that
MOST_FAINT = 3.0  # times the strong ink: more is rather a shadow or a picture's ground
SPECK = 0.05  # of the contrast of the largest part: a part with less is dirt
NO_INK, FULL_INK = 0.15, 0.9  # of the level: ink grows from 0 to 1 in between
TOUCHING = 0.015  # of the longest side: what is so near to the picture's edge touches it
BORDER_ZONE = 0.12  # of the shorter side: what touches the edge and stays within is border
REACHING_IN = 0.05  # of a part's area, beyond that zone: such a part is not border

NORMAL = 1.4826  # times the median deviation is the standard deviation, in a normal distribution
BESIDE = np.array([[1, 0, 1]], np.uint8)  # the neighbours of a pixel in its row
AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)  # all its neighbours


@dataclass(frozen=True, eq=False)
class Ink:
    """What is ink in a picture, before anything is said about which of it is a digit."""

    contrast: Floats  # (H, W), ink bright on an even dark ground, noise smoothed
    everything: Bytes  # (H, W), 1 where there is ink
    mask: Bytes  # (H, W), the same without rules, boxes and circles
    floor: float  # the contrast above which a pixel counts as ink
    bordered: bool = True  # whether ink along the picture's edge may be its border


# Reduce ------------------------------------------------------------------------------------------


def reduced(page: Bytes) -> Bytes:
    """The picture, area-averaged to `WORK_SIZE` if it is larger."""
    factor = max(page.shape) // WORK_SIZE
    if factor >= 2:  # by whole pixels first: that is three times faster
        height, width = (max(1, length // factor) for length in page.shape[:2])
        whole = page[: height * factor, : width * factor]
        smaller = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        page = np.asarray(smaller, np.uint8)
    scale = WORK_SIZE / max(page.shape)
    if scale >= 1:
        return page
    height, width = (max(1, round(length * scale)) for length in page.shape[:2])
    floats = page.astype(np.float32)  # by fractions of pixels, these are averaged faster
    smaller = cv2.resize(floats, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(smaller), np.uint8)


def enlarged(picture: Bytes) -> Bytes:
    """A tiny picture, enlarged so that the steps have whole pixels to work with; framing averages
    them again."""
    scale = 2 * TINY_SIZE // max(picture.shape)
    if max(picture.shape) > TINY_SIZE:
        return picture
    larger = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(larger, np.uint8)


def without_impulses(picture: Bytes) -> Bytes:
    """The picture, median-filtered where many single pixels differ from all their neighbours."""
    for neighbours in (BESIDE, AROUND):  # a pixel that differs from all differs from two of them
        below = cv2.subtract(cv2.erode(picture, neighbours), picture)
        above = cv2.subtract(picture, cv2.dilate(picture, neighbours))
        if np.count_nonzero(cv2.max(below, above) > IMPULSE) < MOST_IMPULSES * picture.size:
            return picture
    return np.asarray(cv2.medianBlur(picture, 3), np.uint8)


def on_one_ground(picture: Bytes) -> Bytes:
    """The picture in dark on white, where its ground is bands of two even colours.

    Bands show at two opposite edges, alike; the difference from them is ink.
    """
    for turned in (False, True):
        view = picture.swapaxes(0, 1) if turned else picture
        ends = view[0].astype(np.int16), view[-1].astype(np.int16)  # (W, 3) each
        ground = (ends[0] + ends[1]) / 2
        grey = ground @ np.full(3, 1 / 3)
        contrast = grey.max() - grey.min()
        if contrast < BANDS:
            continue
        dark = grey < grey.min() + contrast / 2
        share = np.count_nonzero(dark) / dark.size
        if not LEAST_BAND < share < 1 - LEAST_BAND:
            continue
        if np.count_nonzero(np.diff(dark)) > MOST_CHANGES:
            continue
        most = BAND_NOISE * contrast
        alike = np.abs(ends[0] - ends[1]).mean() < most
        if alike and grey[dark].std() < most and grey[~dark].std() < most:
            inked = 255 - np.abs(view - ground)
            return np.asarray(inked.swapaxes(0, 1) if turned else inked, np.uint8)
    return picture


def with_margin(picture: Bytes) -> Bytes:
    """The picture, with a margin of its paper added where a digit was cut out along its box.

    What lies along an edge counts as paper later on, as it should in a picture that has some.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SMALL_SIZE,) * 2, interpolation=cv2.INTER_AREA)
    _, ink = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    border = _border(ink)
    at_border, all_over = (np.count_nonzero(each) / each.size for each in (border, ink))
    if at_border + all_over > 1:
        ink, at_border, all_over = 1 - ink, 1 - at_border, 1 - all_over
    if all_over > 0.5 or at_border > MOST_OF_EDGE or min(cv2.boundingRect(ink)[2:]) < CUT_OUT:
        return picture
    count, labels = cv2.connectedComponents(ink, connectivity=8)
    inner = np.zeros(count, np.uint8)
    inner[labels[MIDDLE]] = 1
    inner[0] = 0
    _, _, across, down = cv2.boundingRect(inner[labels])
    paper = small[ink == 0].astype(np.float32)
    spread = np.abs(paper - np.median(paper)).mean()
    if min(across, down) < CUT_OUT or spread > EVEN_PAPER * np.ptp(small):
        return picture
    height, width = picture.shape[:2]
    full = cv2.resize(ink, (width, height), interpolation=cv2.INTER_NEAREST)
    paper = np.median(picture[full == 0], axis=0).tolist()
    margin = int(ADDED * max(height, width))
    wide = cv2.copyMakeBorder(picture, *(margin,) * 4, cv2.BORDER_CONSTANT, value=paper)
    return np.asarray(wide, np.uint8)


# Flatten -----------------------------------------------------------------------------------------


def flatten(picture: Bytes) -> Floats:
    """The ink of a (H, W, 3) picture, bright on an even dark ground: (H, W) float32 in [0, 1]."""
    scale = min(1.0, SMALL_SIZE / max(picture.shape))
    small = np.asarray(
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )
    red, green, blue = cv2.split(small)
    if np.array_equal(red, green) and np.array_equal(red, blue):  # grey: one channel says it all
        picture, small = picture[:, :, :1], small[:, :, :1]
    turned = _are_light_on_dark(small)  # those channels are turned dark on light
    signs, offsets = np.where(turned, -1, 1) / 255, turned.astype(np.float64)
    reach = EVEN_REACH if _is_even(_border(small).mean(axis=1)) else UNEVEN_REACH
    weights = _filter(cv2.absdiff(small, 255 * offsets), reach)
    mix = np.append(weights * signs, weights @ offsets)  # channels and a constant to 1
    grey = np.asarray(cv2.transform(np.asarray(picture, np.float32), mix[None]), np.float32)
    paper = _paper(grey, reach)
    return np.asarray((paper - grey) / np.maximum(paper, DARKEST_PAPER), np.float32)


def _are_light_on_dark(picture: Bytes) -> NDArray[np.bool_]:
    """Of each channel, whether the ink is the lighter side: border and larger area are ground.

    On an uneven ground (a photo) the strokes have a say too: a closing or opening hardly wider
    than they are removes them, but not the shadows, nor the gaps between strokes.
    """
    size = SMALL_SIZE
    small = np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    areas = small.reshape(size * size, -1).T.copy()  # (C, 4096)
    areas.sort(axis=1, kind="stable")  # NumPy sorts bytes many times as fast if stably
    borders = _border(small).reshape(4 * size, -1).T.copy()  # (C, 256)
    middles = np.array([_middle(channel) for channel in areas], np.uint8)
    below = np.array([np.searchsorted(*pair) for pair in zip(areas, middles, strict=True)])
    votes = _share(borders < middles[:, None]) + below / size**2 - 1
    uneven = ~_is_even(borders)
    if uneven.any():
        votes -= 2 * uneven * _strokeness(small, cv2.MORPH_BLACKHAT)
    if (uneven & (votes > -2)).any():  # else no share could outvote it
        votes += 2 * uneven * _strokeness(small, cv2.MORPH_TOPHAT)
    return np.asarray(votes > 0)


def _is_even(borders: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the ground is one even colour, as drawings have it and photos don't."""
    middles = np.sort(borders, kind="stable")[..., borders.shape[-1] // 2, None]
    return _share(np.abs(borders - middles.astype(np.float32)) < EVEN) >= MOSTLY


def _middle(ordered: Bytes) -> int:
    """What lies in the middle between the smallest and the largest of sorted values.

    Outliers are left out. It is rounded up: whole numbers lie below it as if it was not.
    """
    outliers = round(OUTLIERS * ordered.size)
    return (int(ordered[outliers]) + int(ordered[-1 - outliers]) + 1) // 2


def _share(true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of True along the last axis."""
    return np.asarray(np.count_nonzero(true, axis=-1) / true.shape[-1])


def _border(grey: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _strokeness(picture: Bytes, hat: int) -> NDArray[np.float64]:
    """How narrow the marks are that differ from their surroundings, (C,): near 1 for pen strokes.

    `picture` is uint8, (h, w) or (h, w, C). `hat` is OpenCV's top hat for what is lighter, or its
    black hat for what is darker.
    """
    energies = []
    for reach in STROKES:
        wide = cv2.copyMakeBorder(picture, *(reach,) * 4, cv2.BORDER_REPLICATE)
        narrow = cv2.split(cv2.morphologyEx(wide, hat, np.ones((reach, reach), np.uint8)))
        energies.append(np.array([cv2.norm(channel, cv2.NORM_L2SQR) for channel in narrow]) + 1)
    return np.asarray((energies[0] + energies[1]) / (2 * energies[2]))


def _filter(colours: Any, reach: float) -> NDArray[np.float64]:
    """The colour filter under which the ink stands out: weights of the channels.

    `colours` is uint8, (h, w) or (h, w, 3), dark on light.

    A matched filter: a channel counts as the ink darkens it, against the noise it has.
    """
    if colours.ndim == 2:
        return np.ones(1)
    ink = np.asarray(cv2.subtract(_closed(colours, reach), colours), np.uint8)
    darker = ink.reshape(-1, 3).T.copy()  # (3, h * w)
    strength = darker.max(axis=0)
    least = _ranked(strength, round(SIGNAL * (len(strength) - 1)))
    signal = darker[:, strength >= least].mean(axis=1) / 255 + LEAST_SIGNAL
    middles = np.array([_ranked(channel, len(channel) // 2) for channel in darker])
    weights = signal / (middles / 255 + LEAST_NOISE) ** 2
    return np.asarray(weights / weights.sum())


def _ranked(values: Bytes, rank: int) -> int:
    """The value at a rank, from 0, of bytes in order; counting is faster than sorting."""
    counts = cv2.calcHist([values], [0], None, [256], [0, 256])
    return int(np.searchsorted(np.cumsum(counts), rank, side="right"))


def _paper(grey: Floats, share: float) -> Floats:
    """The paper without the ink, (H, W): a closing at a size that is enough for it."""
    height, width = grey.shape
    size = EVEN_SIZE if share == EVEN_REACH else UNEVEN_SIZE
    scale = min(1.0, size / max(height, width))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    paper = cv2.resize(_closed(small, share), (width, height))
    return np.maximum(paper, grey)


def _closed(small: NDArray[Any], share: float) -> NDArray[Any]:
    """A picture without what is dark and narrower than a share of its longest side.

    The picture is continued beyond its edges, so that what lies along an edge (a cell border, a
    shadow, the desk) counts as paper.
    """
    reach = max(3, round(max(small.shape) * share)) | 1
    # Narrowed by one more, because enlarging widens it again: no rim along the edge of a shadow.
    beyond = reach // 2 + 1
    wide = cv2.copyMakeBorder(small, *(beyond,) * 4, cv2.BORDER_REPLICATE)
    paper = cv2.dilate(wide, np.ones((reach, reach), np.uint8))
    paper = cv2.erode(paper, np.ones((reach + 2, reach + 2), np.uint8))
    return np.asarray(paper[beyond:-beyond, beyond:-beyond])


# What is ink -------------------------------------------------------------------------------------


def all_ink(contrast: Floats, inside: Bytes | None = None) -> Ink:
    """All ink in a picture but ruled lines, from its contrast, (H, W) float32 in [0, 1].

    Where the picture is a page cut out, `inside` is 1 on it.
    """
    ground, noise = _spread(contrast)
    if noise > GRAIN:
        contrast = np.asarray(cv2.GaussianBlur(contrast, SMOOTHING, 0), np.float32)
        ground, noise = _spread(contrast)
    floor = ground + DEVIATIONS * noise + LEAST_CONTRAST
    mask = np.asarray(contrast > floor, np.uint8)
    if inside is not None:
        page = cv2.resize(inside, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
        mask &= np.asarray(cv2.erode(page, np.ones((PAGE_EDGE,) * 2, np.uint8)), np.uint8)
    return Ink(contrast, mask, without_lines(mask, contrast), floor)


def without_lines(mask: Bytes, contrast: Floats) -> Bytes:
    """The mask without rules, and without a box or circle around the ink."""
    mask = without_rules(mask, contrast)
    outlines = outlines_in(mask)
    inside = within_outline(mask, outlines)
    if inside is not mask:
        return inside
    inside = without_box(mask, contrast, outlines)
    return inside if inside is not mask else without_circle(mask, outlines)


def ink_of_layer(alpha: Floats) -> Ink:
    """The ink of a transparent layer, whose alpha is (H, W) float32 in [0, 1]: all of it."""
    mask = np.asarray(alpha > LEAST_CONTRAST, np.uint8)
    return Ink(alpha, mask, mask, LEAST_CONTRAST, bordered=False)


def _spread(contrast: Floats) -> tuple[float, float]:
    """Median and robust standard deviation, of one pixel in nine."""
    sample = contrast[::3, ::3]
    median = _quantile(sample, 0.5)
    return median, NORMAL * _quantile(np.abs(sample - median), 0.5)


def _quantile(values: NDArray[Any], share: float) -> float:
    """The value that `share` of all lie below; NumPy's own interpolates, slowly."""
    return float(np.sort(values, axis=None)[int(share * (values.size - 1) + 0.5)])


# Which ink is the digit --------------------------------------------------------------------------


def ink_of_one_digit(ink: Ink) -> tuple[list[tuple[Floats, float]], tuple[slice, slice]]:
    """Finds the ink of the one digit in a picture.

    Returns one or two answers, and the rows and columns of the picture that they cover. An answer
    is the ink, (h, w) float32 in [0, 1], and the share of all ink that was thrown away, in [0, 1].
    There are two answers where faint ink may belong to the digit or not; by geometry, the first one
    is likelier. Raises `NoInkError` if the picture has no ink.
    """
    floor = ink.floor
    loose = _inside(ink.mask) if ink.bordered else ink.mask
    left, top, width, height = cv2.boundingRect(loose)
    if not width:
        raise NoInkError("The picture shows no ink: is it blank?")
    box = (
        slice(max(0, top - MARGIN), top + height + MARGIN),
        slice(max(0, left - MARGIN), left + width + MARGIN),
    )
    reach = int(NEAR * max(loose.shape))
    loose, contrast = loose[box], ink.contrast[box]
    level = _quantile(contrast[loose > 0], LEVEL)
    strong = loose * (contrast > max(floor, STRONG * level))
    wide = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    around = np.asarray(cv2.dilate(strong, wide), np.uint8)
    weak = loose * around * (contrast > max(floor, WEAK * level))
    dropped = ink.everything * (ink.contrast > max(floor, STRONG * level))
    dropped[box] -= strong
    lost = float(ink.contrast[dropped > 0].sum())
    answers = [_largest_parts(contrast, weak, strong, level, lost)]
    faint = loose * (1 - around) * (contrast > max(floor, FAINT * level))
    if np.count_nonzero(faint) > SECOND_STRENGTH * np.count_nonzero(strong):
        levels = _local_levels(contrast * loose, level, int(LOCAL * max(ink.contrast.shape)))
        both = loose * (contrast > np.maximum(floor, STRONG * levels)) | strong
        both = _joined(np.asarray(both, np.uint8), strong, loose * (contrast > FAINT * level))
        share = np.count_nonzero(both & faint) / np.count_nonzero(strong)
        if share > SECOND_STRENGTH:
            two = _largest_parts(contrast, both, both, levels, lost)
            drawn = share < MOST_FAINT and _is_no_wider(both & (1 - strong), strong)
            answers = [two, *answers] if drawn else [*answers, two]
    return answers, box


def _largest_parts(
    contrast: Floats, ink: Bytes, certain: Bytes, level: Floats | float, lost: float
) -> tuple[Floats, float]:
    """The ink without small specks, (H, W) in [0, 1], and the share of all ink thrown away.

    `lost` is the contrast, summed up, of what was thrown away before.
    """
    count, labels = cv2.connectedComponents(ink, connectivity=8)
    where = certain > 0
    mass = np.bincount(labels[where], contrast[where], minlength=count)
    mass[0] = 0
    kept = mass > SPECK * mass.max()
    near, inked = np.zeros_like(ink), ink > 0
    near[inked] = kept[labels[inked]]
    near = np.asarray(cv2.dilate(near, np.ones((3, 3), np.uint8)), np.uint8)
    soft = np.clip((contrast - NO_INK * level) / ((FULL_INK - NO_INK) * level), 0, 1) * near
    return np.asarray(soft, np.float32), float(1 - mass[kept].sum() / (mass.sum() + lost))


def _is_no_wider(faint: Bytes, strong: Bytes) -> bool:
    """Whether faint ink is hardly wider than the strokes of strong ink: a shadow's edge is."""
    outlines, _ = cv2.findContours(strong, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    width = 2 * np.count_nonzero(strong) / max(1, sum(map(len, outlines)))
    square = np.ones((round(WIDER * width) + WIDER_BY,) * 2, np.uint8)
    wide = cv2.morphologyEx(faint, cv2.MORPH_OPEN, square)
    return bool(np.count_nonzero(wide) < MOST_WIDE * np.count_nonzero(faint))


def _local_levels(contrast: Floats, level: float, near: int) -> Floats:
    """The contrast of the strokes near every pixel, where a pen wrote with several strengths."""
    peaks = cv2.dilate(contrast, np.ones((2 * near + 1, 2 * near + 1), np.uint8))
    return np.asarray(np.clip(peaks, FAINT * level, level), np.float32)


def _joined(ink: Bytes, strong: Bytes, paths: Bytes) -> Bytes:
    """The ink that hangs together with strong ink, by way of anything inked at all."""
    count, labels = cv2.connectedComponents(paths | ink, connectivity=8)
    kept = np.zeros(count, np.uint8)
    kept[labels[strong > 0]] = 1
    kept[0] = 0
    return np.asarray(ink * kept[labels], np.uint8)


def _inside(mask: Bytes) -> Bytes:
    """The mask without what touches the picture's edge and stays near it, if that leaves any."""
    height, width = mask.shape
    touch = max(1, round(TOUCHING * max(height, width)))
    if np.count_nonzero(mask) == np.count_nonzero(mask[touch:-touch, touch:-touch]):
        return mask
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    inked = mask > 0
    parts = labels[inked]

    def areas(edge: int) -> NDArray[np.intp]:
        """The area of each part, in pixels, that lies farther from the picture's edge."""
        inner = slice(edge, height - edge), slice(edge, width - edge)
        return np.bincount(labels[inner][inked[inner]], minlength=count)

    area = np.bincount(parts, minlength=count)
    zone = max(1, round(BORDER_ZONE * min(height, width)))
    kept = (areas(touch) == area) | (areas(zone) > REACHING_IN * area)
    rest = np.zeros_like(mask)
    rest[inked] = kept[parts]
    return rest if rest.any() else mask
