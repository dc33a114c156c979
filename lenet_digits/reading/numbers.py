"""Reads the numbers in a picture: `read` gives a `Reading` of lines, and each line its digits."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lenet_digits.reading.canvas import CanvasSteps, canvas_steps
from lenet_digits.reading.framing import Canvas
from lenet_digits.reading.lattice import SURE, Arcs, Path, Step, best_paths, evidence_of, log_shares
from lenet_digits.reading.network import Network
from lenet_digits.reading.page_ink import PAGE_SIZE, Box, Page, page_of, picture_of, rows_of
from lenet_digits.reading.pictures import (
    Bytes,
    ImageInput,
    NoInkError,
    UnreadableImageError,
    opened,
)
from lenet_digits.reading.prediction import (
    Prediction,
    likeliest,
    network_of,
    percent,
    predict_steps,
    several_pictures,
)
from lenet_digits.reading.segmentation import Pieces, candidates_of, canvas_of, cuts_of, lines_of
from lenet_digits.storage.files import WeightsError

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

MOST_DIGITS = 100  # of a line: at `PAGE_SIZE` pixels, more would each be less than 20 pixels wide
UNREAD = "·"  # stands for ink before or between digits that is not a digit
MOST_CANVASES = 4000  # of one picture: the limit on its time
MOST_TURNED = 300  # tall pieces of a picture that is tried on its side: the limit on its time
MOST_ALTERNATIVES = 5
LIKELY = 0.05  # probability from which a notebook shows another reading of a line

# Tuned on the tune split of the open number sets, 2026-11.
SPACE = 0.8  # digit heights: a gap that a space stands for
APART = 0.6  # digit heights: so far from each other, two cells are not of one number
TALL = 0.5  # digit heights: a smaller part is not as large as a digit
ONE_WIDTH = 1.6  # width to height: wider ink is not one digit
# Odds against a digit: above them, the only digit of a picture is not read. On the tune split,
# 2026-11, odds of 20 refuse no more of 280 single digits than odds of 100 do, and more letters.
SURELY_NOT = 20.0
MOST_BROKEN = 3  # parts as large as half a digit that one digit may consist of
DOUBTFUL = 0.6  # sure digits for each part: with fewer, the picture may lie on its side
CERTAIN = 0.85  # sure digits for each part: with more, the picture surely stands upright
SURE_TURN = 1.5  # times the evidence of the picture as it is: what a turned one has to hold


@dataclass(frozen=True)
class Digit:
    """One digit of a line.

    Attributes:
        prediction: what the network makes of it, alone.
        box: left, top, right and bottom in pixels of the upright picture; right and bottom
            exclusive.
        confidence: the probability, in [0, 1], that this digit stands here, by all readings of the
            line.
        canvas: what the network saw of it, (28, 28) float32 in [0, 1].
    """

    prediction: Prediction
    box: Box
    confidence: float
    canvas: Canvas = field(repr=False, compare=False)

    @property
    def digit(self) -> int:
        """The digit, 0 to 9."""
        return self.prediction.digit


@dataclass(frozen=True)
class Mark:
    """Ink that is not a digit: a "point" (or a comma or colon), a "dash" (or a minus) or "other"
    (a slash, a plus, a letter); `box` as a `Digit`'s."""

    kind: str
    box: Box


@dataclass(frozen=True)
class Alternative:
    """Another reading of a line, and the probability, in [0, 1], that it is the right one."""

    text: str
    confidence: float


@dataclass(frozen=True)
class Cut:
    """A place where ink was cut apart, to try whether a digit ends there.

    Attributes:
        ends: x and y of its upper end, and x and y of its lower end, in pixels as a `Digit`'s box.
        used: whether the line's text has an end of a digit or of a mark there.
    """

    ends: Box
    used: bool


@dataclass(frozen=True)
class Line:
    """Digits side by side.

    Attributes:
        text: the digits; a space is a gap, and ``·`` is ink before or between digits that was not
            read.
        digits: from the left.
        marks: all ink of the line that is not a digit.
        box: of all of it; see `Digit`.
        confidence: the calibrated probability, in [0, 1], that the whole line is right.
        alternatives: the next best readings, the likeliest first.
        cuts: all cuts through ink that were tried, from the left.
    """

    text: str
    digits: tuple[Digit, ...]
    marks: tuple[Mark, ...]
    box: Box
    confidence: float
    alternatives: tuple[Alternative, ...] = ()
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class Cell:
    """A cell of a printed grid, by row and column from 0.

    Its `text` is as a `Line`'s; it is empty where the cell is blank, or holds no digit.
    """

    text: str
    row: int
    column: int
    box: Box


