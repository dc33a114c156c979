"""Writes a review sheet: one offline page for the browser, to check and correct lines."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenet_digits.cli.console import printable
from lenet_digits.cli.lines import COLUMNS, LineRow, cells_of
from lenet_digits.cli.tables import csv_line
from lenet_digits.storage.files import write_atomically

HERE = Path(__file__).parent
MAX_BYTES = 5_000_000  # of a sheet; if it is larger, the surest lines have no pictures
DOUBTFUL = 0.99  # a line with less confidence is marked on the sheet
WORTH_SHOWING = 0.001  # least confidence of an alternative; less would show as "< 0.1 %"
# Pages without lines are sorted among the lines as if this were their confidence.
PLACE = {"unreadable": 0.0, "no_digits": 0.5, "blank": 1.0}


def write_sheet(lines: Sequence[LineRow], path: Path) -> None:
    """Write the sheet of these lines. It appears whole or not at all."""
    write_atomically(path, sheet_of(lines, f"{path.stem}.csv"))


def sheet_of(lines: Sequence[LineRow], file: str) -> bytes:
    """The sheet as HTML in UTF-8; it saves its table under the name ``file``."""
    script = (HERE / "review.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}"
        "'; base-uri 'none'; form-action 'none'"
    )
    template = (HERE / "review.html").read_text(encoding="utf-8")
    # The data are inserted last, so that nothing in them is replaced.
    before, after = template.replace("@policy@", policy).replace("@script@", script).split("@data@")
    shown = sorted(enumerate(lines), key=lambda item: _doubt(item[1]))
    entries = [_entry(line) | {"place": place} for place, line in shown]
    data = {
        "heading": csv_line(COLUMNS),
        "file": file,
        "places": {name: COLUMNS.index(name) for name in ("text", "confidence", "status")},
        "lines": entries,
    }
    room = MAX_BYTES - len(before.encode()) - len(_json(data)) - len(after.encode())
    for entry, (_, line) in zip(entries, shown, strict=True):
        crop = base64.b64encode(line.crop).decode()
        room -= len(crop)
        entry["crop"] = crop if room >= 0 else ""
    return (before + _json(data) + after).encode()


def _doubt(line: LineRow) -> float:
    return line.line.confidence if line.line else PLACE.get(line.status, 0.0)


def _entry(line: LineRow) -> dict[str, Any]:
    """What the sheet needs to know of a line, except its place and its picture."""
    from lenet_digits.reading.prediction import percent

    read = line.line
    note = {"no_digits": "No digits found", "blank": "Blank"}.get(line.status, "Not readable")
    choices = []
    if read:
        note = f"{percent(read.confidence)} sure"
        others = [other for other in read.alternatives if other.confidence >= WORTH_SHOWING]
        if others or line.text != read.text:
            choices = [(read.text, percent(read.confidence))]
            choices += [(other.text, percent(other.confidence)) for other in others]
    return {
        "name": printable(line.name),
        "text": line.text,
        "note": note,
        "doubtful": line.status != "blank" and _doubt(line) < DOUBTFUL,
        "choices": choices,
        "error": printable(line.row.error),
        "cells": [csv_line([cell])[:-1] for cell in cells_of(line)],
        "crop": "",
    }


def _json(data: Any) -> str:
    """JSON that is safe in a script element with any names in it: ASCII without "<"."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
