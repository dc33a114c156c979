"""The parts that `predict` and `read` share: options, files to write, and rows in order."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import io
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from lenet_digits.cli import signals
from lenet_digits.cli.console import add_weights, complain, number_in
from lenet_digits.cli.folders import same_file
from lenet_digits.cli.rows import STDIN, Answer, Picture
from lenet_digits.storage.files import written_atomically

T = TypeVar("T")
Writer = Callable[..., None]  # writes rows to a file

EXPLAINED = 20  # most pictures that --explain draws
MANY = 50  # from this number of pictures on, a process for each core is worth its start
DRAWN = ("--explain", "--inside")  # the options whose files Matplotlib draws
FIGURES = {  # bytes that every figure by Matplotlib contains, by the suffix of its name
    ".png": b"Software\0Matplotlib",
    ".pdf": b"/Producer (Matplotlib",
    ".svg": b"<dc:title>Matplotlib",
}


def add_options(parser: argparse.ArgumentParser, **forms: tuple[Writer, str]) -> None:
    """Add the options that both commands have.

    Args:
        parser: the parser of the command.
        forms: the forms of the answers; by name, the function that writes the form, and its help.
    """
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
    group = parser.add_mutually_exclusive_group()
    for name, (write, text) in forms.items():
        group.add_argument(f"--{name}", dest="write", action="store_const", const=write, help=text)
    parser.add_argument(
        "--output", metavar="FILE", type=Path,
        help="write the answers to this file, in the form that its name ends in (.csv, .json, "
        ".txt) unless --csv or --json is given; it appears whole or not at all",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", metavar="N", type=number_in(int, 1),
        help=f"read in N processes (default: one for each core from {MANY} pictures on, else 1)",
    )  # fmt: skip
    add_weights(parser)


def writer_for(output: Path | None, write: Writer | None, writers: dict[str, Writer]) -> Writer:
    """The function that writes the answers: the user's choice, or by the suffix of the file."""
    write = write or writers.get(output.suffix.lower() if output else ".txt")
    if write is None:
        raise ValueError(
            f"--output {output} must end in .csv, .json or .txt, or give --csv or --json."
        )
    return write


def check_targets(pictures: Sequence[Picture], targets: dict[str, Path | None]) -> None:
    """Refuse to overwrite a picture, or to write two results to one file."""
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
        if target.is_file():  # `--explain *.png` names the first picture
            _check_content(option, target)


def _check_content(option: str, target: Path) -> None:
    """Refuse to overwrite a file that no earlier command wrote, unless it is empty."""
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
    """Whether the bytes are UTF-8, as answers are. The last character may be incomplete."""
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return False


def _is_picture(content: bytes) -> bool:
    """Whether the bytes are a picture. Some picture formats are text."""
    from lenet_digits.reading.pictures import UnreadableImageError, open_local

    try:
        return bool(open_local(content, ""))
    except UnreadableImageError:
        return False


def write_answers(
    write: Callable[[Iterator[Answer], TextIO], None],
    read: Callable[..., list[Answer]],
    pictures: Sequence[Picture],
    *,
    output: Path | None,
    jobs: int | None,
    explained: list[Any] | None,
    see: Callable[[Answer], None],
) -> None:
    """Read the pictures and write their rows, in order.

    Unreadable pages are also reported on standard error.

    Args:
        write: writes rows to an open file.
        read: gives the rows of one picture; it must be possible to pickle it.
        pictures: the pictures to read.
        output: the file for the answers, which appears whole or not at all; None for standard
            output.
        jobs: the number of processes. By default one process reads a few pictures, and one process
            for each core reads many.
        explained: a list that ``read`` fills, as its argument ``explained``, for the first
            `EXPLAINED` pictures; this process reads them. None if nothing is to be explained.
        see: is called with every row before it is written.
    """
    if STDIN in pictures or (jobs is None and len(pictures) < MANY):
        jobs = 1

    def rows() -> Generator[Answer]:
        found = _read_all(read, pictures, jobs=jobs, explained=explained)
        if output or not sys.stdout.isatty():  # a bar would disturb answers on a terminal
            found = _with_bar(found, len(pictures))
        for some in found:
            signals.check()
            for row in some:
                if row.status == "unreadable":
                    complain(f"{row.name}: {row.error}")
                see(row)
                yield row

    with _destination(output) as file, contextlib.closing(rows()) as answers:
        write(answers, file)


@contextlib.contextmanager
def _destination(output: Path | None) -> Iterator[TextIO]:
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


def _read_all(
    read: Callable[..., list[Answer]],
    pictures: Sequence[Picture],
    *,
    jobs: int | None,
    explained: list[Any] | None,
) -> Iterator[list[Answer]]:
    here = len(pictures) if jobs == 1 else EXPLAINED if explained is not None else 0
    for number, picture in enumerate(pictures[:here]):
        yield read(picture, explained=explained if number < EXPLAINED else None)
    if here < len(pictures):
        from lenet_digits.cli.workers import map_in_processes

        yield from map_in_processes(read, pictures[here:], jobs=jobs)


def _with_bar(rows: Iterator[T], count: int) -> Iterator[T]:
    """Show a progress bar if there are many pictures and standard error is a terminal."""
    if count < MANY or not sys.stderr.isatty():
        return rows
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # the light installation shows no bar
        return rows
    shown: Iterator[T] = iter(tqdm(rows, total=count, unit=" pictures", dynamic_ncols=True))
    return shown


def left_aside_in_words(left_aside: Counter[str]) -> str:
    """A sentence about files that were left out of folders, and how to read them; or ""."""
    words = ""
    if left_aside:
        kinds = [f"{n:,} {kind}{'s' * (n > 1)}" for kind, n in left_aside.items()]
        words += f" Left out: {', '.join(kinds)}."
    if left_aside["HEIC photo"]:
        words += ' To read HEIC photos: pip install "lenet-digits[heic]".'
    if left_aside["PDF"]:
        words += ' To read PDFs: pip install "lenet-digits[pdf]".'
    if left_aside["folder"]:
        words += " To look into folders: --recursive."
    return words
