"""Draws digits as people write them, and other things, from the strokes in ``glyphs.txt``.

The drawings are training data in styles that MNIST hardly has, framed as MNIST's digits are. The
weights of the styles and the sizes of all random changes were set by hand.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from lenet_digits.reading.framing import frame

INK_SIZE = 100  # pixels a side on the drawing board: five for each of the 20 that a digit gets
BOARD_SIZE = 112  # pixels a side, with a margin around the ink
CURVE_STEPS = 8  # straight lines from one point of a stroke to the next
SUBPIXEL_BITS = 4  # OpenCV takes coordinates in 1/16 pixel
PEN_WIDTH = 2.1  # pixels at 28x28, median; MNIST's is 2.0
PEN_WIDTHS = (1.0, 4.0)  # pixels at 28x28, hairline to marker
# Shares of the non-digits: glyphs, inventions, numbers, scribbles, textures.
NONDIGIT_SHARES = (0.58, 0.2, 0.06, 0.09, 0.07)


Style = tuple[str, float, str]  # name, weight, strokes


def _read_glyphs() -> tuple[list[Style], list[Style], dict[str, str]]:
    """What ``glyphs.txt`` holds: digits, other glyphs, and the strokes of the example digits."""
    text = Path(__file__).with_name("glyphs.txt").read_text(encoding="utf-8")
    digits, others, examples = [], [], {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, weight, strokes = line.split("\t")
        if not name[0].isdigit():
            others.append((name, float(weight), strokes))
        elif float(weight):
            digits.append((name, float(weight), strokes))
        else:
            examples[name] = strokes
    return digits, others, examples


DIGITS, GLYPHS, EXAMPLES = _read_glyphs()


def draw_digits(count: int, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count`` digits in random order, each of the ten equally often.

    Returns canvases, (count, 28, 28) uint8, and labels, (count,) int64. The same state of the
    generator draws the same digits.
    """
    labels = rng.permutation(np.arange(count) % 10)
    canvases = np.zeros((count, 28, 28), np.uint8)
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        styles = [style for style in DIGITS if style[0][0] == str(digit)]
        shares = np.array([share for _, share, _ in styles], float)
        chosen = rng.choice(len(styles), len(places), p=shares / shares.sum())
        for index, (_, _, strokes) in enumerate(styles):
            canvases[places[chosen == index]] = _draw(strokes, np.sum(chosen == index), rng)
    return canvases, labels


