"""Reads picture files into rows for `read`, and writes the rows as a table, JSON or CSV."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from lenet_digits.cli.console import printable
from lenet_digits.cli.rows import PageRow, Picture, answers_to, title_of
from lenet_digits.cli.tables import csv_line, error_cell, page_values, path_cell, write_array

if TYPE_CHECKING:
    from PIL import Image

    from lenet_digits.reading.numbers import Cell, Line, Reading
    from lenet_digits.reading.page_ink import Box
    from lenet_digits.reading.pictures import Bytes

    Explained = list[tuple[str, Bytes, Reading]]

COLUMNS = (
    "path", "page", "line", "text", "confidence", "left", "top", "right", "bottom", "status",
    "error",
)  # fmt: skip
CELL_COLUMNS = (
    "path", "page", "row", "column", "text", "confidence", "left", "top", "right", "bottom",
    "status", "error",
)  # fmt: skip
NO_CELLS = "There is no printed grid in the picture."
# Texts that a spreadsheet does not change: an empty text; a number without a leading zero and with
# at most 11 digits, because spreadsheets show longer ones as 1.2E+11; a text with a mark.
PLAIN_TEXT = re.compile(r"(?:(?:0|[1-9][0-9]{0,10})?|[0-9 ·]*·[0-9 ·]*)", re.ASCII)
NO_DIGITS = {
    "blank": "There is no ink in the picture.",
    "no_digits": "There are no digits in the picture.",
}
EXPLAINED_SIDE = 1200  # pixels: longest side of a picture that is kept for a figure
CROP_HEIGHT, CROP_WIDTH = 72, 640  # pixels: largest picture of a line on a review sheet
CROP_MARGIN = 0.15  # line heights around it
CROP_BYTES = 6000  # largest JPEG of a line: 500 of them, as base64, take 4 MB


@dataclass(frozen=True)
class ReadingRow(PageRow):
    """The answer of `read` for one page.

    Attributes:
        status: "read", "no_digits" (there is ink, but no digit), "blank" or "unreadable".
        reading: None if the page is unreadable. Boxes are in pixels of the whole picture.
        size: width and height of the picture in pixels, after it was turned upright.
        crops: a small JPEG file of each line, or of the page if it has no line; empty if they were
            not asked for.
    """

    reading: Reading | None = None
    size: tuple[int, int] = (0, 0)
    crops: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class LineRow:
    """A row of a table: one line, or a page without lines.

    Attributes:
        row: the row of the page.
        number: the number of the line, from 1; None if the page has no line.
        line: the line; None if the page has no line.
        status: "read", "unsure", or the status of the page.
        crop: a JPEG file, or empty.
    """

    row: ReadingRow
    number: int | None = None
    line: Line | None = None
    status: str = ""
    crop: bytes = b""

    @property
    def text(self) -> str:
        """The text that was read, or an empty text if it is unsure."""
        return self.line.text if self.line and self.status == "read" else ""

    @property
    def name(self) -> str:
        """The path, with the page and the line if there are several."""
        reading = self.row.reading
        if self.number is None or reading is None or len(reading.lines) < 2:
            return self.row.name
        return f"{self.row.name}, line {self.number}"


def lines_of(row: ReadingRow, *, at_least: float = 0.0) -> list[LineRow]:
    """The lines of a page, at least one. A line is "unsure" below a confidence of ``at_least``."""
    lines = row.reading.lines if row.reading else ()
    crops = row.crops or (b"",) * max(1, len(lines))
    if not lines:
        return [LineRow(row, status=row.status, crop=crops[0])]
    return [
        LineRow(row, number, line, "read" if line.confidence >= at_least else "unsure", crop)
        for number, (line, crop) in enumerate(zip(lines, crops, strict=True), 1)
    ]


# Read


def reading_rows_of(
    picture: Picture, *, explained: Explained | None = None, **options: Any
) -> list[ReadingRow]:
    """The rows of a file, one per page.

    Args:
        picture: what to read; the path may be `STDIN`.
        explained: a list to which the name, the picture and the reading of each page are added.
        options: ``crops``, whether to cut out the lines for a review sheet; ``model`` and
            ``digits``, as for `read`.
    """
    return answers_to(picture, partial(_row, explained=explained, **options), ReadingRow)


def _row(
    path: str,
    number: int,
    page: Image.Image,
    *,
    explained: Explained | None,
    crops: bool = False,
    **options: Any,
) -> ReadingRow:
    from PIL import Image

    from lenet_digits.reading.numbers import Reading, read, scaled
    from lenet_digits.reading.page_ink import PAGE_SIZE
    from lenet_digits.reading.pictures import NoInkError
    from lenet_digits.reading.pictures import read as read_picture

    width, height = page.size
    page.draft("RGB", (PAGE_SIZE, PAGE_SIZE))  # JPEG: decode at a fraction of the size
    try:
        picture = read_picture(page, fine_size=PAGE_SIZE)
    except NoInkError:
        return ReadingRow(path, number, "blank", NO_DIGITS["blank"], reading=Reading())
    reading = read(Image.fromarray(picture), **options)
    if (width > height) != (picture.shape[1] > picture.shape[0]):  # the EXIF data turned it
        width, height = height, width
    if reading.turned in (90, 270):
        width, height = height, width
    picture = _turned(picture, reading.turned)
    if explained is not None:
        explained.append((title_of(path, number), *_small(picture, reading)))
    status = "read" if reading.lines else "no_digits" if reading.marks else "blank"
    return ReadingRow(
        path,
        number,
        status,
        NO_DIGITS.get(status, ""),
        reading=scaled(reading, width / picture.shape[1]),
        size=(width, height),
        crops=tuple(_crops(picture, reading)) if crops else (),
    )


def _turned(picture: Bytes, degrees: int) -> Bytes:
    """The picture, turned clockwise by a multiple of 90 degrees."""
    import numpy as np

    return np.ascontiguousarray(np.rot90(picture, -degrees // 90))


def _small(picture: Bytes, reading: Reading) -> tuple[Bytes, Reading]:
    """The picture and its reading, reduced to at most `EXPLAINED_SIDE` pixels."""
    import cv2
    import numpy as np

    from lenet_digits.reading.numbers import scaled

    factor = EXPLAINED_SIDE / max(picture.shape)
    if factor >= 1:
        return picture, reading
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), scaled(reading, factor)


def _crops(picture: Bytes, reading: Reading) -> Iterator[bytes]:
    """A small JPEG file of each line, or of the whole picture if there is no line."""
    from lenet_digits.reading.pictures import composited

    if picture.shape[2] == 4:  # a JPEG file has no alpha
        picture = composited(picture)
    high, wide = picture.shape[:2]
    for left, top, right, bottom in [line.box for line in reading.lines] or [(0, 0, wide, high)]:
        margin = round(CROP_MARGIN * (bottom - top))
        yield _jpeg(
            picture[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
        )


def _jpeg(pixels: Bytes) -> bytes:
    """Pixels of shape (H, W, 3) as a JPEG file of at most `CROP_BYTES`."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    size = min(CROP_HEIGHT, picture.height), min(CROP_WIDTH, picture.width)
    factor = min(1.0, size[0] / picture.height, size[1] / picture.width)
    while True:
        width, height = (max(1, round(side * factor)) for side in picture.size)
        file = io.BytesIO()
        small = picture.resize((width, height), Image.Resampling.BOX if factor < 0.5 else None)
        small.save(file, "JPEG", quality=60, optimize=True)
        if file.tell() <= CROP_BYTES or max(width, height) < 32:
            return file.getvalue()
        factor *= 0.8


