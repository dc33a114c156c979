"""Reads picture files into rows: one for every page, whether or not it could be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lenet_digits.cli.console import printable

if TYPE_CHECKING:
    from PIL import Image

    from lenet_digits.model import LeNet5
    from lenet_digits.reading.canvas import CanvasSteps
    from lenet_digits.reading.prediction import Prediction

    Explained = list[tuple[str, CanvasSteps, Prediction]]

STDIN = "-"
MAX_PAGES = 1000  # of a TIFF or a PDF: a file of 64 MiB could name millions of empty ones
SUBFILE_TYPE = 254  # the tag NewSubfileType of TIFF 6.0
SMALLER_COPY, MASK = 1, 4  # its bits for pages that only repeat another page, or cut it out


@dataclass(frozen=True)
class PageRow:
    """What became of one page of one file.

    Attributes:
        path: of the file, as it was named.
        page: of the file, from 1.
        status: "blank", "unreadable" or an answer.
        error: what is wrong with a blank or unreadable page, as a sentence; else empty.
        one_of_many: whether the file has further pages.
    """

    path: str
    page: int
    status: str
    error: str = ""
    one_of_many: bool = False

    @property
    def name(self) -> str:
        """The path, and the page if there are several; it may hold any character."""
        return f"{self.path} (page {self.page})" if self.one_of_many else self.path


@dataclass(frozen=True)
class Row(PageRow):
    """The answer of `predict` to one page.

    Attributes:
        status: "digit", "not_a_digit", "unknown" (a digit or not: the weights never saw a
            non-digit), "blank" or "unreadable".
        prediction: of a page that is neither blank nor unreadable.
    """

    prediction: Prediction | None = None


Answer = TypeVar("Answer", bound=PageRow)


def rows_of(path: str, *, explained: Explained | None = None, **options: Any) -> list[Row]:
    """The rows of a file, one a page; how each was read is added to ``explained``.

    Args:
        path: of a file, or `STDIN`.
        explained: takes the name, the steps to the canvas and the prediction of each page read.
        options: ``model`` and ``method``, as for `predict`.
    """

    def row(number: int, page: Image.Image) -> Row:
        return _row(path, number, page, explained, **options)

    return answers_to(path, row, Row)


def answers_to(
    path: str, answer: Callable[[int, Image.Image], Answer], kind: type[Answer]
) -> list[Answer]:
    """What ``answer`` gives for every page of a file; for a page that cannot be read, the reason.

    Args:
        path: of a file, or `STDIN`.
        answer: takes the number of a page, from 1, and the page, undecoded.
        kind: the class of the rows.
    """
    rows: list[Answer] = []
    pages: Iterator[Image.Image] | None = None
    while True:
        number = len(rows) + 1
        try:
            pages = pages_of(path) if pages is None else pages
            page = next(pages, None)
            if page is None:
                break
            rows.append(answer(number, page))
        except (OSError, ValueError) as error:
            rows.append(failed(path, error, page=number, kind=kind))
            if pages is None:
                break
    return [replace(row, one_of_many=True) for row in rows] if len(rows) > 1 else rows


def failed(path: str, error: Exception, *, page: int = 1, kind: type[Answer]) -> Answer:
    """The row of a page that has no answer."""
    from lenet_digits.reading.pictures import NoInkError

    status = "blank" if isinstance(error, NoInkError) else "unreadable"
    return kind(path, page, status, getattr(error, "strerror", None) or str(error))


def _row(
    path: str,
    number: int,
    page: Image.Image,
    explained: Explained | None,
    *,
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
        name = Path(path).name + (f", page {number}" if number > 1 else "")
        explained.append((printable(name), steps, prediction))
    status = {True: "digit", False: "not_a_digit", None: "unknown"}[prediction.is_digit]
    return Row(path, number, status, prediction=prediction)


def pages_of(path: str) -> Iterator[Image.Image]:
    """The pages of a picture file, undecoded, each only until the next is asked for.

    A TIFF or a PDF may have several. Of an animation, and of a HEIC photo, there is the main
    picture alone.

    Raises OSError or UnreadableImageError; so may the iterator for a page, and then go on.
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
        except Exception as error:  # a damaged picture makes Pillow raise nearly anything
            raise UnreadableImageError(f"The file is damaged from here on: {error}.") from None
        if frame >= MAX_PAGES:
            raise UnreadableImageError(f"The file has more than {MAX_PAGES:,} pages; split it.")
        if not picture.tag_v2.get(SUBFILE_TYPE, 0) & (SMALLER_COPY | MASK):
            yield picture
