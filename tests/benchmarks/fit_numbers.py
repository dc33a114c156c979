"""Fits the constants of `read` to a set of weights: costs, what is a number, and the confidence.

Uses the tune half of the numbers and of the single digits, and pages of letters that it draws. It
prints `COSTS`, `NUMBER` and `SURE` for ``lenet_digits/reading/lattice.py``, and how well they do.

python -m tests.benchmarks.fit_numbers PATH --digits PATH_OF_SINGLE_DIGITS [--weights FILE]
       [--minutes 20] [--cache FILE]

PATH and PATH_OF_SINGLE_DIGITS are as for ``tests.benchmarks.numbers``. One step of the search
changes one cost and keeps it if more labels are right. A second run with ``--cache`` takes the
canvases' answers from that file and saves two minutes.
"""

from __future__ import annotations

import argparse
import pickle
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lenet_digits.reading.lattice import (
    COSTS,
    Arcs,
    Costs,
    best_paths,
)
from lenet_digits.reading.numbers import read_upright
from lenet_digits.reading.page_ink import PAGE_SIZE
from lenet_digits.reading.pictures import NoInkError, composited
from lenet_digits.reading.pictures import read as read_picture
from lenet_digits.reading.prediction import network_of, predict

from .numbers import FALSE_DIGITS, SETS, marked_text, part_of, rows_of
from .realworld import HEADLINE, read_manifest

# Of each set: how much one picture counts, and how many pictures of the set are used, at most.
WEIGHTS = {
    "pen_rows": 1.2, "pen_pages": 1.0, "pen_numbers": 1.2, "composed": 1.0, "tiny_pairs": 1.0,
    "photos": 1.0, "forms": 0.6, "logbook": 0.7, "cheques": 0.8,
    "single": 1.5, "letters": 1.0, "text": 0.5,
}  # fmt: skip
SINGLE, LETTERS, PAGES = 40, 200, 60  # pictures: of each set of single digits, of letters, drawn
WORDS = (
    "the quick brown fox jumps over lazy dog measurement patient visit name signature please write "
    "clearly within box office total amount village district hospital minimum illness silly little "
    "bill hello world notes meeting agenda coffee between mountain river"
).split()


@dataclass(eq=False)
class Case:
    """One picture: its set, label, marked label, and its lines before a path is chosen."""

    kind: str
    name: str
    label: str
    marked: str | None
    lines: list[Arcs]


def case_of(kind: str, path: Path | np.ndarray, row: dict[str, str], network: Any) -> Case:
    lines: list[Arcs] = []
    try:
        picture = read_picture(path, fine_size=PAGE_SIZE)
        picture = composited(picture) if picture.shape[2] == 4 else picture
        lines = read_upright(picture, network, original=path).arcs
    except (NoInkError, ValueError):
        pass
    return Case(kind, row["file"], row["label"], marked_text(row.get("notes", "")), lines)


def text_pages(count: int) -> list[np.ndarray]:
    """Pages of words in the fonts of OpenCV and Pillow."""
    rng = np.random.default_rng(7)
    pages = []
    for number in range(count):
        width, height = int(rng.integers(300, 900)), int(rng.integers(120, 500))
        page = np.full((height, width), 255, np.uint8)
        if number % 2:
            size = rng.integers(18, 60)
            image = Image.fromarray(page)
            draw, font = ImageDraw.Draw(image), ImageFont.load_default(float(size))
            for y in range(10, height - 40, int(1.4 * size)):
                draw.text((10, y), " ".join(rng.choice(WORDS, 4)), font=font, fill=40)
            page = np.asarray(image)
        else:
            size = rng.uniform(0.7, 2.2)
            for y in range(int(30 * size) + 10, height, int(42 * size)):
                words, font = " ".join(rng.choice(WORDS, 3)), int(rng.integers(0, 8))
                cv2.putText(page, words, (8, y), font, size, 0, int(1 + 1.6 * size), cv2.LINE_AA)
        pages.append(page)
    return pages


def gather(path: Path, digits: Path, weights: Path | None, part: str = "tune") -> list[Case]:
    model = None
    if weights:
        from lenet_digits import load_model

        model = load_model(weights)
    network = network_of(model)
    cases: list[Case] = []
    for name in SETS:
        if name in WEIGHTS:
            rows = rows_of(path / name, part, None)
            cases += [case_of(name, path / name / row["file"], row, network) for row in rows]
    for name in HEADLINE:
        rows = _with_writers(read_manifest(digits / name, None))
        rows = [row for row in rows if part_of(name, row) == part]
        for place in np.random.default_rng(0).permutation(len(rows))[:SINGLE]:
            row = rows[place]
            try:  # it shall be read as `predict` reads it
                row = row | {"label": str(predict(digits / name / row["file"], model=model).digit)}
            except ValueError:
                continue
            cases.append(case_of("single", digits / name / row["file"], row, network))
    folder = digits / "notdigits"
    rows = [
        row
        for row in _with_writers(read_manifest(folder, None))
        if row["notes"].split()[0].rstrip(";,:s") in FALSE_DIGITS
        and part_of("notdigits", row) == part
    ][:LETTERS]
    blank = {"label": "", "notes": ""}
    cases += [case_of("letters", folder / row["file"], row | blank, network) for row in rows]
    cases += [
        case_of("text", page, {"file": f"page {number}", **blank}, network)
        for number, page in enumerate(text_pages(PAGES))
    ]
    return cases


def _with_writers(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"writer": row["writer_or_empty"]} for row in rows]
