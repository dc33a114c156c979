"""``predict``: which pictures to read, and the answers as a table, JSON, CSV or a figure."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import re
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_digits.cli.console import (
    FAILED,
    add_command,
    add_weights,
    complain,
    figure_path,
    printable,
)

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5
    from lenet_digits.reading.canvas import CanvasSteps
    from lenet_digits.reading.prediction import Prediction

    Predictions = Generator[tuple[str, Prediction], None, None]

STDIN = "-"
EXPLAINED = 20  # pictures that --explain draws at most
MANY = 50  # pictures from which on it pays to start a process for each core


def add_predict(commands: Any) -> None:
    """Add the command ``predict``."""
    parser = add_command(
        commands,
        "predict",
        "read the digits in pictures",
        "Exit code: 0; 1 if any picture could not be read; 2 for bad usage.",
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a picture; a directory, for the pictures in it (not in directories below), sorted by "
        "name; or - for a picture on standard input",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", dest="write", action="store_const", const=_write_json,
        help="an array of objects with all ten probabilities",
    )  # fmt: skip
    form.add_argument(
        "--csv", dest="write", action="store_const", const=_write_csv,
        help="a table with all ten probabilities, for spreadsheets",
    )  # fmt: skip
    parser.add_argument(
        "--explain", metavar="FILE", type=figure_path,
        help=f"draw how each picture was read, step by step (at most {EXPLAINED} of them)",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("mnist", "center-crop"),
        help="mnist (the default): find the digit and frame it as MNIST framed its own; "
        "center-crop: the plain crop of the original demo",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", metavar="N", type=int,
        help=f"read in N processes (default: one for each core from {MANY} pictures on, else 1)",
    )  # fmt: skip
    add_weights(parser)
    parser.set_defaults(run=_predict)


def _predict(
    paths: Sequence[str],
    *,
    write: Any = None,
    explain: Path | None = None,
    weights: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> int:
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs is {jobs}; it must be 1 or more.")
    pictures = list(_pictures(paths))
    if STDIN in pictures or (jobs is None and len(pictures) < MANY):
        jobs = 1
    if weights is not None:
        from lenet_digits.model import load_model  # and with it torch

        options["model"] = load_model(weights)
    explained: list[tuple[str, CanvasSteps, Prediction]] = []
    code = 0

    def predictions() -> Predictions:
        nonlocal code
        for path, outcome in zip(pictures, _watched(outcomes(), len(pictures)), strict=True):
            if isinstance(outcome, Exception):
                complain(f"{path}: {getattr(outcome, 'strerror', None) or outcome}")
                code = FAILED
            else:
                yield path, outcome

    def outcomes() -> Iterator[Prediction | Exception]:
        here = len(pictures) if jobs == 1 else EXPLAINED if explain else 0
        for number, path in enumerate(pictures[:here]):
            room = explained if explain and number < EXPLAINED else None
            yield _outcome(path, explained=room, **options)
        if here < len(pictures):
            from lenet_digits.cli.workers import map_in_processes

            read = functools.partial(_outcome, **options)
            yield from map_in_processes(read, pictures[here:], jobs=jobs)

    with contextlib.closing(predictions()) as answers:
        (write or _write_table)(answers)
    if explain is not None and explained:
        from lenet_digits.figures import plot_steps, save_figure

        save_figure(plot_steps(explained), explain)
    return code


def _outcome(
    path: str,
    *,
    model: LeNet5 | None = None,
    explained: list[tuple[str, CanvasSteps, Prediction]] | None = None,
    **options: Any,
) -> Prediction | Exception:
    """The prediction, or why there is none; the steps to it are added to `explained`."""
    from lenet_digits.reading.canvas import canvas_steps
    from lenet_digits.reading.prediction import likeliest, predict_steps

    try:
        with _opened(path) as file:
            steps = canvas_steps(file, **options)
    except (OSError, ValueError) as error:
        return error
    prediction = predict_steps(steps, model=model)
    if explained is not None:
        chosen = likeliest(steps, model=model)
        explained.append((printable(Path(path).name), chosen, prediction))
    return prediction


def _watched(outcomes: Iterator[Any], total: int) -> Iterator[Any]:
    """With a progress bar for one who watches standard error while the answers go elsewhere."""
    if total < MANY or not sys.stderr.isatty() or sys.stdout.isatty():
        return outcomes
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # the light installation shows no bar
        return outcomes

    watched: Iterator[Any] = iter(tqdm(outcomes, total=total, unit=" pictures", dynamic_ncols=True))
    return watched


def _pictures(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if path != STDIN and os.path.isdir(path):  # noqa: PTH112, Path drops a leading ./
            yield from _pictures_in(path) or [path]  # an empty one is complained of when opened
        else:
            yield path


def _pictures_in(directory: str) -> list[str]:
    from PIL import Image

    from lenet_digits.reading.pictures import FORMATS

    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208
    except OSError:
        return []
    return [
        os.path.join(directory, name)  # noqa: PTH118
        for name in names
        if Path(name).suffix.lower() in suffixes and not name.startswith(".")
    ]


def _opened(path: str) -> Any:
    if path == STDIN:
        return open(0, "rb", closefd=False)
    if os.path.isdir(path):  # noqa: PTH112
        raise ValueError("There are no pictures in this directory, or it cannot be listed.")
    return Path(path).open("rb")


def _write_table(predictions: Predictions) -> None:
    """Digit, confidence and path of each picture; the path last, as its length is not known."""
    from lenet_digits.reading.prediction import WORTH_MENTION, percent

    heading = "digit  confidence  picture"
    for path, prediction in predictions:
        if heading:
            print(heading)
            heading = ""
        digit = str(prediction.digit) if prediction.is_digit else "-"
        reason = prediction.reason or f"not a digit; if it were: {prediction.digit}"
        doubt = "" if prediction.is_digit else f"  ({reason})"
        if prediction.discarded >= WORTH_MENTION:
            doubt += f"  ({percent(prediction.discarded)} of the ink left aside)"
        sure = percent(prediction.confidence)
        print(f"{digit:>5}  {sure:>10}  {printable(path)}{doubt}", flush=True)


def _write_json(predictions: Predictions) -> None:
    """One array, an object a line: as good for ``jq`` as for ``grep``."""
    separator = "["
    for path, prediction in predictions:
        print(f"{separator}\n{json.dumps({'path': path} | prediction.to_dict())}", end="")
        separator = ","
    print("[]" if separator == "[" else "\n]")


def _write_csv(predictions: Predictions) -> None:
    # All text is quoted: the separator of another locale, in a name, must not open a cell.
    table = csv.writer(sys.stdout, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    digits = [f"p{digit}" for digit in range(10)]
    table.writerow(["path", "digit", "confidence", "is_digit", "outlier_score", *digits])
    for path, prediction in predictions:
        *verdict, probabilities = prediction.to_dict().values()
        table.writerow([_cell(path), *verdict, *probabilities])


def _cell(path: str) -> str:
    """A path as text in a spreadsheet: what might pass for a formula is led by a harmless ./."""
    text = printable(path)
    return text if path == STDIN or re.match(r"[\w./\\]", text) else f".{os.sep}{text}"
