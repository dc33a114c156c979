"""Draws one digit in the surroundings that people's pictures have, at random and repeatably.

Every kind takes the ink of a digit, (h, w) float32 in [0, 1], and a generator, and returns a
picture, (H, W, 3) uint8, or (H, W, 4) for a transparent layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.training.drawing import DIGITS, _distort, _trace

Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]
Generator = np.random.Generator

SHARP = 3  # pixels drawn for every pixel of a picture, each way


def handwritten(digit: int, rng: Generator) -> Floats:
    """A digit, about 200 pixels high, from the strokes that the project draws its digits with."""
    styles = [style for style in DIGITS if style[0][0] == str(digit)]
    shares = np.array([share for _, share, _ in styles])
    style = styles[rng.choice(len(styles), p=shares / shares.sum())]
    paths = [path[0] for path in _distort(_trace(style[2], 1, rng), rng)]
    every = np.concatenate(paths)
    low, high = every.min(axis=0), every.max(axis=0)
    pen = rng.uniform(8, 26)
    scale = 200 / max(high - low)
    width, height = ((high - low) * scale + 2 * pen).astype(int)
    board = np.zeros((height, width), np.uint8)
    for path in paths:
        points = np.rint(((path - low) * scale + pen) * 16).astype(np.int32)
        cv2.polylines(board, [points], False, 255, round(pen), cv2.LINE_AA, 4)
    left, top, width, height = cv2.boundingRect(board)
    return np.asarray(board[top : top + height, left : left + width] / 255, np.float32)


# Helpers -----------------------------------------------------------------------------------------


def paper(rng: Generator, height: int, width: int, *, grey: float, tint: float = 6) -> Floats:
    """An even ground of about one grey, with a tint, a slight gradient and grain."""
    ground = np.full((height, width, 3), grey, np.float32) + rng.normal(0, tint, 3)
    slope = np.linspace(-1, 1, width)[None, :, None] * rng.uniform(-8, 8)
    grain = rng.normal(0, rng.uniform(0, 3), (height, width, 1))
    return np.asarray(ground + slope + grain, np.float32)


def colour(rng: Generator, grey: float, spread: float = 20) -> Floats:
    """A colour of about one grey."""
    return np.asarray(np.clip(grey + rng.normal(0, spread, 3), 0, 255), np.float32)


def dark_or_light(rng: Generator) -> tuple[float, float]:
    """The greys of a paper and of the ink on it: mostly dark on light."""
    light, dark = rng.uniform(190, 252), rng.uniform(10, 80)
    return (light, dark) if rng.random() < 0.7 else (dark, light)


def put(page: Floats, ink: Floats, *, high: float, at: tuple[float, float], grey: Floats) -> None:
    """Writes the digit on the page, `high` pixels on its longest side, its centre at (x, y)."""
    scale = high / max(ink.shape)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=way)
    shift = np.float32([[1, 0, at[0] - small.shape[1] / 2], [0, 1, at[1] - small.shape[0] / 2]])
    cover = cv2.warpAffine(small, shift, page.shape[1::-1])[:, :, None]
    page += cover * (grey - page)


def shape(page: Floats, points: NDArray[np.float64], *, fill: bool, width: float = 1) -> Floats:
    """How much of each pixel a polygon, or its outline of some width, covers: (H, W, 1)."""
    board = np.zeros((page.shape[0] * SHARP, page.shape[1] * SHARP), np.uint8)
    corners = [np.rint(points * SHARP).astype(np.int32)]
    if fill:
        cv2.fillPoly(board, corners, 255)
    else:
        cv2.polylines(board, corners, True, 255, max(1, round(width * SHARP)))
    small = cv2.resize(board, page.shape[1::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, :, None] / 255, np.float32)


def box(at: tuple[float, float], width: float, height: float, degrees: float) -> NDArray:
    """The corners of a box, (4, 2), turned about its centre."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    return _turned(corners, degrees) + at