def draw_nondigits(count: int, *, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` things that nobody would read as one digit: (count, 28, 28) uint8.

    They are letters and signs, invented characters, several digits side by side, scribbles and
    textures. Letters that look like a digit are left out: with them, a network would learn to
    refuse real digits.
    """
    kinds = (_draw_glyph, _draw_invention, _draw_number, _draw_scribble, _draw_texture)
    canvases = np.zeros((count, 28, 28), np.uint8)
    for canvas, kind in zip(canvases, rng.choice(5, count, p=NONDIGIT_SHARES), strict=True):
        canvas[:] = kinds[kind](rng)
    return canvases


def _draw_glyph(rng: np.random.Generator) -> np.ndarray:
    return _draw(GLYPHS[rng.integers(len(GLYPHS))][2], 1, rng)


def _draw_invention(rng: np.random.Generator) -> np.ndarray:
    """An invented character: lines between points of a grid, or strokes of other glyphs."""
    if rng.random() < 0.5:
        glyphs = [GLYPHS[i][2].split("|") for i in rng.integers(len(GLYPHS), size=3)]
        return _draw("|".join(strokes[rng.integers(len(strokes))] for strokes in glyphs), 1, rng)
    points = rng.integers(0, 4, (rng.integers(5, 9), 2, 2)) * 32 + 1
    return _draw(" | ".join(f"{a:02}{b:02} {c:02}{d:02}" for (a, b), (c, d) in points), 1, rng)


def _draw_number(rng: np.random.Generator) -> np.ndarray:
    """Two to four digits side by side."""
    paths: list[np.ndarray] = []
    left = 0.0
    styles = rng.integers(len(DIGITS), size=rng.choice((2, 3, 4), p=(0.6, 0.25, 0.15)))
    for style in styles:
        digit = _distort(_trace(DIGITS[style][2], 1, rng), rng)
        across = np.concatenate(digit, axis=1)[..., 0]
        place = np.array((left - across.min(), rng.normal(0, 0.04)))
        paths += [path + place for path in digit]
        left += np.ptp(across) + rng.uniform(0.12, 0.4)
    return _ink(paths, rng, pen_width=PEN_WIDTH * 1.2 / len(styles))


def _draw_scribble(rng: np.random.Generator) -> np.ndarray:
    """One curve that wanders through eight to thirty points."""
    points = rng.integers(0, 100, (rng.integers(8, 31), 2))
    marks = rng.choice(("", "!"), len(points), p=(0.8, 0.2))
    scribble = " ".join(f"{x:02}{y:02}{mark}" for (x, y), mark in zip(points, marks, strict=True))
    return _ink(_trace(scribble, 1, rng), rng, pen_width=PEN_WIDTH / 2)


def _draw_texture(rng: np.random.Generator) -> np.ndarray:
    """Coarse or fine noise, cut off at a random level inside an oval: blobs, clouds, dust."""
    cells = int(np.exp(rng.uniform(np.log(3), np.log(29))))
    noise = rng.random((cells, cells), np.float32)
    field = cv2.resize(noise, (BOARD_SIZE, BOARD_SIZE), interpolation=cv2.INTER_CUBIC)
    wide, high = rng.uniform((0.5, 0.25), 1.5)
    down, across = np.linspace(-1, 1, BOARD_SIZE)[:, None], np.linspace(-1, 1, BOARD_SIZE)
    ink = field - np.maximum((across / wide) ** 2 + (down / high) ** 2 - 1, 0)
    level, softness = np.quantile(ink, rng.uniform(0.3, 0.99)), rng.choice((0.02, 0.5))
    return _to_uint8(frame(np.clip((ink - level) / softness, 0, 1).astype(np.float32)))


def _draw(strokes: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one glyph ``count`` times, each time differently: (count, 28, 28) uint8."""
    return _ink(_distort(_trace(strokes, count, rng), rng), rng)


@lru_cache(maxsize=512)
def read_stroke(stroke: str, steps: int = CURVE_STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Read a stroke as ``glyphs.txt`` writes it: "6004 3012! 1850" is three points, with a corner.

    Returns its points, (P, 2) float64 in a box of 1 by 1 with y down, and its curve, (T, P). The
    stroke's path is ``curve @ points``, with that many steps from one point to the next. It is a
    cubic Hermite spline with Catmull and Rom's tangents, which are 0 at ends and corners.
    """
    words = stroke.split()
    points = np.array([(int(word[:2]), int(word[2:4])) for word in words]) / 100
    smooth = np.array([not word.endswith("!") for word in words])
    smooth[[0, -1]] = False
    count = len(words)
    tangents = np.zeros((count, count))
    inner = np.flatnonzero(smooth)
    tangents[inner, inner + 1], tangents[inner, inner - 1] = 0.5, -0.5
    values = np.eye(count)
    t = np.arange(steps)[:, None] / steps
    pieces = [
        (1 + 2 * t) * (1 - t) ** 2 * values[i]
        + t * (1 - t) ** 2 * tangents[i]
        + t**2 * (3 - 2 * t) * values[i + 1]
        + t**2 * (t - 1) * tangents[i + 1]
        for i in range(count - 1)
    ]
    return points, np.concatenate([*pieces, values[-1:]])


def _trace(strokes: str, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Follow a glyph's strokes ``count`` times: a path (count, T, 2) for each stroke."""
    paths = []
    carelessness = rng.gamma(4, 1 / 4, (count, 1, 1))  # mean 1, one hand in ten above 1.7
    for stroke in strokes.split("|"):
        points, curve = read_stroke(stroke)
        moved = points + rng.normal(0, 0.028, (count, *points.shape)) * carelessness
        centre = moved.mean(axis=1, keepdims=True)
        moved = centre + (moved - centre) * rng.normal(1, 0.06, (count, 1, 1))
        moved += rng.normal(0, 0.018, (count, 1, 2)) * carelessness
        path = curve @ moved
        hook = rng.normal(0, 0.035, (count, 1, 2)) * (rng.random((count, 1, 1)) < 0.3)
        paths.append(np.concatenate([path[:, :1] + hook, path], axis=1))
    return paths


def _distort(paths: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Bend, narrow, slant and turn all strokes of a glyph together, as a hand does."""
    count = len(paths[0])
    path = np.concatenate(paths, axis=1) - 0.5
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 2))
    swing = rng.normal(0, 0.04, (count, 1, 2))
    path += swing * np.sin(rng.uniform(2, 7, (count, 1, 2)) * path[..., ::-1] + phase)
    path[..., 1] += rng.normal(0, 0.25, (count, 1)) * (path[..., 1] ** 2)  # a larger top or foot
    narrowing = np.exp(rng.normal(-0.03, 0.2, (count, 1)))
    slant = rng.normal(0.12, 0.2, (count, 1))
    angle = np.radians(rng.normal(0, 6, (count, 1)))
    x = narrowing * path[..., 0] - slant * path[..., 1]
    y = path[..., 1]
    turned = np.stack(
        [np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=-1
    )
    return np.split(turned, np.cumsum([p.shape[1] for p in paths[:-1]]), axis=1)


def _ink(
    paths: list[np.ndarray], rng: np.random.Generator, *, pen_width: float = PEN_WIDTH
) -> np.ndarray:
    """Draw paths (count, T, 2) of any size with pens of random widths: (count, 28, 28) uint8."""
    count = len(paths[0])
    canvases = np.zeros((count, 28, 28), np.uint8)
    everything = np.concatenate(paths, axis=1)
    low = everything.min(axis=1, keepdims=True)  # (count, 1, 2)
    high = everything.max(axis=1, keepdims=True)
    widths = np.clip(pen_width * np.exp(rng.normal(0, 0.3, count)), *PEN_WIDTHS)
    pens = np.rint(widths * INK_SIZE / 20).astype(int)
    # The longest side becomes INK_SIZE, pen included.
    scale = (INK_SIZE - pens)[:, None, None] / (high - low).max(axis=2, keepdims=True)
    placed = [(path - (low + high) / 2) * scale + BOARD_SIZE / 2 for path in paths]
    lines = [np.rint(path * 2**SUBPIXEL_BITS).astype(np.int32) for path in placed]
    for index in range(count):
        board = np.zeros((BOARD_SIZE, BOARD_SIZE), np.uint8)
        strokes = [line[index] for line in lines]
        cv2.polylines(board, strokes, False, 255, int(pens[index]), cv2.LINE_AA, SUBPIXEL_BITS)
        canvases[index] = _to_uint8(frame(np.divide(board, 255, dtype=np.float32)))
    return canvases


def _to_uint8(canvas: np.ndarray) -> np.ndarray:
    grey: np.ndarray = np.rint(canvas * 255).astype(np.uint8)
    return grey
