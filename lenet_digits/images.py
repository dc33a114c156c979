"""Turns any picture of a digit into a canvas framed as MNIST framed its digits.

Knows ink and paper; knows nothing of files, networks, labels or torch. The steps, in order:
reduce (to what they need), flatten (ink bright on an even dark ground), ink (what
belongs to the digit), pen (strokes as wide as MNIST's), frame (20-pixel box, centred by mass).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lenet_digits.pictures import Bytes, read
from lenet_digits.pictures import ImageInput as ImageInput
from lenet_digits.pictures import NoInkError as NoInkError
from lenet_digits.pictures import UnreadableImageError as UnreadableImageError

METHODS = ("mnist", "center-crop")

IMAGE_SIZE = 28  # pixels: side of a canvas
BOX_SIZE = 20  # pixels: longest side of a digit's bounding box on a canvas
CENTRE = 15.0  # pixels from the canvas edge, at most: the centre of mass lands on 14 to 15
STROKE = 2.0  # pixels: median stroke width of MNIST at 28x28 (twice the area over the perimeter)
MARKER = 3.0  # pixels: what wider strokes become; MNIST's 99th percentile is 3.8

EVEN_REACH = 0.33  # of the longest side: wider than any stroke, a marker's even
UNEVEN_REACH = 0.2  # where a wider one would take shadows for ink
WORK_SIZE = 192  # pixels: longest side at which ink is looked for; 7x the canvas
TINY_SIZE = 64  # pixels: longest side of a picture that is enlarged to about twice this

Floats: TypeAlias = NDArray[np.float32]
Canvas: TypeAlias = Floats  # (28, 28), ink 1 on background 0


@dataclass(frozen=True, eq=False)
class CanvasSteps:
    """A picture on its way to the canvas, step by step; H and W are at most `WORK_SIZE`."""

    picture: Bytes  # (H, W, 3), upright, alpha composited over the paper it implies
    contrast: Floats  # (H, W) in [0, 1], uneven light divided out, ink bright
    ink: Floats  # (H, W) in [0, 1], what is left after threshold and cleaning
    box: tuple[int, int, int, int]  # left, top, right, bottom (exclusive) of the ink in `picture`
    canvas: Canvas
    discarded: float  # share of the ink, in [0, 1], thrown away as not part of the digit

    def named(self) -> list[tuple[str, NDArray[Any]]]:
        """Each step with its name, in order, for display."""
        return [
            ("Picture", self.picture),
            ("Contrast", self.contrast),
            ("Ink", self.ink),
            ("Canvas", self.canvas),
        ]


def to_canvas(image: ImageInput, *, method: str = "mnist") -> Canvas:
    """The (28, 28) float32 canvas of a picture, in [0, 1]; raises as `canvas_steps` does."""
    return canvas_steps(image, method=method).canvas


def canvas_steps(image: ImageInput, *, method: str = "mnist") -> CanvasSteps:
    """Takes a picture to its canvas and keeps every step.

    `image` is a path, encoded bytes, a binary file, a Pillow image, or an array or tensor of shape
    (H, W), (H, W, C), (C, H, W) or (1, C, H, W) with C in 1 to 4; integers count up to their
    type's maximum, floats up to 1 (or 255, if any exceeds 1). `method` is "mnist", or
    "center-crop" for the plain pipeline (crop to the smaller side, grey, invert, resize).

    Raises `UnreadableImageError` for what is no picture, `NoInkError` for a picture without ink.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    page = read(image)
    if method == "center-crop":
        return _center_crop(page)
    picture = _on_one_ground(_without_impulses(_reduced(page)))
    if (framed := _already_framed(picture)) is not None:
        return _steps(picture, framed, framed, framed, 0.0)
    picture = _enlarged(_with_margin(picture))
    contrast = flatten(picture)
    ink, discarded = find_ink(contrast)
    return _steps(picture, contrast, ink, frame(set_pen(ink)), discarded)


def _steps(
    picture: Bytes,
    contrast: Floats,
    ink: Floats,
    canvas: Canvas,
    discarded: float,
) -> CanvasSteps:
    top, bottom, left, right = _bounds(ink)
    return CanvasSteps(picture, contrast, ink, (left, top, right, bottom), canvas, discarded)


# Reduce ---------------------------------------------------------------------------------------


def _reduced(page: Bytes) -> Bytes:
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


def _enlarged(picture: Bytes) -> Bytes:
    """A tiny picture, enlarged so that the steps have whole pixels to work with; framing averages
    them again."""
    scale = 2 * TINY_SIZE // max(picture.shape)
    if max(picture.shape) > TINY_SIZE:
        return picture
    larger = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(larger, np.uint8)