def oval(at: tuple[float, float], width: float, height: float, degrees: float) -> NDArray:
    """Points of an ellipse, (90, 2)."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    points = np.stack([np.cos(angles) * width / 2, np.sin(angles) * height / 2], axis=1)
    return _turned(points, degrees) + at


def _turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(points @ matrix, np.float64)


def rule(page: Floats, a: tuple[float, float], b: tuple[float, float], *, grey: Floats | float,
         width: float) -> None:  # fmt: skip
    """Draws a straight line from one point to another."""
    (ax, ay), (bx, by) = a, b
    along = np.array([bx - ax, by - ay]) / max(1e-6, np.hypot(bx - ax, by - ay))
    across = np.array([-along[1], along[0]]) * width / 2
    points = np.array([a + across, b + across, b - across, a - across])
    page += shape(page, points, fill=True) * (grey - page)


def finished(page: Floats) -> Bytes:
    return np.asarray(np.clip(page + 0.5, 0, 255), np.uint8)


# Kinds -------------------------------------------------------------------------------------------


def frame(ink: Floats, rng: Generator) -> Bytes:
    """A closed frame along the picture's edges, or a little inside them."""
    ground, dark = dark_or_light(rng)
    page = paper(rng, 200, 200, grey=ground)
    width, gap = rng.uniform(1, 9), rng.choice([0, rng.uniform(0, 8)])
    corners = box((100, 100), 200 - 2 * gap - width, 200 - 2 * gap - width, 0)
    line = np.clip(dark + rng.uniform(-10, 40) * np.sign(ground - dark), 0, 255)
    page += shape(page, corners, fill=False, width=width) * (line - page)
    at = (100 + rng.uniform(-15, 15), 100 + rng.uniform(-15, 15))
    put(page, ink, high=rng.uniform(80, 130), at=at, grey=colour(rng, dark, 8))
    return finished(page)


def border(ink: Floats, rng: Generator) -> Bytes:
    """A dark band on two, three or four sides: a desk, a scanner's lid, a letter-box."""
    page = paper(rng, 260, 260, grey=rng.uniform(200, 250))
    put(page, ink, high=rng.uniform(90, 150), at=(130 + rng.uniform(-20, 20), 130),
        grey=colour(rng, rng.uniform(20, 80)))  # fmt: skip
    band = colour(rng, rng.uniform(10, 120), 10)
    sides = ((0, 1, 2, 3), (0, 1, 2), (0, 1), (0, 2))[rng.integers(4)]
    for side in sides:
        width = round(rng.uniform(2, 40))
        edge = np.rot90(page, side)[:width]
        edge[:] = band + rng.normal(0, 2, edge.shape)
    return finished(page)


def _sheet(ink: Floats, rng: Generator, desk: float, sheet: Floats, pen: Floats,
           outline: Callable[..., NDArray] = box) -> Bytes:  # fmt: skip
    """Something with a digit on it, on something larger."""
    page = paper(rng, 300, 300, grey=desk, tint=12)
    if rng.random() < 0.5:  # wood, or a wall in uneven light
        page += cv2.resize(rng.normal(0, 6, (60, 4, 1)).astype(np.float32), (300, 300))[..., None]
    high = rng.uniform(70, 130)
    wide = high * rng.uniform(1.4, 2.2), high * rng.uniform(1.4, 2.1)
    at = (150 + rng.uniform(-15, 15), 150 + rng.uniform(-15, 15))
    page += shape(page, outline(at, *wide, rng.uniform(-12, 12)), fill=True) * (sheet - page)
    put(page, ink, high=high, at=at, grey=pen)
    return finished(page + rng.normal(0, 1.5, page.shape))


def paper_on_desk(ink: Floats, rng: Generator) -> Bytes:
    sheet, pen = colour(rng, rng.uniform(200, 250), 5), colour(rng, rng.uniform(20, 80))
    return _sheet(ink, rng, rng.uniform(15, 120), sheet, pen)


def note(ink: Floats, rng: Generator) -> Bytes:
    """A coloured note on a wall or a board of any grey."""
    note = np.array([(250, 235, 120), (250, 170, 190), (150, 225, 160), (150, 205, 245)][
        rng.integers(4)], np.float32)  # fmt: skip
    desk = rng.choice([rng.uniform(20, 120), rng.uniform(240, 255)])
    return _sheet(ink, rng, desk, note, colour(rng, rng.uniform(10, 70)))


def plate(ink: Floats, rng: Generator) -> Bytes:
    """A dark plate with a light digit on a light wall."""
    sheet, pen = colour(rng, rng.uniform(10, 90), 15), colour(rng, rng.uniform(200, 250), 5)
    outline = box if rng.random() < 0.5 else oval
    return _sheet(ink, rng, rng.uniform(180, 245), sheet, pen, outline)