@dataclass(frozen=True)
class Reading:
    """The numbers in a picture.

    Attributes:
        lines: those that hold a digit, from the top.
        cells: of a printed grid, if there is one, blank ones too.
        marks: ink in lines without a digit.
        turned: how many degrees, clockwise, the picture was turned to read it: 0, 90, 180 or 270.
            Boxes count in the turned picture.
    """

    lines: tuple[Line, ...] = ()
    cells: tuple[Cell, ...] = ()
    marks: tuple[Mark, ...] = ()
    turned: int = 0

    @property
    def text(self) -> str:
        """The digits, one line per line; see `Line.text`."""
        return "\n".join(line.text for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "text": self.text,
            "turned": self.turned,
            "lines": [
                {
                    "text": line.text,
                    "confidence": line.confidence,
                    "box": list(line.box),
                    "digits": [
                        {
                            "digit": digit.digit,
                            "confidence": digit.confidence,
                            "box": list(digit.box),
                            "prediction": digit.prediction.to_dict(),
                        }
                        for digit in line.digits
                    ],
                    "marks": [_mark_to_dict(mark) for mark in line.marks],
                    "alternatives": [
                        {"text": other.text, "confidence": other.confidence}
                        for other in line.alternatives
                    ],
                    "cuts": [{"ends": list(cut.ends), "used": cut.used} for cut in line.cuts],
                }
                for line in self.lines
            ],
            "cells": [
                {"text": cell.text, "row": cell.row, "column": cell.column, "box": list(cell.box)}
                for cell in self.cells
            ],
            "marks": [_mark_to_dict(mark) for mark in self.marks],
        }

    def __repr__(self) -> str:
        if not self.lines:
            return "<Reading: no digits>"
        lines = ", ".join(f"{line.text!r} at {percent(line.confidence)}" for line in self.lines)
        return f"<Reading: {lines}>"

    def _repr_html_(self) -> str:
        cell = "text-align:left;padding:0.1em 0.6em"
        rows = "".join(
            f'<tr style="background:none"><td style="{cell}"><b>{html.escape(line.text)}</b></td>'
            f'<td style="{cell}">{html.escape(percent(line.confidence))} sure</td>'
            f'<td style="{cell}">{html.escape(_others(line))}</td></tr>'
            for line in self.lines
        )
        return f"<table>{rows}</table>" if rows else "<div>no digits</div>"


def _others(line: Line) -> str:
    """The other likely readings of a line, in words for a notebook."""
    likely = [each.text for each in line.alternatives if each.text and each.confidence >= LIKELY]
    return f"or {', '.join(likely)}" if likely else ""


def _mark_to_dict(mark: Mark) -> dict[str, Any]:
    return {"kind": mark.kind, "box": list(mark.box)}


# Read --------------------------------------------------------------------------------------------


