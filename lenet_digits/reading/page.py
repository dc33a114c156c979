"""Finds the page within a picture: the sheet, note, plate or cell that carries the ink.

The picture is split into regions of slowly changing colour. The region along the picture's border
is the outermost ground. What it encloses is either ink, or a page of its own with ink on it: a
sheet on a desk, a box or a circle around a digit. The search goes inwards as long as it finds one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.pictures import Bytes

# All these were tuned on the open real-world sets and on drawn surroundings, 2026-11.
SEARCH_SIZE = 96  # pixels: longest side at which pages are searched for
SMALLEST_PICTURE = 40  # pixels: in a smaller one strokes are as wide as rims
STEP = 10  # grey levels: neighbours that differ by more belong to different regions
COARSE_STEP = 28  # grey levels, on a patterned ground
EDGE = 40  # grey levels over three pixels
WALL = 255  # the label of edges
MOST_BORDERS = 24  # regions along the border; a picture with more has no even ground
RIMS = (2, 4, 7)  # pixels at `SEARCH_SIZE`: a page's outline, blurred, is about as wide as one
FEWEST = 20  # pixels that a colour is measured from
SPECK = 3  # pixels of the border at `SEARCH_SIZE`: fewer are not a region
SAME_FRAME = 20  # grey levels: parts of one frame differ by less
STRIP = 0.05  # of the picture: smaller regions of one colour along the border are one frame
FRAME = 0.2  # of the picture: a region along its border that is smaller is a frame
BLUR = 2  # pixels around each that the colour of paper is averaged over: it leaves no steps
DEPTH = 4  # pages within pages: a desk, a sheet, a box, a circle
SMALLEST_PAGE = 0.2  # of the picture's longest side
SMALLEST_CONTENT = 0.2  # of a page's longest side: less on a page is dirt, or its ink is a pattern
LEAST_GROUND = 0.4  # of a page's area is its paper
LEAST_AREA = 0.1  # of the picture
MOST_SIDES = 4  # regions along the border: if there are more, small ones are not pages
RIVAL = 0.6  # of the largest thing beside a page: the least that lies on the page itself
LEAST_RIMS = 6  # times as wide as its rim, at least, a page is
STRAIGHT_EDGED = 0.93  # of the convex hull's area: a page that ink reaches into has less
CONVEX = 0.9  # of the convex hull's area: a shape with less is not a page
STRAY = 0.04  # of an outline's length: so near do its points lie to the quadrangle it may be
SQUARE = 0.92  # of the area of a quadrangle: from here on a shape is a sheet or a box
BAND = 0.85  # of a side of the picture: what covers this much of it is a desk or a bar, not ink
ALIKE = 0.3  # of the ink's contrast to its paper: colours that differ by less are the same
SHORTEST_RING = 8  # pixels along the inner edge of a page
EVEN_RING = 0.6  # of them: the least that belong to the page's paper
DARKEST = 0.7  # of a spot's strongest contrast: pixels from there on have the colour of its ink
SOLID = 0.25  # of a spot's pixels, at most, look like the paper: else it is a stroke with loops
ROUNDED = 0.7  # of the convex hull's area: a spot that fills more may be a hole
OFF_CENTRE = 0.25  # of a round page's longest side: how far from its middle its ink may lie
LEAST_IN_CIRCLE = 0.35  # of a round page's longest side: its ink, at least
ELONGATED = 2.5  # longer side to shorter: less, and a convex spot on a round page is its hole

_Contour = Any  # OpenCV's outline, (N, 1, 2) int32
_Colour = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Page:
    """A page within a picture, at `SEARCH_SIZE`."""

    inside: Bytes  # (h, w), 1 where the page is, its rim left out
    ground: Bytes  # (h, w), 1 where its paper is
    content: list[_Contour]  # the outlines of what lies on it
    rim: Bytes  # (h, w), 1 where its outline is
    size: int  # pixels: longest side of the largest thing on it
    small: Bytes  # (h, w, 3), the picture
    left_out: float = 0.0  # share of the picture's ink, in [0, 1], that does not lie on the page
    doubtful: bool = False  # it may be a digit in a thick pen, and its ink a hole


def page_within(picture: Bytes) -> Page | None:
    """The innermost page of a (H, W, 3) picture that carries ink; None for the picture itself."""
    scale = min(1.0, SEARCH_SIZE / max(picture.shape))
    small = np.asarray(
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )
    if min(small.shape[:2]) < SMALLEST_PICTURE:
        return None
    edges = _edges(small)
    for step in (STEP, COARSE_STEP):  # the latter for wood, say, or cloth
        regions, count = _border_regions(small, edges, step)
        found = _innermost_page(small, edges, regions, count) if count <= MOST_BORDERS else None
        if found is not None:
            return replace(found, left_out=_left_out(found, regions))
        if count < 2:
            return None
    return None


def _left_out(page: Page, regions: Bytes) -> float:
    """The share of what is ink in the picture, or like ink, that does not lie on the page.

    Ink is what differs in colour from the page's paper. A region along the picture's border, such
    as a desk, does not count, unless it is as narrow as a frame.
    """
    off = _distance(page.small, _colour(page.small, page.ground))
    strength = cv2.minMaxLoc(off, page.inside - page.ground)[1]  # of what is not paper on the page
    inked = off > ALIKE * strength
    shares = np.bincount(regions.ravel(), minlength=MOST_BORDERS + 1) / regions.size
    wide = shares > FRAME
    wide[0] = False
    outside = int(np.count_nonzero(inked & (page.inside == 0) & ~wide[regions]))
    on_page = int(np.count_nonzero(inked & (page.inside > 0)))
    return outside / max(1, outside + on_page)


def _innermost_page(small: Bytes, edges: Bytes, regions: Bytes, count: int) -> Page | None:
    if count == 0:
        return None
    found = None if count == 1 else _page_at_border(small, regions, count)
    whole = np.ones(regions.shape, np.uint8)
    page = _page(whole, regions, regions, small) if count == 1 else found
    for _ in range(DEPTH):
        inner = _page_on(page, edges) if page else None
        if inner is None:
            break
        found = page = inner
        if inner.doubtful:
            break
    return found


def cut_out(picture: Bytes, page: Page) -> tuple[Bytes, Bytes]:
    """The page alone, cut out of its picture at any size, and where in it the page is.

    Returns pixels, (h, w, 3), in the paper's colour where the page is not, and a mask, (h, w).
    """
    height, width = picture.shape[:2]
    left, top, across, down = cv2.boundingRect(page.inside)
    ways = height / page.inside.shape[0], width / page.inside.shape[1]
    rows = slice(round(top * ways[0]), round((top + down) * ways[0]))
    columns = slice(round(left * ways[1]), round((left + across) * ways[1]))
    cut = picture[rows, columns]
    box = slice(top, top + down), slice(left, left + across)
    inside = cv2.resize(page.inside[box], cut.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    if not inside.all():
        paper = cv2.resize(_paper_everywhere(page, box), cut.shape[1::-1])
        cut = np.asarray(cv2.copyTo(cut, inside, paper), np.uint8)
    return cut, np.asarray(inside, np.uint8)


def _paper_everywhere(page: Page, box: tuple[slice, slice]) -> Bytes:
    """The colour, (h, w, 3), that the page's paper has nearest to every pixel of the page's box."""
    # The blur looks at so many more pixels on each side.
    rows, columns = (slice(max(0, side.start - BLUR), side.stop + BLUR) for side in box)
    ground = page.ground[rows, columns]
    _, nearest = cv2.distanceTransformWithLabels(
        1 - ground, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Its labels count the paper's pixels, row by row, from 1.
    places = np.append(0, np.flatnonzero(ground > 0)).take(np.asarray(nearest, np.intp))
    colours = page.small[rows, columns].reshape(-1, 3).take(places, axis=0)
    top, left = box[0].start - rows.start, box[1].start - columns.start
    blurred = cv2.blur(colours, (2 * BLUR + 1,) * 2)[top:, left:]
    height, width = page.inside[box].shape
    return np.asarray(blurred[:height, :width], np.uint8)


def _edges(small: Bytes) -> Bytes:
    """Where colours change over three pixels, (h, w) of 0 or 1: no region grows across that.

    Along a blurred, slanting edge it could, pixel by pixel.
    """
    change = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return (_largest_channel(change) > EDGE).view(np.uint8)


def _border_regions(small: Bytes, edges: Bytes, step: int) -> tuple[Bytes, int]:
    """The regions along the border, (h, w), numbered from 1; 0 is what they enclose."""
    height, width = small.shape[:2]
    labels = np.zeros((height + 2, width + 2), np.uint8)
    inner = labels[1:-1, 1:-1]
    inner[1:-1, 1:-1] = edges[1:-1, 1:-1] * WALL
    count = 0
    for row, column in ((0, None), (height - 1, None), (None, 0), (None, width - 1)):
        side = inner[row] if row is not None else inner[:, column]
        while not side.all():
            place = int((side == 0).argmax())
            count += 1
            if count > MOST_BORDERS:
                return inner, count
            seed = (place, row) if row is not None else (column, place)
            _flood(small, labels, seed, count, step)
    inner[inner == WALL] = 0
    rims = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
    shares = np.bincount(rims, minlength=count + 1)
    if np.count_nonzero(shares > SPECK) == 1:
        return np.asarray(inner == shares.argmax(), np.uint8), 1
    numbers = np.zeros(count + 1, np.uint8)
    colours: list[_Colour] = []
    for label in np.flatnonzero(shares > SPECK):
        colour = _colour(small, np.asarray(inner == label))
        strip = np.count_nonzero(inner == label) < STRIP * inner.size
        alike = [strip and np.abs(colour - other).max() < SAME_FRAME for other in colours]
        numbers[label] = 1 + (alike.index(True) if any(alike) else len(colours))
        if not any(alike):
            colours.append(colour)
    return numbers[inner], len(colours)


def _flood(small: Bytes, labels: Bytes, seed: Any, label: int, step: int) -> None:
    cv2.floodFill(
        small, labels, seed, 0, (step,) * 3, (step,) * 3, 4 | cv2.FLOODFILL_MASK_ONLY | label << 8
    )


def _page(inside: Bytes, ground: Bytes, rim: Bytes, small: Bytes) -> Page:
    content, _ = cv2.findContours(inside & (1 - ground), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    sizes = [max(cv2.boundingRect(each)[2:]) for each in content]
    return Page(inside, ground, list(content), rim, max(sizes, default=0), small)


def _distance(small: Bytes, colour: _Colour) -> Bytes:
    """How much the colour of every pixel, (h, w), differs from one colour: the largest channel."""
    one = np.floor(colour).astype(np.float64)  # OpenCV takes three such numbers for one colour
    return _largest_channel(cv2.absdiff(small, one))


def _largest_channel(pixels: Any) -> Bytes:
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def _median(colours: Bytes) -> _Colour:
    """The median of colours, (3, N), by channel, (3,); NumPy's own takes longer."""
    ordered, half = _sorted(colours), colours.shape[1] // 2
    middle = ordered[:, half].astype(np.float32)
    if colours.shape[1] % 2:
        return middle
    return np.asarray((ordered[:, half - 1] + middle) / 2, np.float32)