def window(ink: Floats, rng: Generator) -> Bytes:
    """A drawing under a title bar with buttons and a name, perhaps with a button below."""
    ground, dark = (255, rng.uniform(0, 40)) if rng.random() < 0.7 else (0, 255)
    drawing = np.full((320, 280, 3), ground, np.float32)
    put(drawing, ink, high=rng.uniform(110, 170), at=(140, 180), grey=colour(rng, dark, 5))
    page = finished(drawing)
    bar, grey = (
        round(rng.uniform(18, 60)),
        int(rng.choice([rng.integers(30, 80), rng.integers(215, 240)])),
    )
    page[:bar] = grey
    for place, dot in enumerate([(255, 95, 86), (255, 189, 46), (39, 201, 63)]):
        cv2.circle(page, (14 + 16 * place, bar // 2), 5, dot, -1, cv2.LINE_AA)
    text = 235 if grey < 128 else 30
    cv2.putText(page, "Untitled - Paint", (90, bar // 2 + 5), 0, 0.45, (text,) * 3, 1, cv2.LINE_AA)
    if rng.random() < 0.4:
        page[-30:] = grey
        cv2.putText(page, "Clear", (110, 310), 0, 0.45, (text,) * 3, 1, cv2.LINE_AA)
    return page


def boxed(ink: Floats, rng: Generator) -> Bytes:
    """A form's box, cut loosely, so that there is paper around it."""
    ground, dark = dark_or_light(rng)
    page = paper(rng, 240, 240, grey=ground)
    side = rng.uniform(150, 215), rng.uniform(150, 215)
    line = dark + rng.uniform(0, 0.5) * (ground - dark)
    corners = box((120, 120), *side, rng.uniform(-5, 5))
    page += shape(page, corners, fill=False, width=rng.uniform(1, 5)) * (line - page)
    at = (120 + rng.uniform(-12, 12), 120 + rng.uniform(-12, 12))
    put(page, ink, high=rng.uniform(0.45, 0.75) * min(side), at=at, grey=colour(rng, dark, 10))
    return finished(page)


def comb(ink: Floats, rng: Generator) -> Bytes:
    """One place of a comb: a line below, with short ticks that part the places."""
    page = paper(rng, 240, 240, grey=rng.uniform(210, 250))
    line, width, foot = rng.uniform(40, 160), rng.uniform(1.5, 4), rng.uniform(180, 210)
    rule(page, (-5, foot), (245, foot + rng.uniform(-8, 8)), grey=line, width=width)
    wide = rng.uniform(130, 170)
    for x in (120 - wide / 2, 120 + wide / 2):
        rule(page, (x, foot - rng.uniform(20, 70)), (x, foot), grey=line, width=width)
    high = rng.uniform(80, 120)
    put(page, ink, high=high, at=(120, foot - 10 - high / 2), grey=colour(rng, rng.uniform(10, 60)))
    return finished(page)


def ruled(ink: Floats, rng: Generator) -> Bytes:
    """Rules above and below, sloping up to 5 degrees; they may touch or cross the digit."""
    page = paper(rng, 300, 300, grey=rng.uniform(215, 250))
    line, high, width = rng.uniform(70, 205), rng.uniform(90, 140), rng.uniform(1, 3.5)
    step, climb = high * rng.uniform(0.55, 1.3), 300 * np.tan(np.radians(rng.uniform(-5, 5)))
    for y in np.arange(rng.uniform(-60, 0), 380, step):
        rule(page, (-5, y), (305, y + climb), grey=colour(rng, line, 12), width=width)
    at = (150 + rng.uniform(-40, 40), 150 + rng.uniform(-40, 40))
    put(page, ink, high=high, at=at, grey=colour(rng, rng.uniform(10, 60)))
    return finished(page)


def on_a_line(ink: Floats, rng: Generator) -> Bytes:
    """A digit whose foot stands on a rule, which may be as dark as the ink."""
    page = paper(rng, 300, 300, grey=rng.uniform(225, 252), tint=3)
    foot, high = rng.uniform(190, 230), rng.uniform(100, 140)
    line, climb = rng.uniform(60, 225), 300 * np.tan(np.radians(rng.uniform(-3, 3)))
    width = rng.uniform(1, 3.5)
    rule(page, (-5, foot - climb / 2), (305, foot + climb / 2), grey=line, width=width)
    tall = high * ink.shape[0] / max(ink.shape)
    put(page, ink, high=high, at=(150, foot - tall / 2 + rng.uniform(-3, 3)),
        grey=colour(rng, rng.uniform(10, 60)))  # fmt: skip
    return finished(page)


def squared(ink: Floats, rng: Generator) -> Bytes:
    """Graph paper, with squares from a tenth to a third of the digit."""
    page = paper(rng, 300, 300, grey=rng.uniform(225, 250))
    high, line, width = rng.uniform(110, 160), rng.uniform(110, 228), rng.uniform(1, 2)
    step, turn = high * rng.uniform(0.12, 0.35), np.tan(np.radians(rng.uniform(-3, 3)))
    for place in np.arange(rng.uniform(-20, 0), 320, step):
        rule(page, (-5, place), (305, place + 300 * turn), grey=line, width=width)
        rule(page, (place, -5), (place - 300 * turn, 305), grey=line, width=width)
    put(page, ink, high=high, at=(150, 150), grey=colour(rng, rng.uniform(10, 60)))
    return finished(page)


def two_strengths(ink: Floats, rng: Generator) -> Bytes:
    """A pen that runs dry, or is pressed less, in one half of the digit."""
    page = paper(rng, 260, 260, grey=rng.uniform(235, 255), tint=2)
    strong = rng.uniform(5, 60)
    weak = strong + rng.uniform(0.3, 0.8) * (240 - strong)
    pale, across = page.copy(), bool(rng.integers(2))
    high = rng.uniform(120, 180)
    put(page, ink, high=high, at=(130, 130), grey=np.full(3, strong, np.float32))
    put(pale, ink, high=high, at=(130, 130), grey=np.full(3, weak, np.float32))
    soft = rng.uniform(1, 25)  # pixels: over which the strength changes
    share = 1 / (1 + np.exp(-(np.arange(260) - 130) * rng.choice([-1, 1]) / soft))
    share = share[None, :, None] if across else share[:, None, None]
    return finished(page + share * (pale - page))


def circled(ink: Floats, rng: Generator) -> Bytes:
    """A circle or an oval around a digit, which may touch it."""
    ground, dark = dark_or_light(rng)
    page = paper(rng, 280, 280, grey=ground)
    high = rng.uniform(90, 125)
    put(page, ink, high=high, at=(140, 140), grey=colour(rng, dark, 5))
    around = np.hypot(*ink.shape) / max(ink.shape) * high * rng.uniform(1.05, 1.4)
    circle = oval((140, 140), around, around * rng.uniform(0.9, 1.1), rng.uniform(0, 90))
    page += shape(page, circle, fill=False, width=rng.uniform(2, 8)) * (dark - page)
    return finished(page)


def underlined(ink: Floats, rng: Generator) -> Bytes:
    page = paper(rng, 280, 280, grey=rng.uniform(215, 252))
    dark, high = rng.uniform(10, 70), rng.uniform(100, 140)
    put(page, ink, high=high, at=(140, 125), grey=np.full(3, dark, np.float32))
    foot = 125 + high * ink.shape[0] / max(ink.shape) / 2 + rng.uniform(3, 30)
    half = rng.uniform(0.4, 0.8) * high
    tilt = rng.uniform(-6, 6)
    rule(page, (140 - half, foot - tilt), (140 + half, foot + tilt), grey=dark,
         width=rng.uniform(3, 9))  # fmt: skip
    return finished(page)


def _written(ink: Floats, rng: Generator, x: float) -> tuple[Floats, float, float]:
    """A digit on a light page, its centre at column `x`; the page, the ink's grey, its height."""
    page = paper(rng, 320, 320, grey=rng.uniform(215, 252))
    dark, high = rng.uniform(10, 60), rng.uniform(100, 140)
    put(page, ink, high=high, at=(x, 160), grey=colour(rng, dark, 8))
    return page, dark, high


def struck(ink: Floats, rng: Generator) -> Bytes:
    """A straight line, level or aslant, strikes the digit through and runs past it."""
    page, dark, high = _written(ink, rng, 160)
    angle = np.radians(rng.choice([-1, 1]) * rng.uniform(0, 55))
    reach = rng.uniform(0.75, 1.05) * high * np.array([np.cos(angle), np.sin(angle)])
    middle = np.array([160.0, 160.0]) + rng.uniform(-6, 6, 2)
    rule(page, tuple(middle - reach), tuple(middle + reach), grey=colour(rng, dark, 8),
         width=rng.uniform(2, 8))  # fmt: skip
    return finished(page)


def minus(ink: Floats, rng: Generator) -> Bytes:
    """A short dash before the digit, at about the middle of its height."""
    page, dark, high = _written(ink, rng, 190)
    left = 190 - ink.shape[1] * high / max(ink.shape) / 2
    end = left - high * rng.uniform(0.15, 0.4)
    row = 160 + high * rng.uniform(-0.12, 0.12)
    rule(page, (end - high * rng.uniform(0.3, 0.6), row + rng.uniform(-3, 3)), (end, row),
         grey=colour(rng, dark, 8), width=rng.uniform(4, 10))  # fmt: skip
    return finished(page)


def crossed_out(ink: Floats, rng: Generator) -> Bytes:
    """Two straight lines cross the digit out."""
    page, dark, high = _written(ink, rng, 160)
    for sign in (-1, 1):
        angle = np.radians(sign * rng.uniform(35, 55))
        reach = rng.uniform(0.75, 0.95) * high * np.array([np.cos(angle), np.sin(angle)])
        rule(page, tuple(160 - reach), tuple(160 + reach), grey=dark, width=rng.uniform(4, 8))
    return finished(page)


def small(ink: Floats, rng: Generator) -> Bytes:
    """A digit of 5 to 12 % of a photographed page's height."""
    page = paper(rng, 900, 900, grey=rng.uniform(200, 240))
    page += rng.normal(0, rng.uniform(1, 5), (900, 900, 1))
    at = (rng.uniform(150, 750), rng.uniform(150, 750))
    put(page, ink, high=rng.uniform(45, 110), at=at, grey=colour(rng, rng.uniform(20, 80)))
    return finished(page)


def full_layer(ink: Floats, rng: Generator) -> Bytes:
    """A drawing on a transparent layer that it fills, but for a margin of 0 to 8 %."""
    scale = 280 / max(ink.shape)
    board = cv2.resize(ink, None, fx=scale, fy=scale)
    side = round(280 / (1 - 2 * rng.uniform(0, 0.08)))
    layer = np.zeros((side, side, 4), np.uint8)
    layer[:, :, :3] = rng.integers(0, 256, 3)
    (height, width), space = board.shape, side
    top, left = (space - height) // 2, (space - width) // 2
    layer[top : top + height, left : left + width, 3] = np.clip(board * 255, 0, 255)
    return layer


ONE_DIGIT: dict[str, Callable[[Floats, Generator], Bytes]] = {
    "frame": frame,
    "border": border,
    "paper on a desk": paper_on_desk,
    "note": note,
    "plate": plate,
    "window": window,
    "boxed": boxed,
    "comb": comb,
    "ruled": ruled,
    "on a line": on_a_line,
    "squared": squared,
    "two strengths": two_strengths,
    "circled": circled,
    "underlined": underlined,
    "struck": struck,
    "minus": minus,
    "small": small,
    "full layer": full_layer,
}


def several(inks: list[Floats], rng: Generator, *, stacked: bool) -> Bytes:
    """Two digits, one above the other or side by side, from nearly touching to a digit apart."""
    page = paper(rng, 400, 400, grey=rng.uniform(215, 252))
    grey, high = colour(rng, rng.uniform(10, 60), 5), rng.uniform(90, 140)
    size = [np.array(ink.shape[::-1]) * high / max(ink.shape) for ink in inks]
    axis = 1 if stacked else 0
    gap = (size[0][axis] + size[1][axis]) / 2 + high * rng.uniform(0.08, 0.5)
    for ink, side in zip(inks, (-0.5, 0.5), strict=True):
        at = np.array([200.0, 200.0]) + rng.uniform(-6, 6, 2)
        at[axis] += side * gap
        put(page, ink, high=high, at=(at[0], at[1]), grey=grey)
    return finished(page)
