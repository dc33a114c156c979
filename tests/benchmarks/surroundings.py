"""Measures how one digit is read in surroundings: frames, boxes, rules, marks, a full pad.

FOLDER holds pictures and a ``manifest.csv`` with the columns file, label and kind, and level,
writer and source where they are known; the label is ``none`` where no single digit is right.

python -m tests.benchmarks.surroundings FOLDER... [--half tune|check] [--sheet FILE] [--json FILE]
       [--kinds KIND...] [--pad TOOL SETS]

``--half`` reads one half only. Thresholds are tuned on the half ``tune``; the half ``check`` is
looked at once for each change. ``--pad`` also runs TOOL, a program that scales the drawings of SETS
until they fill a sketchpad.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from lenet_digits.reading.canvas import canvas_steps
from lenet_digits.reading.pictures import NoInkError
from lenet_digits.reading.prediction import Prediction, predict_steps
from lenet_digits.training.evaluation import wilson

HALVES = ("tune", "check")
TILE = 128  # pixels: side of one picture on a contact sheet
COLUMNS = 8  # pictures in a row of a contact sheet: the picture and its canvas, four times


@dataclass
class Count:
    """What became of the pictures of one kind."""

    right: int = 0  # and accepted; or, where no digit is right, refused
    wrong: int = 0  # and accepted
    refused: int = 0  # as not a digit, or without ink, though a digit is there
    misses: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        return self.right + self.wrong + self.refused


def half_of(row: dict[str, str]) -> str:
    """The half of a picture, by its writer, else its source, else its name; always the same."""
    owner = row.get("writer") or row.get("writer_or_empty") or row.get("source") or row["file"]
    return HALVES[hashlib.sha256(owner.encode()).digest()[0] % 2]


def rows(folder: Path, half: str | None) -> Iterator[dict[str, str]]:
    """The manifest's rows of one half, or of both."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        yield from (row for row in csv.DictReader(file) if half in (None, half_of(row)))


def read(path: Path) -> Prediction | None:
    """The answer to a picture; None where it shows no ink."""
    try:
        return predict_steps(canvas_steps(path))
    except NoInkError:
        return None


def measure(folders: list[Path], half: str | None, kinds: list[str] | None) -> dict[str, Count]:
    """The counts of every kind, in the order of the manifests."""
    counts: dict[str, Count] = {}
    for folder in folders:
        for row in rows(folder, half):
            if kinds and row["kind"] not in kinds:
                continue
            count = counts.setdefault(row["kind"], Count())
            answer = read(folder / row["file"])
            accepted = answer is not None and answer.is_digit
            truth = None if row["label"] == "none" else int(row["label"])
            said = "no ink" if answer is None else f"{answer.digit}, {answer.outlier_score:.1g}"
            if (answer.digit if answer and accepted else None) == truth:
                count.right += 1
                continue
            if accepted:
                count.wrong += 1
            else:
                count.refused += 1
            count.misses.append((folder / row["file"], f"{row['label']} as {said}"))
    return counts


def table(counts: dict[str, Count]) -> Iterator[str]:
    """One line a kind: shares in percent, with Wilson's interval of 95 % of what is right."""
    yield f"{'kind':24s} {'n':>5s}  right and accepted    wrong and accepted  refused"
    for kind, count in counts.items():
        n = count.pictures
        low, high = wilson(count.right, n)
        yield (
            f"{kind:24s} {n:5d}  {count.right / n:6.1%} [{low:6.1%}, {high:6.1%}]"
            f"  {count.wrong / n:6.1%}  {count.refused / n:6.1%}"
        )


def draw_sheet(counts: dict[str, Count], path: Path, each: int = 24) -> None:
    """A contact sheet of misses, `each` of a kind at most: the picture, then its canvas."""
    misses = [(kind, *miss) for kind, count in counts.items() for miss in count.misses[:each]]
    across = COLUMNS // 2
    height = -(-len(misses) // across) * (TILE + 14)
    sheet = Image.new("RGB", (COLUMNS * TILE, max(1, height)), (40, 40, 60))
    draw = ImageDraw.Draw(sheet)
    for place, (kind, file, said) in enumerate(misses):
        left, top = place % across * 2 * TILE, place // across * (TILE + 14)
        draw.text((left, top), f"{kind}: {said}", fill="white")
        picture = Image.open(file).convert("RGB")
        picture.thumbnail((TILE, TILE))
        sheet.paste(picture, (left, top + 12))
        try:
            canvas = np.asarray(canvas_steps(file).canvas * 255, np.uint8)
        except NoInkError:
            continue
        sheet.paste(Image.fromarray(canvas).resize((TILE, TILE)), (left + TILE, top + 12))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--half", choices=HALVES, help="read one half only")
    parser.add_argument("--kinds", nargs="+", help="read these kinds only")
    parser.add_argument("--sheet", type=Path, help="file for a contact sheet of the misses")
    parser.add_argument("--json", type=Path, help="file for all counts")
    parser.add_argument("--pad", nargs=2, metavar=("TOOL", "SETS"), help="also run this tool")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    start = time.perf_counter()
    counts = measure(options.folders, options.half, options.kinds)
    print("\n".join(table(counts)))
    if pictures := sum(count.pictures for count in counts.values()):
        print(f"{1000 * (time.perf_counter() - start) / pictures:.1f} ms a picture")
    if options.sheet:
        draw_sheet(counts, options.sheet)
    if options.json:
        figures = {
            kind: {"right": c.right, "wrong": c.wrong, "refused": c.refused, "n": c.pictures}
            for kind, c in counts.items()
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.pad:
        subprocess.run([sys.executable, *options.pad], check=True)


if __name__ == "__main__":
    main()
