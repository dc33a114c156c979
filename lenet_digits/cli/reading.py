"""The command ``read``: writes numbers as a table, JSON or CSV, a figure or a review sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_digits.cli import lines
from lenet_digits.cli import pictures as shared
from lenet_digits.cli.console import (
    FAILED,
    add_command,
    complain,
    figure_path,
    number_in,
    path_ending,
)
from lenet_digits.cli.folders import pictures_in

if TYPE_CHECKING:
    from lenet_digits.cli.lines import Explained

WRITERS = {".csv": lines.write_csv, ".json": lines.write_json, ".txt": lines.write_table}


def add_read(commands: Any) -> None:
    """Add the command ``read``."""
    parser = add_command(
        commands,
        "read",
        "read the numbers in pictures: lines, pages, forms",
        "Every line of digits has a row. Every picture, and every page of a TIFF or a PDF, has at "
        "least one row. In a text, a space is a gap, and · is ink that is not a digit. Exit code: "
        "0; 1 if a picture could not be read (blank pictures and pictures without digits can be "
        "read); 2 for bad usage.",
    )
    shared.add_options(
        parser,
        json=(
            lines.write_json,
            "an array of objects, one per page, with every digit, mark, alternative and cell",
        ),
        csv=(
            lines.write_csv,
            'a table for spreadsheets; a number that they would change is written as ="007"',
        ),
        cells=(
            lines.write_cells,
            "as --csv, with a row for each cell of a printed grid, blank ones too",
        ),
    )
    parser.add_argument(
        "--digits", metavar="N", type=number_in(int, 1),
        help="number of digits in each line, if it is known",
    )  # fmt: skip
    parser.add_argument(
        "--at-least", metavar="SHARE", type=number_in(float, 0, 1),
        help="leave a text empty if its confidence is lower than this, for example 0.99",
    )  # fmt: skip
    parser.add_argument(
        "--explain", metavar="FILE", type=figure_path,
        help="draw the lines, cuts, digits and marks over each picture (at most "
        f"{shared.EXPLAINED} of them)",
    )  # fmt: skip
    parser.add_argument(
        "--review", metavar="FILE", type=path_ending(".html", ".htm"),
        help="write a page for the browser on which a person checks the lines, the doubtful ones "
        "first, and saves the corrected table as CSV",
    )  # fmt: skip
    parser.set_defaults(run=_read)


def _read(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    write: shared.Writer | None = None,
    at_least: float = 0.0,
    output: Path | None = None,
    explain: Path | None = None,
    review: Path | None = None,
    weights: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> int:
    left_aside: Counter[str] = Counter()
    pictures = list(pictures_in(paths, recursive=recursive, left_aside=left_aside))
    shared.check_targets(pictures, {"--output": output, "--explain": explain, "--review": review})
    if weights is not None:
        options["model"] = _model(weights)
    explained: Explained = []
    for_review: list[lines.LineRow] = []
    counts: Counter[str] = Counter()

    def count(row: lines.ReadingRow) -> None:
        its_lines = lines.lines_of(row, at_least=at_least)
        counts.update(line.status for line in its_lines)
        counts["pages"] += row.status == "read"
        if review:
            for_review.extend(its_lines)

    shared.write_answers(
        partial(shared.writer_for(output, write, WRITERS), at_least=at_least),
        partial(lines.reading_rows_of, crops=review is not None, **options),
        pictures,
        output=output,
        jobs=jobs,
        explained=explained if explain else None,
        see=count,
    )
    if explain and explained:
        from lenet_digits.figures import plot_reading, save_figure

        save_figure(plot_reading(explained), explain)
    if review:
        from lenet_digits.cli.review import write_sheet

        write_sheet(for_review, review)
    if counts.total() - counts["pages"] > 1 or left_aside or at_least:
        complain(_in_words(counts, at_least) + shared.left_aside_in_words(left_aside))
    return FAILED if counts["unreadable"] else 0


def _model(weights: str) -> Any:
    """The model with these weights. Raises ValueError if `read` refuses it."""
    from PIL import Image

    from lenet_digits.model import load_model  # this imports torch
    from lenet_digits.reading.numbers import read

    model = load_model(weights)
    blank = Image.new("L", (8, 8), 255)
    read(blank, model=model)  # so that it is refused once, not for every picture
    return model


def _in_words(counts: Counter[str], at_least: float) -> str:
    """How many lines were read, and how many pictures had none."""
    count = counts["read"] + counts["unsure"]
    words = f"{count:,} line{'s' * (count != 1)} on {counts['pages']:,} "
    words += f"page{'s' * (counts['pages'] != 1)}"
    if at_least:
        words += f" ({counts['unsure']:,} left empty, below {100 * at_least:g} %)"
    return (
        f"{words}, {counts['no_digits']:,} without digits, {counts['blank']:,} blank, "
        f"{counts['unreadable']:,} unreadable."
    )
