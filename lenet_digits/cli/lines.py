"""Reads picture files into rows of `read`, one a page, and writes them as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lenet_digits.cli.console import printable
from lenet_digits.cli.rows import PageRow, answers_to
from lenet_digits.cli.tables import error_cell, path_cell

if TYPE_CHECKING:
    from PIL import Image

    from lenet_digits.model import LeNet5
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
# Texts that a spreadsheet leaves as they are: none; a number without a leading zero, of 11 digits
# at most, as spreadsheets show longer ones as 1.2E+11; and what holds a mark.
PLAIN_TEXT = re.compile(r"(?:(?:0|[1-9][0-9]{0,10})?|[0-9 ·]*·[0-9 ·]*)", re.ASCII)
NO_DIGITS = {
    "blank": "There is no ink in the picture.",
    "no_digits": "There are no digits in the picture.",
}
EXPLAINED_SIDE = 1200  # pixels: longest side of a picture that is kept to be drawn in a figure
CROP_HEIGHT, CROP_WIDTH = 72, 640  # pixels, at most: of the picture of a line on a review sheet
CROP_MARGIN = 0.15  # line heights around it
CROP_BYTES = 6000  # of its JPEG, at most: 500 of them, as base64, fill 4 MB


@dataclass(frozen=True)
class ReadingRow(PageRow):
    """The answer of `read` to one page.

    Attributes:
        status: "read", "no_digits" (there is ink, but none of it is a digit), "blank" or
            "unreadable".
        reading: of a page that could be read. Boxes count in pixels of the whole picture.
        size: width and height of that picture, turned as it was to read it.
        crops: if asked for, a small JPEG file of each line, or of the page if it has no line.
    """

    reading: Reading | None = None
    size: tuple[int, int] = (0, 0)
    crops: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class LineRow:
    """A row of a table: a line, or a page without one.

    Attributes:
        row: of the page.
        number: of the line, from 1; None where the page has no line.
        line: None where the page has none.
        status: "read", "unsure", or the page's.
        crop: a JPEG file, or empty.
    """

    row: ReadingRow
    number: int | None = None
    line: Line | None = None
    status: str = ""
    crop: bytes = b""

    @property
    def text(self) -> str:
        """What was read, or nothing where that is unsure."""
        return self.line.text if self.line and self.status == "read" else ""

    @property
    def name(self) -> str:
        """The path, and the page and the line where there are several."""
        reading = self.row.reading
        if self.number is None or reading is None or len(reading.lines) < 2:
            return self.row.name
        return f"{self.row.name}, line {self.number}"


def lines_of(row: ReadingRow, *, at_least: float = 0.0) -> list[LineRow]:
    """The lines of a page, one at least; less sure than ``at_least`` is "unsure"."""
    lines = row.reading.lines if row.reading else ()
    crops = row.crops or (b"",) * max(1, len(lines))
    if not lines:
        return [LineRow(row, status=row.status, crop=crops[0])]
    return [
        LineRow(row, number, line, "read" if line.confidence >= at_least else "unsure", crop)
        for number, (line, crop) in enumerate(zip(lines, crops, strict=True), 1)
    ]


# Read --------------------------------------------------------------------------------------------


def reading_rows_of(
    path: str,
    *,
    explained: Explained | None = None,
    crops: bool = False,
    model: LeNet5 | None = None,
    digits: int | None = None,
) -> list[ReadingRow]:
    """The rows of a file, one a page; how each was read is added to ``explained``.

    Args:
        path: of a file, or `STDIN`.
        explained: takes the name of each page read, its picture and its reading.
        crops: whether to cut out the lines, for a review sheet.
        model: as for `read`.
        digits: as for `read`.
    """

    def row(number: int, page: Image.Image) -> ReadingRow:
        from PIL import Image

        from lenet_digits.reading.numbers import Reading, read
        from lenet_digits.reading.page_ink import PAGE_SIZE
        from lenet_digits.reading.pictures import NoInkError
        from lenet_digits.reading.pictures import read as read_picture

        width, height = page.size
        page.draft("RGB", (PAGE_SIZE, PAGE_SIZE))  # JPEG: decode at a fraction of the size
        try:
            picture = read_picture(page, fine_size=PAGE_SIZE)
        except NoInkError:
            return ReadingRow(path, number, "blank", NO_DIGITS["blank"], reading=Reading())
        reading = read(Image.fromarray(picture), digits=digits, model=model)
        if (width > height) != (picture.shape[1] > picture.shape[0]):  # the camera lay on its side
            width, height = height, width
        if reading.turned in (90, 270):
            width, height = height, width
        picture = _turned(picture, reading.turned)
        if explained is not None:
            title = Path(path).name + (f", page {number}" if number > 1 else "")
            explained.append((printable(title), *_small(picture, reading)))
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

    return answers_to(path, row, ReadingRow)


def _turned(picture: Bytes, degrees: int) -> Bytes:
    """The picture, turned clockwise by a multiple of 90 degrees."""
    import numpy as np

    return np.ascontiguousarray(np.rot90(picture, -degrees // 90))


def scaled(reading: Reading, factor: float) -> Reading:
    """The reading of the same picture at another size: all boxes times ``factor``."""

    def box_of(box: Box) -> Box:
        left, top, right, bottom = (round(edge * factor) for edge in box)
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def moved(parts: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(replace(part, box=box_of(part.box)) for part in parts)

    lines = tuple(
        replace(line, digits=moved(line.digits), marks=moved(line.marks))
        for line in moved(reading.lines)
    )
    return replace(reading, lines=lines, cells=moved(reading.cells), marks=moved(reading.marks))


def _small(picture: Bytes, reading: Reading) -> tuple[Bytes, Reading]:
    """A picture and its reading, small enough to be kept."""
    import cv2
    import numpy as np

    factor = EXPLAINED_SIDE / max(picture.shape)
    if factor >= 1:
        return picture, reading
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), scaled(reading, factor)


def _crops(picture: Bytes, reading: Reading) -> Iterator[bytes]:
    """A small JPEG file of each line, or of the whole picture where there is none."""
    high, wide = picture.shape[:2]
    for left, top, right, bottom in [line.box for line in reading.lines] or [(0, 0, wide, high)]:
        margin = round(CROP_MARGIN * (bottom - top))
        yield _jpeg(
            picture[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
        )


def _jpeg(pixels: Bytes) -> bytes:
    """Pixels, (H, W, 3), as a JPEG file of `CROP_BYTES` at most."""
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


# Write -------------------------------------------------------------------------------------------


def write_table(rows: Iterable[ReadingRow], file: TextIO, *, at_least: float = 0.0) -> None:
    """Confidence, text and path of each line; the path last, as its length is not known."""
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
    """One array, an object a page, in a line of its own: as good for ``jq`` as for ``grep``."""
    separator = "["
    for row in rows:
        values: dict[str, Any] = {
            "path": row.path,
            "page": row.page,
            "status": row.status,
            "error": row.error,
        }
        if row.reading is not None:
            values |= row.reading.to_dict()
            for line, shown in zip(values["lines"], lines_of(row, at_least=at_least), strict=False):
                line |= {"text": shown.text, "status": shown.status}
            values["text"] = "\n".join(line["text"] for line in values["lines"])
        file.write(f"{separator}\n{json.dumps(values)}")
        separator = ","
    file.write("[]\n" if separator == "[" else "\n]\n")


def write_csv(rows: Iterable[ReadingRow], file: TextIO, *, at_least: float = 0.0) -> None:
    """A line for each line, under a line of names; text stays text in a spreadsheet."""
    file.write(csv_line(COLUMNS))
    for row in rows:
        for line in lines_of(row, at_least=at_least):
            file.write(csv_line(cells_of(line)))


def write_cells(rows: Iterable[ReadingRow], file: TextIO, *, at_least: float = 0.0) -> None:
    """CSV with a line for each cell of a printed grid, blank ones too; rows and columns from 1.

    A cell's confidence is that of its line, which is right only if the cell is.
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
    """The confidence of the line that has a digit in the cell, the least if several; or None."""
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
    """The values of `COLUMNS`. The box counts in the picture as its file shows it."""
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


def csv_line(cells: Iterable[Any]) -> str:
    """Cells as a line of a CSV file; all text is quoted, as `tables.write_csv` does."""
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerow(cells)
    return file.getvalue()


def text_cell(text: str) -> str:
    """A text as a cell that no spreadsheet changes: 007 becomes ``="007"``, a formula for text."""
    return text if PLAIN_TEXT.fullmatch(text) else '="' + text.replace('"', '""') + '"'


def _unturned(box: Box, degrees: int, size: tuple[int, int]) -> Box:
    """A box in the picture that was turned to this size, as one in the picture before that."""
    left, top, right, bottom = box
    width, height = size
    if degrees == 90:
        return top, width - right, bottom, width - left
    if degrees == 180:
        return width - right, height - bottom, width - left, height - top
    if degrees == 270:
        return height - bottom, left, height - top, right
    return box
