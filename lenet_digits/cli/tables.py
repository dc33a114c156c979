"""Writes rows as a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable
from typing import Any, TextIO

from lenet_digits.cli.console import printable
from lenet_digits.cli.rows import STDIN, Row

NAMES = ("digit", "confidence", "is_digit", "outlier_score")  # of the columns with one number each
DIGITS = tuple(f"p{digit}" for digit in range(10))  # of the columns with the probabilities
# A path that no spreadsheet takes for a number, a date, a truth or a formula: it begins like a path
# or a word, and its name ends in a suffix of two letters or more.
PLAIN_PATH = re.compile(r"([./\\]|[A-Za-z]:[/\\]).*|\w.*\.[A-Za-z]{2}\w*", re.DOTALL)


def write_table(rows: Iterable[Row], file: TextIO) -> None:
    """Digit, confidence and path of each page; the path last, as its length is not known."""
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
    """One array, an object a line: as good for ``jq`` as for ``grep``."""
    separator = "["
    for row in rows:
        values = {"path": row.path, "page": row.page, "status": row.status, "error": row.error}
        file.write(f"{separator}\n{json.dumps(values | _answer(row))}")
        separator = ","
    file.write("[]\n" if separator == "[" else "\n]\n")


def write_csv(rows: Iterable[Row], file: TextIO) -> None:
    """A line for each page, under a line of names; text stays text in a spreadsheet."""
    # All text is quoted: the separator of another locale, in a name, must not open a cell.
    table = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    table.writerow(["path", "page", "status", *NAMES, *DIGITS, "error"])
    for row in rows:
        *numbers, probabilities = _answer(row).values()
        shares = probabilities or [None] * len(DIGITS)
        error = error_cell(row.error)
        table.writerow([path_cell(row.path), row.page, row.status, *numbers, *shares, error])


def _answer(row: Row) -> dict[str, Any]:
    if row.prediction is None:
        return dict.fromkeys((*NAMES, "probabilities"))
    return {name: row.prediction.to_dict()[name] for name in (*NAMES, "probabilities")}


def error_cell(error: str) -> str:
    """An error as text in a spreadsheet: a file's name may lead it, and look like a formula."""
    return re.sub(r"\A[-=+@\t\r]", r"./\g<0>", printable(error))


def path_cell(path: str) -> str:
    """A path as text in a spreadsheet: where it could be taken for more, it is led by ``./``."""
    text = printable(path)
    return text if path == STDIN or PLAIN_PATH.fullmatch(text) else f".{os.sep}{text}"
