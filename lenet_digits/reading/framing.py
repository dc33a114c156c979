"""Frames ink as MNIST framed its digits: pen width, 20-pixel box, centre of mass."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.pictures import Bytes, NoInkError

# As MNIST is made: LeCun et al. (1998), and the reconstruction by Yadav and Bottou (2019).
IMAGE_SIZE = 28  # pixels: side of a canvas
BOX_SIZE = 20  # pixels: longest side of a digit's bounding box on a canvas
CENTRE = 15.0  # pixels from the canvas edge, at most: the centre of mass lands on 14 to 15
INDEX = 14.0  # of the pixel, from 0, that the centre of mass is nearest to

# A stroke's width is twice its area over its perimeter. Measured on MNIST:
STROKE = 2.0  # pixels on the canvas: the median width
MARKER = 3.0  # pixels on the canvas: what wider strokes become; MNIST's 99th percentile is 3.8

# Tuned on the open real-world sets, 2026-11:
INKED = 0.5  # of the strongest ink: what is at least half covered belongs to a stroke
HAIRLINE = 0.75  # times `STROKE`: narrower strokes are thickened
WIDE = 1.15  # times `MARKER`: wider strokes are thinned
LEAST_PEAK = 0.9  # of full ink, somewhere in a digit: with less it is faint, or thinned too far

# What is a canvas already. A picture that is one has ink of 254 or 255 on a ground of 0.
STRONGEST = 254  # grey levels
MOST_OFF = 0.6  # pixels: centre of mass to `INDEX`; the framing's half a pixel, and rounding
NEARLY_OFF = 4.0  # pixels, where a stray line adds to the digit; tuned as above
STRAY = 5  # pixels: how much longer than `BOX_SIZE` such a line makes it; tuned as above

Floats: TypeAlias = NDArray[np.float32]
Canvas: TypeAlias = Floats  # (28, 28), ink 1 on background 0


def set_pen(ink: Floats) -> Floats:
    """The ink as a pen would have drawn it whose strokes are MNIST's on the canvas.

    Hairlines are thickened to `STROKE`, so that they do not vanish. Markers are thinned to
    `MARKER`, so that they do not close the loops. Pens in between are left as they are.
    """
    top, bottom, left, right = bounds(ink)
    digit = ink[top:bottom, left:right]
    scale = BOX_SIZE / max(digit.shape)
    mask = (digit > INKED).view(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
    width = 2 * float(digit.sum()) / max(perimeter, 1.0) * scale  # pixels on the canvas
    target = STROKE if width < HAIRLINE * STROKE else MARKER if width > WIDE * MARKER else width
    grow = round((target - width) / 2 / scale)
    if grow == 0 and digit.max() > LEAST_PEAK:
        return ink
    if -2 * grow >= min(digit.shape):
        return ink  # thinned so far, nothing would be left of it
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(grow) + 1,) * 2)
    if grow > 0:
        wide = cv2.copyMakeBorder(digit, grow, grow, grow, grow, cv2.BORDER_CONSTANT, value=0)
        return np.asarray(cv2.dilate(wide, disc), np.float32)
    thin = np.asarray(cv2.erode(ink, disc), np.float32)
    return thin if thin.max() > LEAST_PEAK else ink


def frame(ink: Floats) -> Canvas:
    """MNIST's framing of (H, W) ink in [0, 1], as Yadav and Bottou (2019) reconstructed it.

    The bounding box, made square, is area-averaged to 20 pixels, scaled to a peak of 1 in steps of
    1/255, and shifted by whole pixels until its centre of mass is within half a pixel of `INDEX`.
    Raises `NoInkError` where nothing is above 0.
    """
    top, bottom, left, right = bounds(ink)
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


def bounds(ink: NDArray[Any]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right (bottom and right exclusive) of what is above 0."""
    left, top, width, height = cv2.boundingRect((ink > 0).view(np.uint8))
    if not width:
        raise NoInkError("The picture shows no ink: is it blank?")
    return top, top + height, left, left + width


def already_framed(picture: Bytes) -> tuple[Canvas | None, bool]:
    """The canvas itself, where the picture may be one, and whether it surely is.

    A canvas is 28x28, with a digit framed as MNIST's are, up to polarity. A picture that is light
    on pure black, and only nearly framed, may be one too: perhaps a stray line adds to the digit.
    """
    if picture.shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
        return None, False
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    light_on_black = np.median(grey) == 0
    if np.median(grey) > 127:
        grey = 255 - grey
    if grey.max() < STRONGEST or np.median(grey) > 0:
        return None, False
    top, bottom, left, right = bounds(grey)
    side = max(bottom - top, right - left)
    off = max(
        abs(np.average(np.arange(IMAGE_SIZE), weights=grey.sum(axis)) - INDEX) for axis in (0, 1)
    )
    canvas = np.asarray(grey / 255, np.float32)
    if BOX_SIZE - 1 <= side <= BOX_SIZE and off <= MOST_OFF:
        return canvas, True
    nearly = light_on_black and BOX_SIZE - 1 <= side <= BOX_SIZE + STRAY and off <= NEARLY_OFF
    return (canvas if nearly else None), False
