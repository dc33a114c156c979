"""``predict``: which pictures to read, and the answers as a table, JSON, CSV or a figure."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lenet_digits.cli import signals
from lenet_digits.cli.console import (
    FAILED,
    add_command,
    add_weights,
    complain,
    figure_path,
    whole_number,
)
from lenet_digits.cli.folders import pictures_in, same_file
from lenet_digits.cli.rows import STDIN, Row, failed, rows_of
from lenet_digits.cli.tables import write_csv, write_json, write_table
from lenet_digits.storage.files import written_atomically

if TYPE_CHECKING:
    from lenet_digits.cli.rows import Explained

EXPLAINED = 20  # pictures that --explain draws at most
MANY = 50  # pictures from which on it pays to start a process for each core
WRITERS = {".csv": write_csv, ".json": write_json}
MATPLOTLIB = b"matplotlib"  # in every figure that it writes, in capital or small letters

Picture = str | tuple[str, Exception]  # a file, or a folder with the reason why it gives none


def add_predict(commands: Any) -> None:
    """Add the command ``predict``."""
    parser = add_command(
        commands,
        "predict",
        "read the digits in pictures",
        "Every picture has a row, and so has every page of a TIFF; of an animation, the first "
        "picture is read. Exit code: 0; 1 if a picture could not be read (a blank one counts as "
        "read, and so does one that is not a digit); 2 for bad usage.",
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a picture; a folder, for the pictures in it, sorted by name; or - for a picture on "
        "standard input",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="look into the folders of a folder as well"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", dest="write", action="store_const", const=write_json,
        help="an array of objects with all ten probabilities",
    )  # fmt: skip
    form.add_argument(
        "--csv", dest="write", action="store_const", const=write_csv,
        help="a table with all ten probabilities, for spreadsheets",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE", type=Path,
        help="write the answers to this file, in the form that its name ends in (.csv, .json) "
        "unless --csv or --json is given; it appears whole or not at all",
    )  # fmt: skip
    parser.add_argument(
        "--explain", metavar="FILE", type=figure_path,
        help=f"draw how each picture was read, step by step (at most {EXPLAINED} of them)",
    )  # fmt: skip
    parser.add_argument(
        "--inside", metavar="FILE", type=figure_path,
        help="draw what every layer of the network answers to the first picture",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("mnist", "center-crop"),
        help="mnist (the default): find the digit and frame it as MNIST framed its own; "
        "center-crop: the plain crop of the original demo",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", metavar="N", type=whole_number(1),
        help=f"read in N processes (default: one for each core from {MANY} pictures on, else 1)",
    )  # fmt: skip
    add_weights(parser)
    parser.set_defaults(run=_predict)


def _predict(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    write: Callable[..., None] | None = None,
    output: Path | None = None,
    explain: Path | None = None,
    inside: Path | None = None,
    weights: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> int:
    left_aside: Counter[str] = Counter()
    pictures: list[Picture] = list(pictures_in(paths, recursive=recursive, left_aside=left_aside))
    _check_targets(pictures, {"--output": output, "--explain": explain, "--inside": inside})
    if STDIN in pictures or (jobs is None and len(pictures) < MANY):
        jobs = 1
    if weights is not None:
        from lenet_digits.model import load_model  # and with it torch

        options["model"] = load_model(weights)
    if write is None:
        write = WRITERS.get(output.suffix.lower() if output else "", write_table)
    explained: Explained = []
    counts: Counter[str] = Counter()

    def rows() -> Generator[Row]:
        room = explained if explain or inside else None
        found = _read(pictures, jobs, room, options)
        for some in found if output is None and sys.stdout.isatty() else _watched(found, pictures):
            signals.check()
            for row in some:
                counts[row.status] += 1
                if row.status == "unreadable":
                    complain(f"{row.name}: {row.error}")
                yield row

    with _destination(output) as file, contextlib.closing(rows()) as answers:
        write(answers, file)
    if explained:
        from lenet_digits.figures import plot_activations, plot_steps, save_figure
        from lenet_digits.reading.inside import activations

        model = options.get("model")
        if explain:
            save_figure(plot_steps(explained[:EXPLAINED], model=model), explain)
        if inside:
            save_figure(plot_activations(activations(explained[0][1], model=model)), inside)
    if counts.total() > 1 or left_aside:
        complain(_in_words(counts, left_aside))
    return FAILED if counts["unreadable"] else 0


def _check_targets(pictures: Sequence[Picture], targets: dict[str, Path | None]) -> None:
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
        if target.is_file() and _is_picture(target):  # `--explain *.png` takes the first for itself
            raise ValueError(f"{option} {target} would overwrite a picture; name another file.")
    output = given.get("--output")
    if output and not output.parent.is_dir():
        raise ValueError(f"There is no folder {output.parent} to write --output {output.name} to.")


def _is_picture(path: Path) -> bool:
    """Whether a file is a picture other than a figure that an earlier command drew."""
    from lenet_digits.reading.pictures import UnreadableImageError, open_local, read_file

    try:
        content = read_file(path)
        return MATPLOTLIB not in content.lower() and bool(open_local(content, path.name))
    except UnreadableImageError:
        return False


@contextlib.contextmanager
def _destination(output: Path | None) -> Iterator[TextIO]:
    """Where the answers go: standard output, or a file that appears whole or not at all."""
    if output is None:
        yield sys.stdout
        return
    with written_atomically(output) as file:
        text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="\n")
        try:
            yield text
        finally:
            text.flush()
            text.detach()


def _read(
    pictures: Sequence[Picture], jobs: int | None, explained: Explained | None, options: Any
) -> Iterator[list[Row]]:
    """The rows of each picture, in order, read by this process or by several."""
    read: Callable[..., list[Row]] = functools.partial(_rows, **options)
    here = len(pictures) if jobs == 1 else EXPLAINED if explained is not None else 0
    for number, picture in enumerate(pictures[:here]):
        yield read(picture, explained=explained if number < EXPLAINED else None)
    if here < len(pictures):
        from lenet_digits.cli.workers import map_in_processes

        yield from map_in_processes(read, pictures[here:], jobs=jobs)


def _rows(picture: Picture, **options: Any) -> list[Row]:
    return rows_of(picture, **options) if isinstance(picture, str) else [failed(*picture)]


def _watched(rows: Iterator[list[Row]], pictures: Sequence[Picture]) -> Iterator[list[Row]]:
    """With a progress bar, if there are many and standard error is a terminal."""
    if len(pictures) < MANY or not sys.stderr.isatty():
        return rows
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # the light installation shows no bar
        return rows

    watched: Iterator[list[Row]] = iter(
        tqdm(rows, total=len(pictures), unit=" pictures", dynamic_ncols=True)
    )
    return watched


def _in_words(counts: Counter[str], left_aside: Counter[str]) -> str:
    """How many pictures had which answer, and what was left out of the folders."""
    read = counts["digit"] + counts["unknown"]
    words = (
        f"{read:,} read, {counts['not_a_digit']:,} refused (not a digit), {counts['blank']:,} "
        f"blank, {counts['unreadable']:,} unreadable."
    )
    if left_aside:
        kinds = [f"{n:,} {kind}{'s' * (n > 1)}" for kind, n in left_aside.items()]
        words += f" Left aside: {', '.join(kinds)}."
    if left_aside["HEIC photo"]:
        words += ' To read HEIC photos: pip install "lenet-digits[heic]".'
    if left_aside["folder"]:
        words += " To look into folders: --recursive."
    return words
