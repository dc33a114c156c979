"""Writes the rows of `predict` as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable
from typing import Any, TextIO

from lenet_digits.cli.console import printable
from lenet_digits.cli.rows import STDIN, PageRow, Row

NAMES = ("digit", "confidence", "is_digit", "outlier_score")  # columns with one number each
DIGITS = tuple(f"p{digit}" for digit in range(10))  # columns with the probabilities
# A path that no spreadsheet takes for a number, a date, a truth value or a formula: it begins like
# a path or a word, and its name ends in a suffix of at least two letters.
PLAIN_PATH = re.compile(r"([./\\]|[A-Za-z]:[/\\]).*|\w.*\.[A-Za-z]{2}\w*", re.DOTALL)


def write_table(rows: Iterable[Row], file: TextIO) -> None:
    """Write the digit, the confidence and the path of each page.

    The path comes last, because its length is not known.
    """
    from lenet_digits.reading.prediction import WORTH_MENTION, percent

    heading = "digit  confidence  picture\n"
    for row in rows:
        digit = confidence = "-"
        remark = {"blank": "  (blank)", "unreadable": "  (unreadable)"}.get(row.status, "")
        if row.prediction is not None:
            digit, confidence = str(row.prediction.digit), percent(row.prediction.confidence)
            if row.status == "not_a_digit":
                reason = row.prediction.reason or f"not a digit; closest: {digit}"
                digit, remark = "-", f"  ({reason})"
            elif row.status == "unknown":
                remark = "  (may not be a digit: these weights cannot tell)"
            if row.prediction.discarded >= WORTH_MENTION:
                remark += f"  ({percent(row.prediction.discarded)} of the ink left aside)"
        file.write(f"{heading}{digit:>5}  {confidence:>10}  {printable(row.name)}{remark}\n")
        file.flush()
        heading = ""


def write_json(rows: Iterable[Row], file: TextIO) -> None:
    """Write an array of objects, one object per page."""
    write_array((page_values(row) | _answer(row) for row in rows), file)


def write_csv(rows: Iterable[Row], file: TextIO) -> None:
    """Write a line for each page, below a line of names. Text stays text in a spreadsheet."""
    file.write(csv_line(["path", "page", "status", *NAMES, *DIGITS, "error"]))
    for row in rows:
        *numbers, probabilities = _answer(row).values()
        shares = probabilities or [None] * len(DIGITS)
        error = error_cell(row.error)
        file.write(csv_line([path_cell(row.path), row.page, row.status, *numbers, *shares, error]))


def _answer(row: Row) -> dict[str, Any]:
    if row.prediction is None:
        return dict.fromkeys((*NAMES, "probabilities"))
    return {name: row.prediction.to_dict()[name] for name in (*NAMES, "probabilities")}


# Shared with `read`


def page_values(row: PageRow) -> dict[str, Any]:
    """The values that every object in the JSON begins with."""
    return {"path": row.path, "page": row.page, "status": row.status, "error": row.error}


def write_array(objects: Iterable[dict[str, Any]], file: TextIO) -> None:
    """Write a JSON array with one object per line, for tools such as ``jq`` and ``grep``."""
    separator = "["
    for each in objects:
        file.write(f"{separator}\n{json.dumps(each)}")
        separator = ","
    file.write("[]\n" if separator == "[" else "\n]\n")


def csv_line(cells: Iterable[Any]) -> str:
    """Cells as one line of a CSV file.

    All text is quoted, so that a name with the separator of another country opens no new cell.
    """
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerow(cells)
    return file.getvalue()


def error_cell(error: str) -> str:
    """An error as a cell of text: it may begin with a file name that looks like a formula."""
    return re.sub(r"\A[-=+@\t\r]", r"./\g<0>", printable(error))


def path_cell(path: str) -> str:
    """A path as a cell of text; ``./`` is added if a spreadsheet could change it."""
    text = printable(path)
    return text if path == STDIN or PLAIN_PATH.fullmatch(text) else f".{os.sep}{text}"
