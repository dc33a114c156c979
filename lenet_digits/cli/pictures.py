"""What `predict` and `read` share: their options, the files to write, and rows in order."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from lenet_digits.cli.console import whole_number
from lenet_digits.cli.folders import same_file
from lenet_digits.storage.files import written_atomically

T = TypeVar("T")

EXPLAINED = 20  # pictures that --explain draws at most
MANY = 50  # pictures from which on it pays to start a process for each core
DRAWN = ("--explain", "--inside")  # the options whose files Matplotlib draws
FIGURES = {  # what every figure that Matplotlib writes holds, by the suffix of its name
    ".png": b"Software\0Matplotlib",
    ".pdf": b"/Producer (Matplotlib",
    ".svg": b"<dc:title>Matplotlib",
}

Picture = str | tuple[str, Exception]  # a file, or a folder with the reason why it gives none


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the pictures."""
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a picture or a PDF; a folder, for the pictures in it, sorted by name; or - for a "
        "picture on standard input",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="look into the folders of a folder as well"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a file for the answers."""
    parser.add_argument(
        "--output", metavar="FILE", type=Path,
        help="write the answers to this file, in the form that its name ends in (.csv, .json, "
        ".txt) unless --csv or --json is given; it appears whole or not at all",
    )  # fmt: skip


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the option for the number of processes."""
    parser.add_argument(
        "--jobs", metavar="N", type=whole_number(1),
        help=f"read in N processes (default: one for each core from {MANY} pictures on, else 1)",
    )  # fmt: skip


def check_targets(pictures: Sequence[Picture], targets: dict[str, Path | None]) -> None:
    """Refuse to write over a picture or twice to one file, before any work is done."""
    named = [picture for picture in pictures if isinstance(picture, str)]
    given = {option: target for option, target in targets.items() if target is not None}
    for option, target in given.items():
        twin = next(
            (other for other in given if other < option and same_file(given[other], target)), None
        )
        if twin:
            raise ValueError(f"{twin} and {option} name the same file, {target}.")
        if not target.exists():
            continue
        if any(same_file(target, picture) for picture in named):
            raise ValueError(f"{option} {target} would overwrite a picture that is to be read.")
        if target.is_file():  # `--explain *.png` takes the first for itself
            _check_content(option, target)


def _check_content(option: str, target: Path) -> None:
    """Refuse to write over a file that cannot be from an earlier command; an empty one may go."""
    from lenet_digits.reading.pictures import read_file

    content = read_file(target)
    figure = FIGURES.get(target.suffix.lower())
    if option in DRAWN and content and (figure is None or figure not in content):
        raise ValueError(
            f"{option} {target} would overwrite a picture or another file that Matplotlib did not "
            "draw; name another file."
        )
    if option not in DRAWN and (not _is_text(content) or _is_picture(content)):
        raise ValueError(
            f"{option} {target} would overwrite a picture or another file that is not text; name "
            "another file."
        )


def _is_text(content: bytes) -> bool:
    """Whether bytes are UTF-8, as the answers are. The last character may be cut off."""
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return False


def _is_picture(content: bytes) -> bool:
    """Whether bytes are a picture: some formats are text."""
    from lenet_digits.reading.pictures import UnreadableImageError, open_local

    try:
        return bool(open_local(content, ""))
    except UnreadableImageError:
        return False


@contextlib.contextmanager
def destination(output: Path | None) -> Iterator[TextIO]:
    """Where the answers go: standard output, or a file that appears whole or not at all."""
    if output is None:
        yield sys.stdout
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(output) as file:
        text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="\n")
        try:
            yield text
        finally:
            text.flush()
            text.detach()


def rows_in_order(
    read: Callable[..., list[T]],
    pictures: Sequence[Picture],
    *,
    jobs: int | None,
    explained: list[Any] | None,
) -> Iterator[list[T]]:
    """The rows of each picture, in order, read by this process or by several.

    Args:
        read: gives the rows of a picture; can be pickled.
        pictures: to read.
        jobs: how many processes; by default, one for each core.
        explained: what ``read`` is given, as ``explained``, for the first `EXPLAINED` pictures,
            which this process reads; None where nothing is to be explained.
    """
    here = len(pictures) if jobs == 1 else EXPLAINED if explained is not None else 0
    for number, picture in enumerate(pictures[:here]):
        yield read(picture, explained=explained if number < EXPLAINED else None)
    if here < len(pictures):
        from lenet_digits.cli.workers import map_in_processes

        yield from map_in_processes(read, pictures[here:], jobs=jobs)


def watched(rows: Iterator[list[T]], pictures: Sequence[Picture]) -> Iterator[list[T]]:
    """With a progress bar, if there are many and standard error is a terminal."""
    if len(pictures) < MANY or not sys.stderr.isatty():
        return rows
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # the light installation shows no bar
        return rows

    shown: Iterator[list[T]] = iter(
        tqdm(rows, total=len(pictures), unit=" pictures", dynamic_ncols=True)
    )
    return shown


def left_aside_in_words(left_aside: Counter[str]) -> str:
    """What was left out of the folders, and how to have it read; empty where nothing was."""
    words = ""
    if left_aside:
        kinds = [f"{n:,} {kind}{'s' * (n > 1)}" for kind, n in left_aside.items()]
        words += f" Left aside: {', '.join(kinds)}."
    if left_aside["HEIC photo"]:
        words += ' To read HEIC photos: pip install "lenet-digits[heic]".'
    if left_aside["PDF"]:
        words += ' To read PDFs: pip install "lenet-digits[pdf]".'
    if left_aside["folder"]:
        words += " To look into folders: --recursive."
    return words
