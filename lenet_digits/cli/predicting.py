"""The command ``predict``: writes the answers as a table, JSON or CSV, and draws figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_digits.cli import pictures as shared
from lenet_digits.cli.console import FAILED, add_command, complain, figure_path
from lenet_digits.cli.folders import pictures_in
from lenet_digits.cli.rows import Row, rows_of
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
        "Every picture has a row, and so has every page of a TIFF or a PDF. Only the first picture "
        "of an animation is read. Exit code: 0; 1 if a picture could not be read (blank pictures "
        "and pictures of something else can be read); 2 for bad usage.",
    )
    shared.add_options(
        parser,
        json=(write_json, "an array of objects with all ten probabilities"),
        csv=(write_csv, "a table with all ten probabilities, for spreadsheets"),
    )
    parser.add_argument(
        "--explain", metavar="FILE", type=figure_path,
        help=f"draw how each picture was read, step by step (at most {shared.EXPLAINED} of them)",
    )  # fmt: skip
    parser.add_argument(
        "--inside", metavar="FILE", type=figure_path,
        help="draw the output of every layer of the network for the first picture",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("mnist", "center-crop"),
        help="mnist (the default): find the digit and frame it like MNIST's digits; "
        "center-crop: the plain crop of the original demo",
    )  # fmt: skip
    parser.set_defaults(run=_predict)


def _predict(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    write: shared.Writer | None = None,
    output: Path | None = None,
    explain: Path | None = None,
    inside: Path | None = None,
    weights: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> int:
    left_aside: Counter[str] = Counter()
    pictures = list(pictures_in(paths, recursive=recursive, left_aside=left_aside))
    shared.check_targets(pictures, {"--output": output, "--explain": explain, "--inside": inside})
    if explain or inside:  # before any work is done: Matplotlib may not be installed
        from lenet_digits.figures import plot_activations, plot_steps, save_figure
    if weights is not None:
        from lenet_digits.model import load_model  # this imports torch

        options["model"] = load_model(weights)
    explained: Explained = []
    counts: Counter[str] = Counter()

    def count(row: Row) -> None:
        counts[row.status] += 1

    shared.write_answers(
        shared.writer_for(output, write, WRITERS),
        partial(rows_of, **options),
        pictures,
        output=output,
        jobs=jobs,
        explained=explained if explain or inside else None,
        see=count,
    )
    if (explain or inside) and not explained:
        complain("There is nothing to draw: no picture could be read, or all are blank.")
    if explained:
        from lenet_digits.reading.inside import activations

        model = options.get("model")
        if explain:
            save_figure(plot_steps(explained[: shared.EXPLAINED], model=model), explain)
        if inside:
            save_figure(plot_activations(activations(explained[0][1], model=model)), inside)
    if counts.total() > 1 or left_aside:
        complain(_in_words(counts) + shared.left_aside_in_words(left_aside))
    return FAILED if counts["unreadable"] else 0


def _in_words(counts: Counter[str]) -> str:
    """How many pictures had which answer."""
    read = counts["digit"] + counts["unknown"]
    return (
        f"{read:,} read, {counts['not_a_digit']:,} refused (not a digit), {counts['blank']:,} "
        f"blank, {counts['unreadable']:,} unreadable."
    )