def _without_impulses(picture: Bytes) -> Bytes:
    """The picture, median-filtered where many single pixels differ from all their neighbours."""
    ring = np.ones((3, 3), np.uint8)
    ring[1, 1] = 0
    below = cv2.subtract(cv2.erode(picture, ring), picture)
    above = cv2.subtract(picture, cv2.dilate(picture, ring))
    if np.count_nonzero(cv2.max(below, above) > 64) < 0.01 * picture.size:
        return picture
    return np.asarray(cv2.medianBlur(picture, 3), np.uint8)


def _on_one_ground(picture: Bytes) -> Bytes:
    """The picture in dark on white, where its ground is bands of two even colours.

    Bands show at two opposite edges, alike; the difference from them is ink.
    """
    for turned in (False, True):
        view = picture.swapaxes(0, 1) if turned else picture
        ends = view[[0, -1]].astype(np.int16)  # (2, W, 3)
        ground = ends.mean(axis=0)
        grey = ground.mean(axis=1)
        contrast = np.ptp(grey)
        dark = grey < grey.min() + contrast / 2
        if contrast < 64 or not 0.2 < dark.mean() < 0.8 or np.count_nonzero(np.diff(dark)) > 4:
            continue
        most = 0.05 * contrast
        alike = np.abs(ends[0] - ends[1]).mean() < most
        if alike and grey[dark].std() < most and grey[~dark].std() < most:
            inked = 255 - np.abs(view - ground)
            return np.asarray(inked.swapaxes(0, 1) if turned else inked, np.uint8)
    return picture


def _with_margin(picture: Bytes) -> Bytes:
    """The picture, with a margin of its paper added where a digit was cut out along its box.

    What lies along an edge counts as paper later on, as it should in a picture that has some.
    """
    small = cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (64, 64), interpolation=cv2.INTER_AREA
    )
    _, ink = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    border = _border(ink)
    if border.mean() + ink.mean() > 1:
        ink, border = 1 - ink, 1 - border
    if min(cv2.boundingRect(ink)[2:]) < 56 or border.mean() > 0.33 or ink.mean() > 0.5:
        return picture
    count, labels = cv2.connectedComponents(ink, connectivity=8)
    inner = np.zeros(count, np.uint8)
    inner[labels[12:-12, 12:-12]] = 1
    inner[0] = 0
    _, _, across, down = cv2.boundingRect(inner[labels])
    paper = small[ink == 0].astype(np.float32)
    if min(across, down) < 56 or np.abs(paper - np.median(paper)).mean() > 0.12 * np.ptp(small):
        return picture
    height, width = picture.shape[:2]
    full = cv2.resize(ink, (width, height), interpolation=cv2.INTER_NEAREST)
    paper = np.median(picture[full == 0], axis=0).tolist()
    margin = max(height, width) // 8
    wide = cv2.copyMakeBorder(picture, *(margin,) * 4, cv2.BORDER_CONSTANT, value=paper)
    return np.asarray(wide, np.uint8)


def _already_framed(picture: Bytes) -> Canvas | None:
    """The canvas itself, where the picture is one already.

    That is a 28x28 picture framed as MNIST's are, up to polarity; or, light on pure black, one
    that is nearly so, for such a picture was made to be a canvas, and what is over and above the
    digit (a stray line) must not shrink it.
    """
    if picture.shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
        return None
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    light_on_black = np.median(grey) == 0
    if np.median(grey) > 127:
        grey = 255 - grey
    if grey.max() < 254 or np.median(grey) > 0:
        return None
    top, bottom, left, right = _bounds(grey)
    side = max(bottom - top, right - left)
    off = max(
        abs(np.average(np.arange(IMAGE_SIZE), weights=grey.sum(axis)) - 14.0) for axis in (0, 1)
    )
    if (19 <= side <= 20 and off <= 0.6) or (light_on_black and 19 <= side <= 25 and off <= 4):
        return np.asarray(grey / 255, np.float32)
    return None


def _center_crop(picture: Bytes) -> CanvasSteps:
    """Crop to the smaller side, grey, invert, resize: no search for ink at all."""
    page = Image.fromarray(picture)
    side = min(page.size)
    left, top = round((page.width - side) / 2), round((page.height - side) / 2)
    grey = ImageOps.invert(page.crop((left, top, left + side, top + side)).convert("L"))
    small = grey.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    whole = ImageOps.invert(page.convert("L"))
    contrast, ink, canvas = (
        np.asarray(np.asarray(step) / 255, np.float32) for step in (whole, grey, small)
    )
    box = (left, top, left + side, top + side)
    return CanvasSteps(picture, contrast, ink, box, canvas, 0.0)


