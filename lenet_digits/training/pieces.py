"""Makes the pieces that a reader of numbers cuts, from digits like MNIST's.

Most are not one digit: two digits, one and a half, a half, a digit with a dash, a digit struck
through. A digit with slivers of its neighbours is still one digit. Digits are (N, 28, 28) uint8,
and pieces are framed as pictures are. All shares and lengths below were set by hand.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.framing import bounds, frame, set_pen

Bytes = NDArray[np.uint8]
# Shares of the pieces: two digits side by side, two stacked, one and a half, a half, a digit with a
# dash or comma, a digit struck through.
PIECE_SHARES = (0.28, 0.2, 0.26, 0.08, 0.1, 0.08)
HALVED = (3, 4, 8)  # digits whose left half does not look like another digit
SLIVER = (0.08, 0.2)  # share of a neighbour's width that reaches in
HALF = (0.4, 0.65)  # share of a neighbour's width that makes one and a half
STRUCK = (2, 3, 5, 6, 8, 9)  # digits that nobody writes with a line across
STRIKE = (1.5, 2.3)  # length of the line that strikes a digit through, in widths of the digit
STUB = 0.6  # height of a sliver, by the neighbour's height: a higher one could be a 1


def cut_pieces(
    images: Bytes, labels: NDArray[np.int64], count: int, *, rng: np.random.Generator
) -> Bytes:
    """Make ``count`` pieces that are not one digit: (count, 28, 28) uint8.

    Pieces that look like one digit are left out: a 1 above or below another digit makes its stem
    longer, and half of a 0 or a 7 looks like a 1.
    """
    not_ones = np.flatnonzero(labels != 1)
    halved = np.flatnonzero(np.isin(labels, HALVED))
    struck = np.flatnonzero(np.isin(labels, STRUCK))
    pieces = np.zeros((count, 28, 28), np.uint8)
    for piece, kind in zip(pieces, rng.choice(6, count, p=PIECE_SHARES), strict=True):
        if kind == 0:
            left, right = (_crop(images[i]) for i in rng.integers(len(images), size=2))
            ink = _beside(left, right, gap=int(rng.integers(-1, 9)), drop=int(rng.integers(-4, 5)))
        elif kind == 1:
            upper, lower = (_crop(images[i]).T for i in rng.choice(not_ones, 2))
            gap, drop = int(rng.integers(3, 11)), int(rng.integers(-5, 6))
            ink = _beside(upper, lower, gap=gap, drop=drop).T
        elif kind == 2:
            whole = _crop(images[rng.integers(len(images))])
            other = _crop(images[rng.choice(not_ones)])
            ink = _with_neighbour(whole, other, rng.uniform(*HALF), rng)
        elif kind == 3:
            whole = _crop(images[rng.choice(halved)])
            ink = whole[:, : round(whole.shape[1] * rng.uniform(0.4, 0.5))]
        elif kind == 4:
            ink = _with_mark(_crop(images[rng.integers(len(images))]), rng)
        else:
            ink = _struck(_crop(images[rng.choice(struck)]), rng)
        piece[:] = _framed(ink)
    return pieces


def add_slivers(images: Bytes, *, rng: np.random.Generator) -> Bytes:
    """The digits with slivers of other digits on one side or both: (N, 28, 28) uint8."""
    crowded = np.zeros_like(images)
    for canvas, image in zip(crowded, images, strict=True):
        ink = _crop(image)
        for _ in range(rng.choice((1, 2), p=(0.7, 0.3))):
            other = _crop(images[rng.integers(len(images))])
            ink = _with_neighbour(ink, other, rng.uniform(*SLIVER), rng)
        canvas[:] = _framed(ink)
    return crowded


def _crop(image: Bytes) -> Bytes:
    top, bottom, left, right = bounds(image)
    return image[top:bottom, left:right]


def _framed(ink: Bytes) -> Bytes:
    canvas = frame(set_pen(np.divide(ink, 255, dtype=np.float32)))
    grey: Bytes = np.rint(canvas * 255).astype(np.uint8)
    return grey


def _beside(left: Bytes, right: Bytes, *, gap: int, drop: int) -> Bytes:
    """Two crops side by side; the right one's middle is `drop` pixels lower than the left one's."""
    top_left, top_right = 14 - len(left) // 2, 14 - len(right) // 2 + drop
    base = min(top_left, top_right)
    top_left, top_right = top_left - base, top_right - base
    start = max(left.shape[1] + gap, 0)
    height = max(top_left + len(left), top_right + len(right))
    both = np.zeros((height, max(start + right.shape[1], left.shape[1])), np.uint8)
    both[top_left : top_left + len(left), : left.shape[1]] = left
    place = both[top_right : top_right + len(right), start : start + right.shape[1]]
    np.maximum(place, right, out=place)
    return both


def _with_neighbour(ink: Bytes, other: Bytes, share: float, rng: np.random.Generator) -> Bytes:
    """Ink with a part of another digit on one side: a share of that digit's width."""
    gap, drop = int(rng.integers(0, 4)), int(rng.integers(-3, 4))
    at_right = rng.random() < 0.5
    width = max(1, round(share * other.shape[1]))
    part = other[:, :width] if at_right else other[:, -width:]
    if share < HALF[0]:
        rows = np.flatnonzero(part.max(axis=1) > 127)
        start = int(rows[0]) if len(rows) else 0
        part = part[start : start + max(1, int(STUB * len(other)))]
        drop += start + len(part) // 2 - len(other) // 2
    if at_right:
        return _beside(ink, part, gap=gap, drop=drop)
    return _beside(part, ink, gap=gap, drop=-drop)


def _with_mark(ink: Bytes, rng: np.random.Generator) -> Bytes:
    """Ink with a dash at half height, or a comma at the foot, on one side."""
    pen = int(rng.integers(2, 4))
    if rng.random() < 0.5:
        mark = np.full((pen, rng.integers(6, 13)), 255, np.uint8)
        drop = int(rng.integers(-2, 3))
    else:
        mark = np.zeros((rng.integers(5, 9), 5), np.uint8)
        rows = np.arange(len(mark))
        lean = np.linspace(4 - pen, 0, len(mark)).astype(int)
        for step in range(pen):
            mark[rows, np.maximum(lean + step, 0)] = 255
        drop = len(ink) // 2
    gap = int(rng.integers(2, 6))
    if rng.random() < 0.5:
        return _beside(ink, mark, gap=gap, drop=drop)
    return _beside(mark, ink, gap=gap, drop=-drop)


def _struck(ink: Bytes, rng: np.random.Generator) -> Bytes:
    """Ink with a line through its middle, up to 30 degrees steep, that is longer than it."""
    height, width = ink.shape
    length = rng.uniform(*STRIKE) * width
    angle = np.radians(rng.uniform(-30, 30))
    reach = np.array((np.cos(angle), np.sin(angle))) * length / 2
    middle = np.array((width / 2, height * rng.uniform(0.35, 0.65)))
    margin = 24  # pixels around the digit; the line ends within them
    board = np.pad(ink, margin)
    start, end = (np.rint((middle + sign * reach + margin) * 16).astype(int) for sign in (-1, 1))
    cv2.line(board, start.tolist(), end.tolist(), 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
    return _crop(board)
