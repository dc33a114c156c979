"""``read``: the numbers in pictures as a table, JSON, CSV, a figure or a sheet for review."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_digits.cli import signals
from lenet_digits.cli.console import (
    FAILED,
    add_command,
    add_weights,
    complain,
    figure_path,
    share,
    whole_number,
)
from lenet_digits.cli.folders import pictures_in
from lenet_digits.cli.lines import (
    LineRow,
    ReadingRow,
    lines_of,
    reading_rows_of,
    write_cells,
    write_csv,
    write_json,
    write_table,
)
from lenet_digits.cli.pictures import (
    EXPLAINED,
    MANY,
    Picture,
    add_jobs,
    add_output,
    add_pictures,
    check_targets,
    destination,
    left_aside_in_words,
    rows_in_order,
    watched,
)
from lenet_digits.cli.rows import STDIN, failed

if TYPE_CHECKING:
    from lenet_digits.cli.lines import Explained

WRITERS = {".csv": write_csv, ".json": write_json, ".txt": write_table}


def add_read(commands: Any) -> None:
    """Add the command ``read``."""
    parser = add_command(
        commands,
        "read",
        "read the numbers in pictures: lines, pages, forms",
        "Every line of digits has a row; every picture, and every page of a TIFF or a PDF, has one "
        "at least. In a text, a space is a gap, and · is ink that is not a digit. Exit code: 0; "
        "1 if a picture could not be read (a blank one counts as read, and so does one without "
        "digits); 2 for bad usage.",
    )
    add_pictures(parser)
    parser.add_argument(
        "--digits", metavar="N", type=whole_number(1),
        help="how many digits each line has, if that is known",
    )  # fmt: skip
    parser.add_argument(
        "--at-least", metavar="SHARE", type=share,
        help="leave a text empty where the confidence is below this, say 0.99",
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", dest="write", action="store_const", const=write_json,
        help="an array of objects, one a page, with every digit, mark, alternative and cell",
    )  # fmt: skip
    form.add_argument(
        "--csv", dest="write", action="store_const", const=write_csv,
        help='a table for spreadsheets; a number that they would change is written as ="007"',
    )  # fmt: skip
    form.add_argument(
        "--cells", dest="write", action="store_const", const=write_cells,
        help="as --csv, with a row for each cell of a printed grid, blank ones too",
    )  # fmt: skip
    add_output(parser)
    parser.add_argument(
        "--explain", metavar="FILE", type=figure_path,
        help="draw the lines, cuts, digits and marks over each picture (at most "
        f"{EXPLAINED} of them)",
    )  # fmt: skip
    parser.add_argument(
        "--review", metavar="FILE", type=_sheet_path,
        help="write a page for the browser on which a person checks the lines, the doubtful ones "
        "first, and saves the corrected table as CSV",
    )  # fmt: skip
    add_jobs(parser)
    add_weights(parser)
    parser.set_defaults(run=_read)


def _sheet_path(name: str) -> Path:
    if Path(name).suffix.lower() not in (".html", ".htm"):
        raise argparse.ArgumentTypeError(f"{name!r} must end in .html")
    return Path(name)


def _read(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    write: Callable[..., None] | None = None,
    at_least: float = 0.0,
    output: Path | None = None,
    explain: Path | None = None,
    review: Path | None = None,
    weights: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> int:
    left_aside: Counter[str] = Counter()
    pictures: list[Picture] = list(pictures_in(paths, recursive=recursive, left_aside=left_aside))
    check_targets(pictures, {"--output": output, "--explain": explain, "--review": review})
    if STDIN in pictures or (jobs is None and len(pictures) < MANY):
        jobs = 1
    if weights is not None:
        options["model"] = _model(weights)
    if write is None:
        write = WRITERS.get(output.suffix.lower() if output else ".txt")
    if write is None:
        raise ValueError(
            f"--output {output} must end in .csv, .json or .txt, or give --csv or --json."
        )
    explained: Explained = []
    lines: list[LineRow] = []
    counts: Counter[str] = Counter()

    def rows() -> Generator[ReadingRow]:
        read = functools.partial(_rows, crops=review is not None, **options)
        found = rows_in_order(read, pictures, jobs=jobs, explained=explained if explain else None)
        for some in found if output is None and sys.stdout.isatty() else watched(found, pictures):
            signals.check()
            for row in some:
                its_lines = lines_of(row, at_least=at_least)
                counts.update(line.status for line in its_lines)
                counts["pages"] += row.status == "read"
                if review:
                    lines.extend(its_lines)
                if row.status == "unreadable":
                    complain(f"{row.name}: {row.error}")
                yield row

    with destination(output) as file, contextlib.closing(rows()) as answers:
        write(answers, file, at_least=at_least)
    if explain and explained:
        from lenet_digits.figures import plot_reading, save_figure

        save_figure(plot_reading(explained), explain)
    if review:
        from lenet_digits.cli.review import write_sheet

        write_sheet(lines, review)
    if sum(counts[status] for status in counts if status != "pages") > 1 or left_aside or at_least:
        complain(_in_words(counts, at_least) + left_aside_in_words(left_aside))
    return FAILED if counts["unreadable"] else 0


def _model(weights: str) -> Any:
    """The model with these weights, if `read` takes it."""
    from PIL import Image

    from lenet_digits.model import load_model  # and with it torch
    from lenet_digits.reading.numbers import read

    model = load_model(weights)
    read(Image.new("L", (8, 8), 255), model=model)  # what it refuses, it refuses here, once
    return model


def _rows(picture: Picture, **options: Any) -> list[ReadingRow]:
    if isinstance(picture, str):
        return reading_rows_of(picture, **options)
    return [failed(*picture, kind=ReadingRow)]


def _in_words(counts: Counter[str], at_least: float) -> str:
    """How many lines were read, and how many pictures had none."""
    lines = counts["read"] + counts["unsure"]
    words = f"{lines:,} line{'s' * (lines != 1)} on {counts['pages']:,} "
    words += f"page{'s' * (counts['pages'] != 1)}"
    if at_least:
        words += f" ({counts['unsure']:,} left empty, below {100 * at_least:g} %)"
    return (
        f"{words}, {counts['no_digits']:,} without digits, {counts['blank']:,} blank, "
        f"{counts['unreadable']:,} unreadable."
    )