# Write


def write_table(rows: Iterable[ReadingRow], file: TextIO, *, at_least: float = 0.0) -> None:
    """Write the confidence, the text and the path of each line."""
    from lenet_digits.reading.prediction import percent

    heading = "confidence  text              picture\n"
    remarks = {"no_digits": "no digits", "blank": "blank", "unreadable": "unreadable"}
    for row in rows:
        for line in lines_of(row, at_least=at_least):
            confidence = percent(line.line.confidence) if line.line else "-"
            remark = "unsure" if line.status == "unsure" else remarks.get(line.status)
            end = f"  ({remark})" if remark else ""
            text = line.text or "-"
            file.write(f"{heading}{confidence:>10}  {text:<16}  {printable(line.name)}{end}\n")
            heading = ""
        file.flush()


def write_json(rows: Iterable[ReadingRow], file: TextIO, *, at_least: float = 0.0) -> None:
    """Write an array of objects, one object per page."""
    write_array((_values(row, at_least) for row in rows), file)


def _values(row: ReadingRow, at_least: float) -> dict[str, Any]:
    values = page_values(row)
    if row.reading is not None:
        values |= row.reading.to_dict()
        for line, shown in zip(values["lines"], lines_of(row, at_least=at_least), strict=False):
            line |= {"text": shown.text, "status": shown.status}
        values["text"] = "\n".join(line["text"] for line in values["lines"])
    return values