def _colour(small: Bytes, where: NDArray[Any]) -> _Colour:
    """The median colour there, (3,), of one pixel in nine where that is enough."""
    pixels = small[::3, ::3][where[::3, ::3] > 0]
    if len(pixels) < FEWEST:
        pixels = small[where > 0]
    return _sorted(pixels.T)[:, len(pixels) // 2].astype(np.float32)


def _sorted(colours: Bytes) -> Bytes:
    """Colours, (3, N), each channel sorted. NumPy sorts bytes seven times as fast if stably."""
    return np.sort(np.ascontiguousarray(colours), axis=1, kind="stable")


def _page_at_border(small: Bytes, regions: Bytes, count: int) -> Page | None:
    """The page whose paper reaches the border, where a desk or a bar runs along some side."""
    sides = (regions[0], regions[-1], regions[:, 0], regions[:, -1])
    best = None
    for label in range(1, count + 1):
        ground = np.asarray(regions == label, np.uint8)
        if np.count_nonzero(ground) < LEAST_AREA * ground.size and count > MOST_SIDES:
            continue
        edges, _ = cv2.findContours(ground, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        inside = np.zeros_like(ground)
        cv2.drawContours(inside, edges, -1, 1, cv2.FILLED)
        page = _page(inside, ground, ground, small)
        if page.size and (best is None or page.size > best[0].size):
            best = page, label
    if best is None:
        return None
    page, label = best
    if not any(np.mean(side != label) >= BAND for side in sides):
        return None
    outlines: Any = cv2.findContours(page.inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    outline: _Contour = max(outlines, key=lambda each: float(cv2.contourArea(each)))
    area = cv2.contourArea(outline)
    if (
        area < STRAIGHT_EDGED * cv2.contourArea(cv2.convexHull(outline))
        or area < LEAST_AREA * regions.size
    ):
        return None
    if np.count_nonzero(page.ground) < LEAST_GROUND * np.count_nonzero(page.inside):
        return None
    trimmed = np.asarray(
        cv2.erode(page.inside, np.ones((2 * RIMS[0] + 1,) * 2, np.uint8)), np.uint8
    )
    page = _page(trimmed, page.ground & trimmed, page.inside - trimmed, small)
    return page if page.size >= SMALLEST_CONTENT * max(regions.shape) else None


def _page_on(page: Page, edges: Bytes) -> Page | None:
    """The page that lies on another one, and carries ink of its own."""
    small = page.small
    if page.size < SMALLEST_PAGE * max(small.shape):
        return None
    best, rest = None, 0
    for outline in page.content:
        inner = _as_page(outline, page, edges)
        if inner is None:
            rest = max(rest, *cv2.boundingRect(outline)[2:])
        elif best is None or inner.size > best.size:
            best = inner
    return best if best and best.size > RIVAL * rest else None


def _as_page(outline: _Contour, outer: Page, edges: Bytes) -> Page | None:
    """What an outline on a page encloses, if that is a page with ink on it."""
    small = outer.small
    _, _, width, height = cv2.boundingRect(outline)
    if max(width, height) < SMALLEST_PAGE * max(small.shape):
        return None
    area = cv2.contourArea(outline)
    if area < CONVEX * cv2.contourArea(cv2.convexHull(outline)):
        return None
    corners = cv2.approxPolyDP(outline, STRAY * cv2.arcLength(outline, True), True)
    quadrangle = cv2.contourArea(corners) if len(corners) == 4 else 0.0
    square = SQUARE * quadrangle <= area <= quadrangle / SQUARE
    filled = np.zeros(small.shape[:2], np.uint8)
    cv2.drawContours(filled, [outline], -1, 1, cv2.FILLED)
    for rim in RIMS:
        if min(width, height) < LEAST_RIMS * rim:
            break
        page = _page_within_rim(filled, rim, outer, edges, square)
        if page is not None:
            return page
    return None


def _page_within_rim(
    filled: Bytes, rim: int, outer: Page, edges: Bytes, square: bool
) -> Page | None:
    """The page inside a shape, (h, w), if it has even paper within its rim, and ink on that."""
    small = outer.small
    disc = np.ones((2 * rim + 1,) * 2, np.uint8)
    inside = np.asarray(cv2.erode(filled, disc, borderValue=0), np.uint8)
    core = np.asarray(cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0), np.uint8)
    ring = inside & (1 - core)
    where = cv2.findNonZero(ring)
    if where is None or len(where) < SHORTEST_RING:
        return None
    columns, rows = where.reshape(-1, 2).T
    colours = small[rows, columns].T  # (3, N)
    off = np.abs(colours - _median(colours)[:, None]).max(axis=0)
    seed = int((off + WALL * edges[rows, columns].astype(np.int16)).argmin())
    walls = cv2.copyMakeBorder((1 - inside) | edges, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    labels = np.asarray(walls, np.uint8)
    _flood(small, labels, (int(columns[seed]), int(rows[seed])), 2, STEP)
    ground = (labels[1:-1, 1:-1] == 2).view(np.uint8)
    if np.count_nonzero(ground) < LEAST_GROUND * np.count_nonzero(inside):
        return None
    if np.count_nonzero(ground & ring) < EVEN_RING * len(where):
        return None
    page = _page(inside, ground, filled - inside, small)
    if page.size < SMALLEST_CONTENT * max(cv2.boundingRect(inside)[2:]):
        return None
    largest = max(page.content, key=lambda each: max(cv2.boundingRect(each)[2:]))
    ink, hole = _is_ink(largest, page, ring, outer, square)
    return replace(page, doubtful=hole) if ink else None


def _is_ink(
    outline: _Contour, page: Page, ring: Bytes, outer: Page, square: bool
) -> tuple[bool, bool]:
    """Whether what lies on a page may be ink, and whether it may be a hole.

    A hole in a digit that a thick pen wrote has the colour of what is around the digit.
    """
    spot = np.zeros_like(ring)
    cv2.drawContours(spot, [outline], -1, 1, cv2.FILLED)
    where = spot > 0
    small = page.small
    paper, around = _colour(small, page.ground), _colour(small, outer.ground)
    colours = small[where].T  # (3, N)
    off = np.abs(colours - paper[:, None]).max(axis=0)
    ink = _median(colours[:, off >= DARKEST * off.max()])
    strength = float(np.abs(ink - paper).max())
    like_around = float(np.abs(ink - around).max()) < ALIKE * strength
    area = cv2.contourArea(outline) / max(1.0, cv2.contourArea(cv2.convexHull(outline)))
    across, along = sorted(cv2.minAreaRect(outline)[1])
    core = cv2.erode(spot, np.ones((3, 3), np.uint8))[where] > 0
    like_paper = np.count_nonzero(off[core] < ALIKE * strength)
    solid = bool(like_paper < SOLID * np.count_nonzero(core))
    compact = area > ROUNDED and along < ELONGATED * max(1.0, across)
    hole = like_around and solid and (compact or (not square and area > ROUNDED))
    if square:
        return True, hole
    if (spot & ring).any():
        return False, hole
    left, top, width, height = cv2.boundingRect(page.inside)
    x, y, w, h = cv2.boundingRect(outline)
    off_centre = max(abs(x + w / 2 - left - width / 2), abs(y + h / 2 - top - height / 2))
    pen = float(_distance(small, paper)[page.rim > 0].max())
    large = max(w, h) > LEAST_IN_CIRCLE * max(width, height)
    central = off_centre < OFF_CENTRE * max(width, height)
    return central and large and strength > ALIKE * pen, hole