def read(image: ImageInput, *, digits: int | None = None, model: LeNet5 | None = None) -> Reading:
    """Read all numbers in a picture: a number, lines, a page, a form.

    Use `predict` where the picture is known to hold one digit.

    Args:
        image: as for `predict`.
        digits: how many digits each line has, if that is known.
        model: the network that reads them; by default the one with the shipped weights, which does
            not need torch.

    A blank picture gives a `Reading` without lines.

    Raises:
        UnreadableImageError: the input is not a picture, the picture is too large, or it holds
            more marks than a page of numbers does.
        ValueError: `digits` is not a whole number from 1 to 100.
    """
    check_digits(digits)
    network = network_of(model)
    if not network.sees_nondigits:
        raise WeightsError(
            "These weights cannot read numbers, because they never learned what is not a digit. "
            'Use the shipped weights, or train with recipe="best".'
        )
    if isinstance(image, Image.Image):
        longest = max(image.size)
    elif hasattr(image, "shape"):
        longest = max(image.shape, default=0)
    else:  # a file can be read once only
        image = opened(image)
        longest = max(image.size)
        factor = max(1, longest // PAGE_SIZE)  # JPEG: decode at a fraction of the size
        image.draft("RGB", (image.width // factor, image.height // factor))
    try:
        picture = picture_of(image)
    except NoInkError:
        return Reading()
    reading = _read_turned(picture, network, digits=digits, original=image)
    return scaled(reading, longest / max(picture.shape))


def _read_turned(
    picture: Bytes, network: Network | LeNet5, *, digits: int | None, original: ImageInput
) -> Reading:
    """The reading of a picture as it is, or of the picture turned onto a side if that says more."""
    page = read_upright(picture, network, digits=digits, original=original)
    if page.may_lie:
        others = [
            read_upright(np.ascontiguousarray(np.rot90(picture, turns)), network, digits=digits)
            for turns in (3, 1)
        ]
        best = max(others, key=lambda other: other.evidence)
        if best.evidence > SURE_TURN * page.evidence + 1 and best.stands:
            return replace(best.reading, turned=90 if best is others[0] else 270)
    return page.reading


def scaled(reading: Reading, factor: float) -> Reading:
    """The reading of the same picture at another size: all boxes times ``factor``."""
    if factor == 1:
        return reading

    def box_of(box: Box) -> Box:
        left, top, right, bottom = (round(edge * factor) for edge in box)
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def moved(parts: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(replace(part, box=box_of(part.box)) for part in parts)

    def moved_cut(cut: Cut) -> Cut:
        x1, y1, x2, y2 = (round(end * factor) for end in cut.ends)
        return replace(cut, ends=(x1, y1, x2, y2))

    lines = tuple(
        replace(
            line,
            digits=moved(line.digits),
            marks=moved(line.marks),
            cuts=tuple(moved_cut(cut) for cut in line.cuts),
        )
        for line in moved(reading.lines)
    )
    return replace(reading, lines=lines, cells=moved(reading.cells), marks=moved(reading.marks))


def check_digits(digits: object) -> None:
    """Raises ValueError unless `digits` is None or a number of digits that a line can have."""
    if digits is None or (isinstance(digits, int) and 1 <= digits <= MOST_DIGITS):
        return
    raise ValueError(f"digits is {digits!r}; it must be a whole number from 1 to {MOST_DIGITS}.")


def read_many(
    images: Iterable[ImageInput], *, digits: int | None = None, model: LeNet5 | None = None
) -> Iterator[Reading]:
    """`read` for many pictures, in order, one at a time.

    Raises what `read` raises, at the picture that causes it, and TypeError where `images` is one
    picture.
    """
    pictures = several_pictures(images, "read_many", single="read")
    return (read(image, digits=digits, model=model) for image in pictures)


@dataclass(frozen=True, eq=False)
class Read:
    """A reading with what it was made from. The benchmarks explain misses with it."""

    reading: Reading
    page: Page | None = None
    arcs: list[Arcs] = field(default_factory=list)
    paths: list[list[Path]] = field(default_factory=list)
    evidence: float = 0.0  # how many digits it holds, each as far as the network is sure of it

    @property
    def may_lie(self) -> bool:
        """Whether the picture may lie on its side: of several parts, few are surely digits."""
        return 3 <= self.tall <= MOST_TURNED and self.evidence < DOUBTFUL * self.tall

    @property
    def stands(self) -> bool:
        """Whether nearly all parts are surely digits."""
        return self.evidence >= CERTAIN * self.tall

    @property
    def tall(self) -> int:
        """The number of parts that are as large as digits."""
        return sum(_tall_parts(arcs.pieces) for arcs in self.arcs)


def _tall_parts(pieces: Pieces) -> int:
    """The number of connected parts as high or as wide as half a digit."""
    count = 0
    for part in set(pieces.parts.tolist()):
        boxes = pieces.boxes[pieces.parts == part]
        size = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
        count += bool(size.max() > TALL * pieces.height)
    return count


def _sureness(arcs: Arcs, paths: list[Path]) -> float:
    """The number of digits in the best reading. Each counts as much as it is probable."""
    total = 0.0
    for step in paths[0].steps if paths else ():
        if isinstance(step.label, int):
            logs = arcs.digit_logs[step.candidate] if step.candidate >= 0 else arcs.whole
            total += 0.0 if logs is None else float(np.exp(logs[step.label]))
    return total


def read_upright(
    picture: Bytes,
    network: Network | LeNet5,
    *,
    digits: int | None = None,
    original: ImageInput | None = None,
) -> Read:
    """The reading of an upright picture (`picture_of`); `original` is what it was read from."""
    page = page_of(picture)
    if page is None:
        return Read(Reading())
    found = [(pieces, candidates_of(pieces)) for pieces in lines_of(page)]
    count = sum(len(candidates.spans) for _, candidates in found)
    if count > MOST_CANVASES:
        raise UnreadableImageError(
            "The picture holds more marks than a page of numbers does. Cut it to the numbers."
        )
    steps, whole = None, None
    if len(found) == 1 and _is_compact(found[0][0]):
        try:
            steps = canvas_steps(picture if original is None else original)
        except (NoInkError, UnreadableImageError):
            steps = None
    framed = [
        [canvas_of(pieces, first, stop) for first, stop in candidates.spans.tolist()]
        for pieces, candidates in found
    ]
    if steps is not None:
        framed[0].append(steps.canvas)
    canvases = [canvas for line in framed for canvas in line]
    if not canvases:
        return Read(_reading(page, [], []), page)
    digit_logs, other_logs = log_shares(network.logits(np.stack(canvases)))
    if steps is not None:
        whole = np.append(digit_logs[-1], other_logs[-1])
    arcs, start = [], 0
    for (pieces, candidates), own in zip(found, framed, strict=True):
        line = slice(start, start + len(candidates.spans))
        arcs.append(Arcs(pieces, candidates, digit_logs[line], other_logs[line], own, whole))
        start += len(own)
    paths = [best_paths(line) for line in arcs]
    evidence = sum(_sureness(*pair) for pair in zip(arcs, paths, strict=True))
    if digits is not None:
        paths = [
            best_paths(line, digits=digits) if len(arcs) == 1 or (free and free[0].digits) else free
            for line, free in zip(arcs, paths, strict=True)
        ]
    single = None
    one_digit = sum(len(line[0].digits) for line in paths if line) == 1
    cut = steps is not None and _is_cut_like_a_letter(arcs[0], paths[0])
    if one_digit or cut:
        single = _single(picture if original is None else original, steps, network)
        alone = cut or sum(len(line[0].steps) for line in paths if line) == 1
        free = alone and not page.cells and digits is None
        if free and single is not None and _is_letter(single[0]):
            paths = [[line[0].without_digits()] if line else line for line in paths]
        if not one_digit or (single is not None and not single[0].is_digit):
            single = None
    reading = _reading(page, arcs, paths, single)
    return Read(reading, page, arcs, paths, evidence)


def _is_compact(pieces: Pieces) -> bool:
    """Whether the ink of a line may be one digit: no wider than that, and of a few parts."""
    if _tall_parts(pieces) > MOST_BROKEN:
        return False
    left, top = pieces.boxes[:, :2].min(axis=0)
    right, bottom = pieces.boxes[:, 2:].max(axis=0)
    return bool(right - left <= ONE_WIDTH * (bottom - top))


def _is_cut_like_a_letter(arcs: Arcs, paths: list[Path]) -> bool:
    """Whether connected ink is read as a digit and a mark, or as digits with a 1 among them."""
    if not paths or len(set(arcs.pieces.parts.tolist())) > 1:
        return False
    digits = paths[0].digits
    return len(digits) == 1 or "1" in digits


def _single(
    image: ImageInput, steps: CanvasSteps | None, network: Network | LeNet5
) -> tuple[Prediction, Canvas] | None:
    """What `predict` says of a picture, and of which canvas; None where it finds no ink."""
    try:
        steps = canvas_steps(image) if steps is None else steps
    except (NoInkError, UnreadableImageError):
        return None
    steps = likeliest(steps, model=network)  # type: ignore[arg-type]
    return predict_steps(steps, model=network), steps.canvas  # type: ignore[arg-type]


def _is_letter(prediction: Prediction) -> bool:
    """Whether `predict` is sure that all the ink of a picture is neither a digit nor several."""
    return not prediction.reason and (prediction.outlier_score or 0.0) > SURELY_NOT


# From paths to a reading -------------------------------------------------------------------------


def _reading(
    page: Page,
    arcs: list[Arcs],
    paths: list[list[Path]],
    single: tuple[Prediction, Canvas] | None = None,
) -> Reading:
    """The reading by the best paths of all lines; `single` is what `predict` says of one digit."""
    lines: list[Line] = []
    marks: list[Mark] = []
    in_cell: dict[int, str] = {}
    for line_arcs, line_paths in zip(arcs, paths, strict=True):
        if not line_paths:
            box = _box(line_arcs.pieces, 0, len(line_arcs.pieces.boxes), page.scale)
            marks.append(Mark("other", box))
            continue
        line = _line(page, line_arcs, line_paths, single)
        if line.digits:
            lines.append(line)
        else:
            marks += line.marks
        for step in line_paths[0].steps:
            cell = int(line_arcs.pieces.cells[step.first])
            if cell >= 0:
                part = str(step.label) if isinstance(step.label, int) else UNREAD
                in_cell[cell] = in_cell.get(cell, "") + part
    cells = tuple(
        Cell(
            in_cell.get(number, "").rstrip(UNREAD),
            row,
            column,
            _scaled(page.cells[number], page.scale),
        )
        for row, numbers in enumerate(rows_of(page.cells))
        for column, number in enumerate(numbers)
    )
    return Reading(tuple(lines), cells, tuple(marks))


def _line(
    page: Page, arcs: Arcs, paths: list[Path], single: tuple[Prediction, Canvas] | None
) -> Line:
    """One line by its best path; see `_reading`."""
    pieces = arcs.pieces
    digits, marks = [], []
    for step in paths[0].steps:
        box = _box(pieces, step.first, step.stop, page.scale)
        if isinstance(step.label, int):
            if single is not None:
                prediction, canvas = single
            else:
                prediction, canvas = _prediction(arcs, step), arcs.canvases[step.candidate]
            digits.append(Digit(prediction, box, step.share, canvas))
        else:
            marks.append(Mark(step.label, box))
    shares: dict[str, float] = {}
    for path in paths:
        text = _text(page, pieces, path.steps)
        shares[text] = shares.get(text, 0.0) + float(np.exp(path.log_share))
    text = _text(page, pieces, paths[0].steps)
    share = shares.pop(text)
    if single is not None:
        text = "".join(str(single[0].digit) if char.isdigit() else char for char in text)
    evidence = evidence_of(arcs, paths[0], float(np.log(share)))
    confidence = 0.0 if evidence is None else float(1 / (1 + np.exp(-evidence.score(SURE))))
    others = sorted(shares.items(), key=lambda item: -item[1])[:MOST_ALTERNATIVES]
    rest = (1 - confidence) / max(1 - share, 1e-9)  # the other readings share what is left
    return Line(
        text,
        tuple(digits),
        tuple(marks),
        _box(pieces, 0, len(pieces.boxes), page.scale),
        confidence,
        tuple(Alternative(other, min(1.0, rest * share)) for other, share in others
              if other != text),
        _cuts(pieces, {step.first for step in paths[0].steps}, page.scale),
    )  # fmt: skip


def _cuts(pieces: Pieces, starts: set[int], scale: float) -> tuple[Cut, ...]:
    """The cuts of a line; `starts` are the first pieces of its digits and marks."""
    x, y = pieces.origin
    found = []
    for number, ((x1, y1), (x2, y2)) in cuts_of(pieces):
        ends = (x1 + x, y1 + y, x2 + x, y2 + y)
        left, top, right, bottom = (round(end / scale) for end in ends)
        found.append(Cut((left, top, right, bottom), number in starts))
    return tuple(found)


def _prediction(arcs: Arcs, step: Step) -> Prediction:
    """What the network says of one digit of a line, as `predict` would put it."""
    if step.candidate >= 0:
        logs, other = arcs.digit_logs[step.candidate], arcs.other_logs[step.candidate]
    else:
        assert arcs.whole is not None
        logs, other = arcs.whole[:10], arcs.whole[10]
    values = np.exp(logs.astype(np.float64) - float(logs.max()))
    shares = values / values.sum()
    log_digit = float(logs.max()) + float(np.log(values.sum()))
    order = shares.argmax()
    if order != step.label:  # the line's geometry decided against the shape alone
        shares[[order, step.label]] = shares[[step.label, order]]
    return Prediction(tuple(shares.tolist()), float(np.exp(min(700.0, float(other) - log_digit))))


def _text(page: Page, pieces: Pieces, steps: tuple[Step, ...]) -> str:
    cells = pieces.cells
    counts: dict[int, int] = {}
    for step in steps:
        if isinstance(step.label, int) and cells[step.first] >= 0:
            counts[int(cells[step.first])] = counts.get(int(cells[step.first]), 0) + 1
    single = max(counts.values(), default=0) <= 1
    text, end, cell, unread = "", None, -1, False
    for step in steps:
        if not isinstance(step.label, int):
            unread = True
            continue
        left = float(pieces.boxes[step.first : step.stop, 0].min())
        here = int(cells[step.first])
        if unread:
            text += UNREAD
        elif end is not None:
            if here >= 0 and cell >= 0:
                walls = page.cells[here][0] - page.cells[cell][2]
                apart = here != cell and (not single or walls > APART * pieces.height)
            else:
                apart = left - end > SPACE * pieces.height
            text += " " if apart else ""
        text += str(step.label)
        end, cell, unread = float(pieces.boxes[step.first : step.stop, 2].max()), here, False
    return text


def _box(pieces: Pieces, first: int, stop: int, scale: float) -> Box:
    x, y = pieces.origin
    left, top = pieces.corners[first:stop, :2].min(axis=0).tolist()
    right, bottom = pieces.corners[first:stop, 2:].max(axis=0).tolist()
    return _scaled((left + x, top + y, right + x, bottom + y), scale)


def _scaled(box: Box, scale: float) -> Box:
    left, top, right, bottom = box
    return (
        int(left / scale),
        int(top / scale),
        max(int(left / scale) + 1, round(right / scale)),
        max(int(top / scale) + 1, round(bottom / scale)),
    )