def write_csv(rows: Iterable[ReadingRow], file: TextIO, *, at_least: float = 0.0) -> None:
    """Write a row for each line, below a row of names. Text stays text in a spreadsheet."""
    file.write(csv_line(COLUMNS))
    for row in rows:
        for line in lines_of(row, at_least=at_least):
            file.write(csv_line(cells_of(line)))


def write_cells(rows: Iterable[ReadingRow], file: TextIO, *, at_least: float = 0.0) -> None:
    """Write CSV with a row for each cell of a printed grid, also for blank cells.

    Rows and columns of the grid count from 1. A cell has the confidence of its line.
    """
    file.write(csv_line(CELL_COLUMNS))
    for row in rows:
        path, reading = path_cell(row.path), row.reading
        if reading is None or not reading.cells:
            status, error = ("no_cells", NO_CELLS) if reading else (row.status, row.error)
            file.write(csv_line([path, row.page, *[None] * 8, status, error_cell(error)]))
            continue
        for cell in reading.cells:
            confidence = _confidence(cell, reading)
            text, status = cell.text, "read" if cell.text else "blank"
            if confidence is not None and confidence < at_least:
                text, status = "", "unsure"
            box = _unturned(cell.box, reading.turned, row.size)
            place = cell.row + 1, cell.column + 1
            file.write(
                csv_line([path, row.page, *place, text_cell(text), confidence, *box, status, ""])
            )


def _confidence(cell: Cell, reading: Reading) -> float | None:
    """The least confidence of the lines that have a digit in the cell; None without a digit."""
    left, top, right, bottom = cell.box
    inside = [
        line.confidence
        for line in reading.lines
        for digit in line.digits
        if left <= (digit.box[0] + digit.box[2]) / 2 < right
        and top <= (digit.box[1] + digit.box[3]) / 2 < bottom
    ]
    return min(inside, default=None)


def cells_of(line: LineRow) -> tuple[Any, ...]:
    """The values of `COLUMNS`. The box is in pixels of the picture as the file shows it."""
    row = line.row
    confidence = line.line.confidence if line.line else None
    box = (
        _unturned(line.line.box, row.reading.turned, row.size)
        if line.line and row.reading
        else (None,) * 4
    )
    return (
        path_cell(row.path), row.page, line.number, text_cell(line.text), confidence, *box,
        line.status, error_cell(row.error),
    )  # fmt: skip


def text_cell(text: str) -> str:
    """A text as a cell that no spreadsheet changes: 007 becomes the formula ``="007"``."""
    return text if PLAIN_TEXT.fullmatch(text) else '="' + text.replace('"', '""') + '"'


def _unturned(box: Box, degrees: int, size: tuple[int, int]) -> Box:
    """The box in the original picture of a box in the picture that was turned to this size."""
    left, top, right, bottom = box
    width, height = size
    if degrees == 90:
        return top, width - right, bottom, width - left
    if degrees == 180:
        return width - right, height - bottom, width - left, height - top
    if degrees == 270:
        return height - bottom, left, height - top, right
    return box
