"""Reads picture files into rows for `predict`: one row for every page, readable or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lenet_digits.cli.console import printable

if TYPE_CHECKING:
    from PIL import Image

    from lenet_digits.model import LeNet5
    from lenet_digits.reading.canvas import CanvasSteps
    from lenet_digits.reading.prediction import Prediction

    Explained = list[tuple[str, CanvasSteps, Prediction]]

Picture = str | tuple[str, Exception]  # a file, or a folder and the reason why it gives no file

STDIN = "-"
MAX_PAGES = 1000  # of a TIFF or a PDF: a file of 64 MiB could name millions of empty pages
SUBFILE_TYPE = 254  # the tag NewSubfileType of TIFF 6.0
SMALLER_COPY, MASK = 1, 4  # bits of that tag: the page repeats another page, or is its mask


@dataclass(frozen=True)
class PageRow:
    """The result for one page of one file.

    Attributes:
        path: the path of the file, as the user typed it.
        page: the number of the page in the file, from 1.
        status: "blank", "unreadable" or an answer.
        error: a sentence that says what is wrong with a blank or unreadable page, else "".
        one_of_many: whether the file has other pages too.
    """

    path: str
    page: int
    status: str
    error: str = ""
    one_of_many: bool = False

    @property
    def name(self) -> str:
        """The path, with the page if there are several. It may contain any character."""
        return f"{self.path} (page {self.page})" if self.one_of_many else self.path


@dataclass(frozen=True)
class Row(PageRow):
    """The answer of `predict` for one page.

    Attributes:
        status: "digit", "not_a_digit", "unknown" (the weights never saw a non-digit, so they cannot
            tell), "blank" or "unreadable".
        prediction: None if the page is blank or unreadable.
    """

    prediction: Prediction | None = None


Answer = TypeVar("Answer", bound=PageRow)


def rows_of(picture: Picture, *, explained: Explained | None = None, **options: Any) -> list[Row]:
    """The rows of a file, one per page.

    Args:
        picture: what to read; the path may be `STDIN`.
        explained: a list to which the name, the steps to the canvas and the prediction of each page
            are added.
        options: ``model`` and ``method``, as for `predict`.
    """
    return answers_to(picture, partial(_row, explained=explained, **options), Row)


def answers_to(
    picture: Picture, answer: Callable[[str, int, Image.Image], Answer], kind: type[Answer]
) -> list[Answer]:
    """The row of every page of a file. The row of an unreadable page contains the reason.

    Args:
        picture: what to read; the path may be `STDIN`.
        answer: gives the row of a page, from the path, the page number (from 1) and the page, which
            is not decoded yet.
        kind: the class of the rows.
    """
    if not isinstance(picture, str):
        return [_failed(*picture, kind=kind)]
    rows: list[Answer] = []
    pages: Iterator[Image.Image] | None = None
    while True:
        number = len(rows) + 1
        try:
            pages = pages_of(picture) if pages is None else pages
            page = next(pages, None)
            if page is None:
                break
            rows.append(answer(picture, number, page))
        except (OSError, ValueError) as error:
            rows.append(_failed(picture, error, page=number, kind=kind))
            if pages is None:
                break
    return [replace(row, one_of_many=True) for row in rows] if len(rows) > 1 else rows


def _failed(path: str, error: Exception, *, page: int = 1, kind: type[Answer]) -> Answer:
    """The row of a page that has no answer."""
    from lenet_digits.reading.pictures import NoInkError

    status = "blank" if isinstance(error, NoInkError) else "unreadable"
    return kind(path, page, status, getattr(error, "strerror", None) or str(error))


def title_of(path: str, page: int) -> str:
    """The name of a page in a figure."""
    return printable(Path(path).name + (f", page {page}" if page > 1 else ""))


def _row(
    path: str,
    number: int,
    page: Image.Image,
    *,
    explained: Explained | None,
    model: LeNet5 | None = None,
    **options: Any,
) -> Row:
    from lenet_digits.reading.canvas import canvas_steps
    from lenet_digits.reading.pictures import FINE_SIZE
    from lenet_digits.reading.prediction import likeliest, predict_steps

    page.draft("RGB", (FINE_SIZE, FINE_SIZE))  # JPEG: decode at a fraction of the size
    steps = likeliest(canvas_steps(page, **options), model=model)
    prediction = predict_steps(steps, model=model)
    if explained is not None:
        explained.append((title_of(path, number), steps, prediction))
    status = {True: "digit", False: "not_a_digit", None: "unknown"}[prediction.is_digit]
    return Row(path, number, status, prediction=prediction)


def pages_of(path: str) -> Iterator[Image.Image]:
    """The pages of a picture file. Each page is valid only until the next one is asked for.

    A TIFF or a PDF may have several pages. An animation or a HEIC photo has one, its main picture.
    The pages are not decoded yet.

    Raises OSError or UnreadableImageError. The iterator may raise them for one page and then go on.
    """
    from lenet_digits.reading.pictures import MAX_BYTES, is_pdf, open_local, pdf_pages, read_file

    if path == STDIN:
        with open(0, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    else:
        data = read_file(path)
    name = "The picture" if path == STDIN else Path(path).name
    if is_pdf(data):
        return pdf_pages(data, name, most=MAX_PAGES)
    return _frames(open_local(data, name))


def _frames(picture: Any) -> Iterator[Image.Image]:
    """The pages of an open picture."""
    from lenet_digits.reading.pictures import UnreadableImageError

    yield picture
    if picture.format != "TIFF":
        return
    for frame in itertools.count(1):
        try:
            picture.seek(frame)
        except EOFError:
            return
        except Exception as error:  # Pillow raises almost anything for a damaged picture
            raise UnreadableImageError(f"The file is damaged from here on: {error}.") from None
        if frame >= MAX_PAGES:
            raise UnreadableImageError(f"The file has more than {MAX_PAGES:,} pages; split it.")
        if not picture.tag_v2.get(SUBFILE_TYPE, 0) & (SMALLER_COPY | MASK):
            yield picture
