"""Takes a picture to its canvas, step by step: picture, contrast, ink, canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lenet_digits.reading.display import figures_html
from lenet_digits.reading.framing import (
    IMAGE_SIZE,
    Canvas,
    Floats,
    already_framed,
    bounds,
    frame,
    set_pen,
)
from lenet_digits.reading.ink import (
    Ink,
    all_ink,
    enlarged,
    flatten,
    ink_of_layer,
    ink_of_one_digit,
    on_one_ground,
    reduced,
    with_margin,
    without_impulses,
)
from lenet_digits.reading.marks import (
    two_digits,
    without_clutter,
    without_minus,
    without_strike,
    without_underline,
)
from lenet_digits.reading.page import Page, cut_out, page_within
from lenet_digits.reading.pictures import Bytes, ImageInput, NoInkError, composited, read

METHODS = ("mnist", "center-crop")


@dataclass(frozen=True, eq=False)
class CanvasSteps:
    """A picture on its way to the canvas, step by step; H and W are at most `ink.WORK_SIZE`."""

    picture: Bytes  # (H, W, 3), upright, on its paper; only the page that carries the ink
    contrast: Floats  # (H, W) in [0, 1], uneven light divided out, ink bright
    ink: Floats  # (H, W) in [0, 1], what is left after threshold and cleaning
    box: tuple[int, int, int, int]  # left, top, right, bottom (exclusive) of the ink in `picture`
    canvas: Canvas
    discarded: float  # share of the ink, in [0, 1], thrown away as not part of the digit
    # The same where it is open what is ink; `prediction.likeliest` chooses by the network's answer.
    alternatives: tuple[CanvasSteps, ...] = ()

    def named(self) -> list[tuple[str, NDArray[Any]]]:
        """Each step with its name, in order, for display."""
        return [
            ("Picture", self.picture),
            ("Contrast", self.contrast),
            ("Ink", self.ink),
            ("Canvas", self.canvas),
        ]

    def __repr__(self) -> str:
        high, wide = self.ink.shape
        return f"<CanvasSteps: a picture of {wide}×{high}, its ink in {self.box}>"

    def _repr_html_(self) -> str:
        return figures_html(self.named())


def two_canvases(steps: CanvasSteps) -> tuple[list[Canvas], bool]:
    """Canvases of two shapes in the ink that may be a digit each, and whether a gap parts them."""
    left, top, right, bottom = steps.box
    parts, apart = two_digits(steps.ink[top:bottom, left:right])
    if not all(part.any() for part in parts):
        return [], False
    return [frame(set_pen(part)) for part in parts], apart


def to_canvas(image: ImageInput, *, method: str = "mnist") -> Canvas:
    """The (28, 28) float32 canvas of a picture, in [0, 1]; raises as `canvas_steps` does."""
    return canvas_steps(image, method=method).canvas


def canvas_steps(image: ImageInput, *, method: str = "mnist") -> CanvasSteps:
    """Takes a picture to its canvas and keeps every step.

    `image` is a path, encoded bytes, a binary file, a Pillow image, or an array or tensor of shape
    (H, W), (H, W, C), (C, H, W) or (1, C, H, W) with C in 1 to 4; integers count up to their
    type's maximum, floats up to 1 (or 255, if any exceeds 1). `method` is "mnist", or
    "center-crop" for the plain pipeline (crop to the smaller side, grey, invert, resize).

    Raises `UnreadableImageError` if the input is not a picture, `NoInkError` if it shows no ink.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    page = read(image)
    if method == "center-crop":
        return _center_crop(page if page.shape[2] == 3 else composited(page))
    if page.shape[2] == 4:
        return _layer_steps(reduced(page))
    picture = on_one_ground(without_impulses(reduced(page)))
    framed, surely = already_framed(picture)
    if framed is not None:
        itself = _steps(picture, framed, framed, framed, 0.0)
        if surely:
            return itself
    found = page_within(picture)
    try:
        steps = _page_steps(page, found) if found else _picture_steps(picture)
    except NoInkError:  # what seemed to be ink on the page is faint, or lies along its edge
        if not found:
            raise
        found, steps = None, _picture_steps(picture)
    if found and found.doubtful:
        whole = _picture_steps(picture)
        others = (*whole.alternatives, replace(steps, alternatives=()), *steps.alternatives)
        steps = replace(whole, alternatives=others)
    if framed is not None:
        steps = replace(steps, alternatives=(*steps.alternatives, itself))
    return steps


def _page_steps(page: Bytes, found: Page) -> CanvasSteps:
    """The steps of a page within a picture, cut out of its pixels, (H, W, 3)."""
    cut, inside = cut_out(page, found)
    picture = enlarged(without_impulses(reduced(cut)))
    contrast = flatten(picture)
    steps = _all_steps(picture, contrast, all_ink(contrast, inside))
    every = [
        replace(each, discarded=1 - (1 - each.discarded) * (1 - found.left_out))
        for each in (replace(steps, alternatives=()), *steps.alternatives)
    ]
    return replace(every[0], alternatives=tuple(every[1:]))


def _picture_steps(picture: Bytes) -> CanvasSteps:
    """The steps of a picture, (H, W, 3), that is a page itself."""
    picture = enlarged(with_margin(picture))
    contrast = flatten(picture)
    return _all_steps(picture, contrast, all_ink(contrast))


def _layer_steps(layer: Bytes) -> CanvasSteps:
    """The steps of a layer of ink, (H, W, 4): its alpha says what is ink, and all of it is."""
    picture = composited(layer)
    framed, surely = already_framed(picture)
    if framed is not None and surely:
        return _steps(picture, framed, framed, framed, 0.0)
    contrast = np.asarray(enlarged(layer[:, :, 3]) / np.float32(255), np.float32)
    return _all_steps(enlarged(picture), contrast, ink_of_layer(contrast))


def _all_steps(picture: Bytes, contrast: Floats, ink: Ink) -> CanvasSteps:
    """The steps of a picture and their alternatives, from its ink."""
    answers, box = ink_of_one_digit(ink)
    for without in (without_clutter, without_underline, without_minus, without_strike):
        whole, discarded = answers[0]
        if (less := without(whole)) is not None:
            left = (1 - discarded) * float(less.sum() / whole.sum())
            answers = [(less, 1 - left), *answers]
    first, *others = (
        _steps(picture, contrast, _placed(digit, box, contrast), frame(set_pen(digit)), discarded)
        for digit, discarded in answers
    )
    return replace(first, alternatives=tuple(others)) if others else first


def _placed(ink: Floats, box: tuple[slice, slice], contrast: Floats) -> Floats:
    """A part of the ink in its place in the whole picture, (H, W), with no ink around it."""
    whole = np.zeros(contrast.shape, np.float32)
    whole[box] = ink
    return whole


def _steps(
    picture: Bytes,
    contrast: Floats,
    ink: Floats,
    canvas: Canvas,
    discarded: float,
) -> CanvasSteps:
    top, bottom, left, right = bounds(ink)
    return CanvasSteps(picture, contrast, ink, (left, top, right, bottom), canvas, discarded)


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
