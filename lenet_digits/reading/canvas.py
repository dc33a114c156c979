"""Takes a picture to its canvas, step by step: picture, contrast, ink, canvas."""

from __future__ import annotations

from dataclasses import dataclass
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
    all_ink,
    enlarged,
    flatten,
    ink_of_one_digit,
    on_one_ground,
    reduced,
    with_margin,
    without_impulses,
)
from lenet_digits.reading.pictures import Bytes, ImageInput, read

METHODS = ("mnist", "center-crop")


@dataclass(frozen=True, eq=False)
class CanvasSteps:
    """A picture on its way to the canvas, step by step; H and W are at most `ink.WORK_SIZE`."""

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

    def _repr_html_(self) -> str:
        return figures_html(self.named())


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
    picture = on_one_ground(without_impulses(reduced(page)))
    if (framed := already_framed(picture)) is not None:
        return _steps(picture, framed, framed, framed, 0.0)
    picture = enlarged(with_margin(picture))
    contrast = flatten(picture)
    ink, discarded = ink_of_one_digit(all_ink(contrast))
    return _steps(picture, contrast, ink, frame(set_pen(ink)), discarded)


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