# Flatten --------------------------------------------------------------------------------------


def flatten(picture: Bytes) -> Floats:
    """The ink of a (H, W, 3) picture, bright on an even dark ground: (H, W) float32 in [0, 1]."""
    scale = min(1.0, 64 / max(picture.shape))
    small = np.asarray(
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )
    if (small == small[:, :, :1]).all():  # grey: one channel says it all
        picture, small = picture[:, :, :1], small[:, :, :1]
    offsets = _are_light_on_dark(small).astype(np.float32)  # those are turned dark on light
    signs = 1 - 2 * offsets
    reach = EVEN_REACH if _is_even(_border(small).mean(axis=1)) else UNEVEN_REACH
    weights = _filter(np.asarray(small * (signs / 255) + offsets, np.float32), reach)
    mix = np.append(weights * signs / 255, weights @ offsets)  # channels and a constant to 1
    grey = np.asarray(cv2.transform(np.asarray(picture, np.float32), mix[None]), np.float32)
    paper = _paper(grey, reach)
    return np.asarray((paper - grey) / np.maximum(paper, 0.1), np.float32)


def _are_light_on_dark(picture: Bytes) -> NDArray[np.bool_]:
    """Of each channel, whether the ink is the lighter side: border and larger area are ground.

    On an uneven ground (a photo) the strokes have a say too: a closing or opening hardly wider
    than they are removes them, but not the shadows, nor the gaps between strokes.
    """
    small = np.asarray(cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
    areas = small.reshape(64 * 64, -1).T.copy()  # (C, 4096)
    borders = _border(small).reshape(4 * 64, -1).T  # (C, 256)
    ends = np.partition(areas, (20, -21))[:, [20, -21]]  # all but 0.5 % a side lies between
    middles = ends.mean(axis=1, keepdims=True)
    votes = (borders < middles).mean(axis=1) + (areas < middles).mean(axis=1) - 1
    uneven = ~_is_even(borders)
    if uneven.any():
        votes -= 2 * uneven * _strokeness(small, cv2.MORPH_BLACKHAT)
    if (uneven & (votes > -2)).any():  # else no share could outvote it
        votes += 2 * uneven * _strokeness(small, cv2.MORPH_TOPHAT)
    return np.asarray(votes > 0)


def _is_even(borders: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the ground is one even colour, as drawings have it and photos don't."""
    middles = np.sort(borders)[..., borders.shape[-1] // 2, None]
    return np.asarray((np.abs(borders - middles.astype(np.float32)) < 6).mean(axis=-1) >= 0.7)


def _border(grey: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _strokeness(picture: Bytes, hat: int) -> NDArray[np.float64]:
    """Of what is lighter (top hat) or darker (black hat) than its surroundings, the share that is
    narrow: near 1 for pen strokes. By channel."""
    energies = []
    for reach in (5, 9, 21):  # pixels of 64
        wide = cv2.copyMakeBorder(picture, *(reach,) * 4, cv2.BORDER_REPLICATE)
        narrow = cv2.split(cv2.morphologyEx(wide, hat, np.ones((reach, reach), np.uint8)))
        energies.append(np.array([cv2.norm(channel, cv2.NORM_L2SQR) for channel in narrow]) + 1)
    return np.asarray((energies[0] + energies[1]) / (2 * energies[2]))


def _filter(colours: Floats, reach: float) -> Floats:
    """The colour filter under which the ink stands out: weights of the channels.

    A matched filter: a channel counts as the ink darkens it, against the noise it has.
    """
    if colours.shape[2] == 1:
        return np.ones(1, np.float32)
    darker = np.stack(cv2.split(_paper(colours, reach) - colours))
    strength = darker.max(axis=0)
    signal = darker[:, strength >= _quantile(strength, 0.98)].mean(axis=1) + 1e-6
    noise = np.array([_quantile(channel, 0.5) for channel in darker]) + 0.02
    weights = signal / noise**2
    return np.asarray(weights / weights.sum(), np.float32)


def _paper(grey: Floats, share: float) -> Floats:
    """The paper without the ink: a closing by a share of the longest side, wider than any stroke.

    The picture is continued beyond its edges, so that what lies along an edge (a cell border, a
    shadow, the desk) counts as paper.
    """
    height, width = grey.shape[:2]
    scale = min(1.0, 128 / max(height, width))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    reach = max(3, round(max(small.shape) * share)) | 1
    # Narrowed by one more, because enlarging widens it again: no rim along the edge of a shadow.
    beyond = reach // 2 + 1
    wide = cv2.copyMakeBorder(small, *(beyond,) * 4, cv2.BORDER_REPLICATE)
    paper = cv2.dilate(wide, np.ones((reach, reach), np.uint8))
    paper = cv2.erode(paper, np.ones((reach + 2, reach + 2), np.uint8))
    paper = cv2.resize(paper[beyond:-beyond, beyond:-beyond], (width, height))
    return np.maximum(paper, grey)


# Ink ------------------------------------------------------------------------------------------


def find_ink(contrast: Floats) -> tuple[Floats, float]:
    """The digit's ink, (H, W) float32 in [0, 1], and the share of all ink that was thrown away."""
    ground, noise = _spread(contrast)
    if noise > 0.005:
        contrast = np.asarray(cv2.GaussianBlur(contrast, (5, 5), 0), np.float32)
        ground, noise = _spread(contrast)
    floor = ground + 4 * noise + 0.02
    loose = np.asarray(contrast > floor, np.uint8)
    loose = _inside(_unruled(loose))
    if not loose.any():
        raise NoInkError("The picture shows no ink: is it blank?")
    level = _quantile(contrast[loose > 0], 0.9)
    strong = loose * (contrast > max(floor, 0.4 * level))
    reach = max(contrast.shape) // 20
    around = cv2.dilate(strong, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    weak = loose * around * (contrast > max(floor, 0.2 * level))
    count, labels = cv2.connectedComponents(weak, connectivity=8)
    certain = strong > 0
    mass = np.bincount(labels[certain], contrast[certain], minlength=count)
    mass[0] = 0
    kept = mass > 0.05 * mass.max()
    near = cv2.dilate(kept.take(labels).astype(np.uint8), np.ones((3, 3), np.uint8))
    soft = np.clip((contrast - 0.15 * level) / (0.75 * level), 0, 1) * near
    return np.asarray(soft, np.float32), float(1 - mass[kept].sum() / mass.sum())


def _spread(contrast: Floats) -> tuple[float, float]:
    """Median and robust standard deviation, of one pixel in nine."""
    sample = contrast[::3, ::3]
    median = _quantile(sample, 0.5)
    return median, 1.4826 * _quantile(np.abs(sample - median), 0.5)


def _quantile(values: NDArray[Any], share: float) -> float:
    """The value that `share` of all lie below; NumPy's own interpolates, slowly."""
    return float(np.sort(values, axis=None)[int(share * (values.size - 1) + 0.5)])


def _unruled(mask: Bytes) -> Bytes:
    """The mask without thin lines that run from edge to edge, past the digit at both ends."""
    upright = _lines(mask.T.copy()).T
    level = _lines(mask, crossing=upright)
    if not (level.any() or upright.any()):
        return mask
    rest = np.where(level | upright, 0, mask)
    _, _, parts, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    if len(parts) < 2:
        return mask
    x, y, w, h, _ = parts[1 + parts[1:, cv2.CC_STAT_AREA].argmax()]  # the digit
    height, width = mask.shape
    edge = max(2, max(height, width) // 50)
    if max(w, h) <= 0.2 * min(height, width):
        return mask
    if edge <= x and x + w <= width - edge:
        mask = np.where(level, 0, mask)
    if edge <= y and y + h <= height - edge:
        mask = np.where(upright, 0, mask)
    return mask


def _lines(mask: Bytes, crossing: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Where thin lines run from the left edge to the right one, climbing by a fifth at most.

    They may end in a `crossing` line, as in the corner of a cell.
    """
    height, width = mask.shape
    edge, gap = max(3, width // 25), max(3, width // 16)
    columns = mask.max(axis=0, keepdims=True)
    if not cv2.dilate(columns, np.ones((1, 2 * (edge + gap) + 1), np.uint8)).all():
        return np.zeros(mask.shape, np.bool_)  # as it is for most pictures
    thick = max(3, round(0.16 * max(height, width)))
    padded = cv2.copyMakeBorder(mask, thick, thick, 0, 0, cv2.BORDER_CONSTANT, value=0)
    solid = cv2.morphologyEx(padded, cv2.MORPH_OPEN, np.ones((thick, 1), np.uint8))
    thin = mask - solid[thick:-thick]
    runs = thin if crossing is None else thin | crossing.astype(np.uint8)
    runs = cv2.dilate(runs, np.ones((3, 1), np.uint8))  # lets a line climb a little
    runs = cv2.morphologyEx(runs, cv2.MORPH_OPEN, np.ones((1, max(3, width // 8)), np.uint8))
    runs = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
    if not (runs[:, : edge + 1].any() and runs[:, -edge - 1 :].any()):
        return np.zeros(mask.shape, np.bool_)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(runs, connectivity=8)
    left, _, length, climb, _ = stats.T
    across = (left <= edge) & (left + length >= width - edge) & (climb <= 0.2 * width)
    across[0] = False
    return np.asarray(across[labels] & (thin > 0))


def _inside(mask: Bytes) -> Bytes:
    """The mask without what touches the picture's edge and stays near it, if that leaves any."""
    height, width = mask.shape
    touch = max(1, round(0.015 * max(height, width)))
    if np.count_nonzero(mask) == np.count_nonzero(mask[touch:-touch, touch:-touch]):
        return mask
    count, labels = cv2.connectedComponents(mask, connectivity=8)

    def areas(edge: int) -> NDArray[np.intp]:
        part = labels[edge : height - edge, edge : width - edge]
        return np.bincount(part[part > 0], minlength=count)

    area, zone = areas(0), max(1, round(0.12 * min(height, width)))
    kept = (areas(touch) == area) | (areas(zone) > 0.05 * area)
    rest = mask * kept.take(labels)
    return rest if rest.any() else mask


# Pen ------------------------------------------------------------------------------------------


def set_pen(ink: Floats) -> Floats:
    """The ink as a pen would have drawn it whose strokes are MNIST's on the canvas.

    Hairlines are thickened to `STROKE`, lest they vanish, and markers thinned to `MARKER`, lest
    they close the loops; what lies between is left as it is.
    """
    top, bottom, left, right = _bounds(ink)
    digit = ink[top:bottom, left:right]
    scale = BOX_SIZE / max(digit.shape)
    mask = (digit > 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
    width = 2 * float(digit.sum()) / max(perimeter, 1.0) * scale  # pixels on the canvas
    target = STROKE if width < 0.75 * STROKE else MARKER if width > 1.15 * MARKER else width
    grow = round((target - width) / 2 / scale)
    if -2 * grow >= min(digit.shape):
        return ink  # thinned so far, nothing would be left of it
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(grow) + 1,) * 2)
    if grow > 0:
        wide = cv2.copyMakeBorder(digit, grow, grow, grow, grow, cv2.BORDER_CONSTANT, value=0)
        return np.asarray(cv2.dilate(wide, disc), np.float32)
    thin = np.asarray(cv2.erode(ink, disc), np.float32)
    return thin if thin.max() > 0.9 else ink


# Frame ----------------------------------------------------------------------------------------


def frame(ink: Floats) -> Canvas:
    """MNIST's framing of (H, W) ink in [0, 1], as Yadav and Bottou (2019) reconstructed it.

    The bounding box, made square, is area-averaged to 20 pixels, scaled to a peak of 1 in steps of
    1/255, and shifted by whole pixels until its centre of mass is within half a pixel of index
    14.0. Raises `NoInkError` where nothing is above 0.
    """
    top, bottom, left, right = _bounds(ink)
    height, width = bottom - top, right - left
    side = max(height, width)
    square = np.zeros((side, side), np.float32)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = ink[top:bottom, left:right]
    while side < BOX_SIZE:  # double the pixels: area averaging only makes smaller
        square, side = square.repeat(2, axis=0).repeat(2, axis=1), 2 * side
    box = cv2.resize(square, (BOX_SIZE, BOX_SIZE), interpolation=cv2.INTER_AREA)
    box = np.floor(box / box.max() * 255 + 0.5) / 255
    mass = cv2.moments(box)
    y, x = (int(CENTRE - 0.5 - mass[moment] / mass["m00"]) for moment in ("m01", "m10"))
    guarded = np.zeros((IMAGE_SIZE + 2 * BOX_SIZE,) * 2, np.float32)
    guarded[BOX_SIZE + y : 2 * BOX_SIZE + y, BOX_SIZE + x : 2 * BOX_SIZE + x] = box
    return guarded[BOX_SIZE:-BOX_SIZE, BOX_SIZE:-BOX_SIZE].copy()


def _bounds(ink: NDArray[Any]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right (bottom and right exclusive) of what is above 0."""
    left, top, width, height = cv2.boundingRect((ink > 0).astype(np.uint8))
    if not width:
        raise NoInkError("The picture shows no ink: is it blank?")
    return top, top + height, left, left + width
