"""The command ``predict``: writes the answers as a table, JSON or CSV, and draws figures."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_digits.cli.console import FAILED, add_command, add_weights, complain, figure_path
from lenet_digits.cli.folders import pictures_in
from lenet_digits.cli.pictures import (
    EXPLAINED,
    Writer,
    add_answers,
    add_jobs,
    add_pictures,
    check_targets,
    destination,
    left_aside_in_words,
    rows_in_order,
    writer_for,
)
from lenet_digits.cli.rows import Row, rows_of
from lenet_digits.cli.tables import write_csv, write_json, write_table

if TYPE_CHECKING:
    from lenet_digits.cli.rows import Explained


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
    add_answers(
        parser,
        json=(write_json, "an array of objects with all ten probabilities"),
        csv=(write_csv, "a table with all ten probabilities, for spreadsheets"),
    )
    parser.add_argument(
        "--explain", metavar="FILE", type=figure_path,
        help=f"draw how each picture was read, step by step (at most {EXPLAINED} of them)",
    )  # fmt: skip
    parser.add_argument(
        "--inside", metavar="FILE", type=figure_path,
        help="draw the output of every layer of the network for the first picture",
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
    write: Writer | None = None,
    output: Path | None = None,
    explain: Path | None = None,
    inside: Path | None = None,
    weights: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> int:
    left_aside: Counter[str] = Counter()
    pictures = list(pictures_in(paths, recursive=recursive, left_aside=left_aside))
    check_targets(pictures, {"--output": output, "--explain": explain, "--inside": inside})
    if explain or inside:  # before any work is done: Matplotlib may not be installed
        from lenet_digits.figures import plot_activations, plot_steps, save_figure
    if weights is not None:
        from lenet_digits.model import load_model  # this imports torch

        options["model"] = load_model(weights)
    write = writer_for(output, write, csv=write_csv, json=write_json, table=write_table)
    explained: Explained = []
    counts: Counter[str] = Counter()
    found = rows_in_order(
        partial(rows_of, **options),
        pictures,
        jobs=jobs,
        explained=explained if explain or inside else None,
        output=output,
    )

    def counted() -> Iterator[Row]:
        for row in found:
            counts[row.status] += 1
            yield row

    with destination(output) as file, contextlib.closing(found):
        write(counted(), file)
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
        complain(_in_words(counts) + left_aside_in_words(left_aside))
    return FAILED if counts["unreadable"] else 0


def _in_words(counts: Counter[str]) -> str:
    """How many pictures had which answer."""
    read = counts["digit"] + counts["unknown"]
    return (
        f"{read:,} read, {counts['not_a_digit']:,} refused (not a digit), {counts['blank']:,} "
        f"blank, {counts['unreadable']:,} unreadable."
    )
