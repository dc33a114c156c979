"""``predict``: which pictures to read, and the answers as a table, JSON, CSV or a figure."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_digits.cli import signals
from lenet_digits.cli.console import FAILED, add_command, add_weights, complain, figure_path
from lenet_digits.cli.folders import pictures_in
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
from lenet_digits.cli.rows import STDIN, Row, failed, rows_of
from lenet_digits.cli.tables import write_csv, write_json, write_table

if TYPE_CHECKING:
    from lenet_digits.cli.rows import Explained

WRITERS = {".csv": write_csv, ".json": write_json, ".txt": write_table}


def add_predict(commands: Any) -> None:
    """Add the command ``predict``."""
    parser = add_command(
        commands,
        "predict",
        "read the digits in pictures",
        "Every picture has a row, and so has every page of a TIFF or a PDF; of an animation, the "
        "first picture is read. Exit code: 0; 1 if a picture could not be read (a blank one "
        "counts as read, and so does one that is not a digit); 2 for bad usage.",
    )
    add_pictures(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", dest="write", action="store_const", const=write_json,
        help="an array of objects with all ten probabilities",
    )  # fmt: skip
    form.add_argument(
        "--csv", dest="write", action="store_const", const=write_csv,
        help="a table with all ten probabilities, for spreadsheets",
    )  # fmt: skip
    add_output(parser)
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
    add_jobs(parser)
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
    if "" in paths:
        raise ValueError("One of the paths is empty: name a picture, a folder or -.")
    left_aside: Counter[str] = Counter()
    pictures: list[Picture] = list(pictures_in(paths, recursive=recursive, left_aside=left_aside))
    check_targets(pictures, {"--output": output, "--explain": explain, "--inside": inside})
    if explain or inside:  # before any work is done: Matplotlib may not be installed
        from lenet_digits.figures import plot_activations, plot_steps, save_figure
    if STDIN in pictures or (jobs is None and len(pictures) < MANY):
        jobs = 1
    if weights is not None:
        from lenet_digits.model import load_model  # and with it torch

        options["model"] = load_model(weights)
    if write is None:
        write = WRITERS.get(output.suffix.lower() if output else ".txt")
    if write is None:
        raise ValueError(
            f"--output {output} must end in .csv, .json or .txt, or give --csv or --json."
        )
    explained: Explained = []
    counts: Counter[str] = Counter()

    def rows() -> Generator[Row]:
        room = explained if explain or inside else None
        read = functools.partial(_rows, **options)
        found = rows_in_order(read, pictures, jobs=jobs, explained=room)
        for some in found if output is None and sys.stdout.isatty() else watched(found, pictures):
            signals.check()
            for row in some:
                counts[row.status] += 1
                if row.status == "unreadable":
                    complain(f"{row.name}: {row.error}")
                yield row

    with destination(output) as file, contextlib.closing(rows()) as answers:
        write(answers, file)
    if (explain or inside) and not explained:
        complain("There is nothing to draw: no picture could be read, or all are blank.")
    if explained:
        from lenet_digits.reading.inside import activations

        model = options.get("model")
        if explain:
            save_figure(plot_steps(explained[:EXPLAINED], model=model), explain)
        if inside:
            save_figure(plot_activations(activations(explained[0][1], model=model)), inside)
    if counts.total() > 1 or left_aside:
        complain(_in_words(counts, left_aside))
    return FAILED if counts["unreadable"] else 0


def _rows(picture: Picture, **options: Any) -> list[Row]:
    return rows_of(picture, **options) if isinstance(picture, str) else [failed(*picture, kind=Row)]


def _in_words(counts: Counter[str], left_aside: Counter[str]) -> str:
    """How many pictures had which answer, and what was left out of the folders."""
    read = counts["digit"] + counts["unknown"]
    return (
        f"{read:,} read, {counts['not_a_digit']:,} refused (not a digit), {counts['blank']:,} "
        f"blank, {counts['unreadable']:,} unreadable.{left_aside_in_words(left_aside)}"
    )
